package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/detour-cni/detour/e2e/node"
)

// dirText is everything in a directory, to compare.
func dirText(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		fmt.Fprintf(&all, "%s %s\n%s\n", path, info.Mode(), text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// apiFromNode makes 10.96.0.1 the API server for the node's own programs, as kube-proxy would.
func apiFromNode(t *testing.T) {
	t.Helper()
	rules := "add table ip kube\nflush table ip kube\nadd chain ip kube out { type nat hook output priority -100; }\n" +
		"add rule ip kube out ip daddr 10.96.0.1 tcp dport 443 dnat to " + node.Address + ":6443\n"
	c := exec.Command("nft", "-f", "-")
	c.Stdin = strings.NewReader(rules)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// 7. helm uninstall: the node as it was, redirects go on working, pods come and go.
func TestUninstallLeavesNoTrace(t *testing.T) {
	apiFromNode(t)
	if err := os.WriteFile(primaryFile, []byte(primary), 0o600); err != nil {
		t.Fatal(err)
	}
	install(t)
	namespace(t, "shop", "restricted")
	create(t, manifest(t, "istio.yaml", "shop", "stays"))
	create(t, meshed(t, "shop", "goes"))
	stays := running(t, "shop", "stays")
	running(t, "shop", "goes")

	helm(t, "uninstall", "detour", "--namespace", system, "--wait", "--timeout", "2m")
	want := fmt.Sprintf("%s %s\n%s\n", primaryFile, fs.FileMode(0o600), primary)
	if got := dirText(t, node.ConfDir); got != want {
		t.Errorf("conf dir:\n%s\nwant\n%s", got, want)
	}
	until(t, 20*time.Second, "the binary gone", func() error {
		if _, err := os.Stat(filepath.Join(node.BinDir, "detour-cni")); err == nil {
			return fmt.Errorf("still there")
		}
		return nil
	})
	server := outside(t)
	if got := get(t, "http://"+stays.Status.PodIP+":15021/call?to="+server); !strings.HasPrefix(got, "outside saw ") {
		t.Errorf("a pod of before calls out: %s", got)
	}
	if s := get(t, "http://"+stays.Status.PodIP+":15020/seen"); !strings.Contains(s, server) {
		t.Errorf("its proxy has not seen the call: %s", s)
	}
	create(t, meshed(t, "shop", "new"))
	if got := tables(t, running(t, "shop", "new")); got != "" {
		t.Errorf("a new pod has %q", got)
	}
	if err := knode.Client.CoreV1().Pods("shop").Delete(t.Context(), "goes", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	until(t, 40*time.Second, "an old pod gone", func() error {
		_, err := knode.Client.CoreV1().Pods("shop").Get(t.Context(), "goes", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("still there: %w", err)
	})
}
