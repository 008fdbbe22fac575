package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/detour-cni/detour/e2e/node"
)

var (
	parts   = flag.String("parts", "/var/cache/detour-e2e", "folder with the node's parts (parts/build.sh)")
	flavour = flag.String("flavour", "containerd-2", "the container runtime: containerd-2 or containerd-1.6")
)

// the node and what runs on it, for all tests of this process.
var knode *node.Node

func TestMain(m *testing.M) {
	flag.Parse()
	if os.Getenv("DETOUR_E2E") != "1" {
		fmt.Println("e2e: left out (make e2e runs it)")
		return
	}
	inside, code, err := node.Enter()
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = max(code, 1)
	}
	if !inside {
		os.Exit(code)
	}
	if err := startNode(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		dumpLogs()
		os.Exit(1)
	}
	code = m.Run()
	if code != 0 {
		dumpLogs()
	}
	os.Exit(code)
}

// primary is the cluster's own network plugin: what detour is chained behind.
const primary = `{
  "cniVersion": "1.0.0",
  "name": "k8s-pod-network",
  "plugins": [
    {
      "type": "bridge",
      "bridge": "cni0",
      "isGateway": true,
      "ipam": {
        "type": "host-local",
        "ranges": [[{"subnet": "10.244.0.0/22"}], [{"subnet": "fd44::/64"}]],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
      }
    }
  ]
}
`

const primaryFile = node.ConfDir + "/10-bridge.conflist"

func startNode() error {
	start := time.Now()
	bin, err := filepath.Abs("../bin")
	if err != nil {
		return err
	}
	if err := os.RemoveAll(node.ConfDir); err != nil { // the overlay's
		return err
	}
	for _, dir := range []string{node.ConfDir, node.BinDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for _, name := range []string{"bridge", "host-local", "loopback"} {
		if out, err := exec.Command("cp", filepath.Join(bin, name), node.BinDir).CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
	}
	if err := os.WriteFile(primaryFile, []byte(primary), 0o600); err != nil {
		return err
	}
	if err := os.MkdirAll(node.ApartConfDir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(node.ApartConfDir, filepath.Base(primaryFile)), []byte(primary), 0o600); err != nil {
		return err
	}
	if err := node.Image("/tmp/box.tar", node.PauseImage, filepath.Join(bin, "box")); err != nil {
		return err
	}
	for _, f := range node.Flavours(*parts) {
		if f.Name != *flavour {
			continue
		}
		ctx, stop := context.WithTimeout(context.Background(), time.Minute)
		defer stop()
		if knode, err = node.Start(ctx, *parts, f, "/tmp/box.tar", filepath.Join(bin, "e2e", "e2e.tar"), filepath.Join(bin, "e2e", "e2e-next.tar")); err != nil {
			return err
		}
		fmt.Printf("e2e: node with %s ready after %v\n", f.Name, time.Since(start).Round(time.Millisecond))
		return nil
	}
	return fmt.Errorf("-flavour %s: unknown", *flavour)
}

// dumpLogs shows the end of each daemon's log: the namespaces go, and the files with them.
func dumpLogs() {
	logs, _ := filepath.Glob("/var/log/node/*.log") // a constant pattern
	for _, log := range logs {
		out, _ := exec.Command("tail", "-n", "15", log).CombinedOutput() // best effort
		fmt.Printf("== %s\n%s\n", log, out)
	}
}
