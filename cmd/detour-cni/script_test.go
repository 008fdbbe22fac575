package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// The scripts drive the built plugin as a runtime does: upstream's cnitool, a list
// of ptp (with host-local) and detour-cni, and a pod's namespace for each script.
// Those in testdata/script/backend run once for each backend, in $BACKEND; those
// in testdata/script/version once for each version of the list, in $VERSION.
//
// Every script has in its environment:
//
//	$POD      the name of its network namespace, with lo and nothing else
//	$NETNS    its path
//	$BACKEND  nftables, unless it runs for each
//	$VERSION  1.1.0, unless it runs for each
//
// and these commands besides testscript's own:
//
//	list FILE [NETWORK]  makes the network, or "pods": ptp, then detour-cni with the options in
//	            FILE. "pods" has the attachments of every script that runs beside this one
//	state FILE  writes everything a plugin may change in the pod to FILE: links,
//	            addresses, routes, rules and, as the kernel counts, their packets
//	pod WORDS   runs a command in the pod
//	eth0        gives the pod an eth0 with 10.9.0.2 and fd09::2, as a primary does
//	result FILE compares the last stdout with FILE, which has a newline more
//	annotations FILE  hands over the JSON object in FILE as the pod's annotations, to
//	            what runs through cnitool from then on
//	cni VERB [STDIN]  runs detour-cni itself, with CNI_COMMAND=VERB
//
// FILE and STDIN may name the environment ($BACKEND). Of the conditions [nftables]
// and [iptables] the one holds that $BACKEND is.

func TestScripts(t *testing.T) { runScripts(t, "../../testdata/script", "nftables", "1.1.0") }

func TestScriptsWithEachBackend(t *testing.T) {
	for _, backend := range []string{"nftables", "iptables-nft", "iptables-legacy"} {
		t.Run(backend, func(t *testing.T) { runScripts(t, "../../testdata/script/backend", backend, "1.1.0") })
	}
}

func TestScriptsWithEachVersion(t *testing.T) {
	for _, version := range []string{"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"} {
		t.Run(version, func(t *testing.T) { runScripts(t, "../../testdata/script/version", "nftables", version) })
	}
}

func runScripts(t *testing.T, dir, backend, version string) {
	t.Helper()
	path := programs(t)
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"list": listCommand, "state": stateCommand, "pod": podCommand, "cni": cniCommand, "eth0": eth0Command, "result": resultCommand,
			"annotations": annotationsCommand,
		},
		Condition: func(name string) (bool, error) {
			if name != "nftables" && name != "iptables" {
				return false, fmt.Errorf("unknown condition")
			}
			return strings.HasPrefix(backend, name), nil
		},
		Setup: func(e *testscript.Env) error {
			pod, err := newPod(e.Defer)
			e.Setenv("POD", pod)
			e.Setenv("NETNS", "/run/netns/"+pod)
			e.Setenv("BACKEND", backend)
			e.Setenv("VERSION", version)
			e.Setenv("PATH", path)
			e.Setenv("CNI_PATH", path)
			e.Setenv("NETCONFPATH", filepath.Join(e.WorkDir, "net.d"))
			return err
		},
	})
}

// needKernel skips a test that needs namespaces, except where that is a failure.
func needKernel(t *testing.T) {
	t.Helper()
	switch {
	case os.Getenv("DETOUR_NETNS_TESTS") == "1" && os.Getenv("DETOUR_ISOLATED") == "1":
		return
	case os.Getenv("DETOUR_NO_SKIP") == "1":
		t.Fatal("not under hack/isolate.sh with DETOUR_NETNS_TESTS=1, and nothing may be skipped")
	}
	t.Skip("needs namespaces of its own: make test-script")
}

// programs gives a PATH with the plugin, built now, and upstream's programs.
func programs(t *testing.T) string {
	t.Helper()
	needKernel(t)
	dir, err := builtPlugin()
	if err != nil {
		t.Fatal(err)
	}
	bin, err := filepath.Abs("../../bin")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"cnitool", "ptp", "bridge", "host-local", "loopback"} {
		if _, err := os.Stat(filepath.Join(bin, name)); err != nil {
			t.Fatalf("bin/%s: %v (make deps builds it)", name, err)
		}
	}
	return strings.Join([]string{dir, bin, "/usr/sbin", "/usr/bin", "/sbin", "/bin"}, ":")
}

// builtPlugin builds the plugin as it is shipped, once for all tests.
var builtPlugin = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "detour-cni-")
	if err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", dir+"/detour-cni", ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return dir, fmt.Errorf("go build: %w: %s", err, out)
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if os.Getenv("DETOUR_ISOLATED") == "1" {
		dir, _ := builtPlugin() // the tests have told its error
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	os.Exit(code)
}

// newPod makes an empty network namespace, as a runtime does before ADD.
func newPod(cleanup func(func())) (string, error) {
	name, err := os.MkdirTemp("", "pod")
	if err != nil {
		return "", err
	}
	pod := filepath.Base(name)
	if err := os.Remove(name); err != nil {
		return "", err
	}
	for _, line := range []string{
		"ip netns add " + pod,
		// An address is usable at once: nobody else can have it.
		"ip netns exec " + pod + " tee /proc/sys/net/ipv6/conf/default/accept_dad",
	} {
		words := strings.Fields(line)
		cmd := exec.Command(words[0], words[1:]...)
		cmd.Stdin = strings.NewReader("0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return pod, fmt.Errorf("%s: %w: %s", line, err, out)
		}
	}
	cleanup(func() {
		// A script may have taken it away itself.
		_ = exec.Command("ip", "netns", "del", pod).Run()
	})
	return pod, nil
}

// listCommand writes the network configuration list.
func listCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: list FILE [NETWORK]")
	}
	options, network := ts.ReadFile(args[0]), "pods"
	if len(args) == 2 {
		network = args[1]
	}
	list := fmt.Sprintf(`{
  "cniVersion": %q,
  "name": %q,
  "plugins": [
    {
      "type": "ptp",
      "ipMasq": false,
      "ipam": {
        "type": "host-local",
        "ranges": [[{"subnet": "10.9.0.0/16"}], [{"subnet": "fd09::/64"}]],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
      }
    },
    {
      "type": "detour-cni",
      "capabilities": {"io.kubernetes.cri.pod-annotations": true},
      "detour": %s
    }
  ]
}
`, ts.Getenv("VERSION"), network, os.Expand(options, ts.Getenv))
	ts.Check(os.MkdirAll(ts.MkAbs("net.d"), 0o755))
	ts.Check(os.WriteFile(ts.MkAbs("net.d/"+network+".conflist"), []byte(list), 0o644))
}

// annotationsCommand sets CAP_ARGS, which cnitool makes runtimeConfig of, as a
// runtime does.
func annotationsCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: annotations FILE")
	}
	var line bytes.Buffer
	ts.Check(json.Compact(&line, []byte(ts.ReadFile(args[0]))))
	ts.Setenv("CAP_ARGS", `{"io.kubernetes.cri.pod-annotations":`+line.String()+`}`)
}

// stateScript prints what a plugin may change in a namespace. iptables-legacy-save
// makes the tables that it prints, so it is run only where there are some.
const stateScript = `
ip -o link show
ip -o addr show | grep -v ' scope link'
ip rule; ip -6 rule
ip route show table all | grep -v 'table local proto kernel'
ip -6 route show table all | grep -v -e 'table local proto kernel' -e ^multicast -e ^fe80
nft list ruleset
for v in ip ip6; do
	if grep -q . /proc/net/${v}_tables_names; then ${v}tables-legacy-save -c | grep -v '^#'; fi
done
true
`

func stateCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: state FILE")
	}
	cmd := exec.Command("ip", "netns", "exec", ts.Getenv("POD"), "sh", "-c", stateScript)
	out, err := cmd.Output()
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), out, 0o644))
}

func podCommand(ts *testscript.TestScript, neg bool, args []string) {
	outcome(ts, neg, ts.Exec("ip", append([]string{"netns", "exec", ts.Getenv("POD")}, args...)...))
}

func eth0Command(ts *testscript.TestScript, _ bool, _ []string) {
	for _, line := range []string{
		"ip link set lo up",
		"ip link add eth0 type veth peer name wire",
		"ip addr add 10.9.0.2/24 dev eth0",
		"ip addr add fd09::2/64 dev eth0 nodad",
		"ip link set eth0 up",
	} {
		podCommand(ts, false, strings.Fields(line))
	}
}

func resultCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: result FILE")
	}
	want := os.Expand(ts.ReadFile(args[0]), ts.Getenv)
	if got := ts.ReadFile("stdout") + "\n"; got != want {
		ts.Fatalf("got  %swant %s", got, want)
	}
}

// cniCommand runs the plugin itself. What a script has not set is as usual.
func cniCommand(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: cni VERB [STDIN]")
	}
	words := []string{"CNI_COMMAND=" + args[0]}
	for name, usual := range map[string]string{"CNI_CONTAINERID": "c1", "CNI_IFNAME": "eth0", "CNI_NETNS": ts.Getenv("NETNS")} {
		if ts.Getenv(name) == "" {
			words = append(words, name+"="+usual)
		}
	}
	stdin := "/dev/null"
	if len(args) == 2 {
		stdin = ts.MkAbs(".stdin")
		ts.Check(os.WriteFile(stdin, []byte(os.Expand(ts.ReadFile(args[1]), ts.Getenv)), 0o644))
	}
	words = append(words, "sh", "-c", `exec detour-cni <"$0"`, stdin)
	outcome(ts, neg, ts.Exec("env", words...))
}

func outcome(ts *testscript.TestScript, neg bool, err error) {
	if neg && err == nil {
		ts.Fatalf("unexpected success")
	}
	if !neg {
		ts.Check(err)
	}
}
