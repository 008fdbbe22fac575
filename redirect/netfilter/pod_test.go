package netfilter

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect"
)

// needKernel skips a test that needs namespaces, except where that is a failure.
func needKernel(t *testing.T) {
	t.Helper()
	if os.Getenv("DETOUR_NETNS_TESTS") == "1" {
		return
	}
	if os.Getenv("DETOUR_NO_SKIP") == "1" {
		t.Fatal("DETOUR_NETNS_TESTS is not set, and nothing may be skipped")
	}
	t.Skip("needs namespaces of its own: make test-netns")
}

// enterPod gives the test a new network namespace, furnished by ip(8), and its
// path. The thread is never unlocked: it ends with the test, and the namespace with it.
func enterPod(t *testing.T, lines ...string) (path string) {
	t.Helper()
	needKernel(t)
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	for _, line := range append([]string{"sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.default.addr_gen_mode=1"}, lines...) {
		command(t, line)
	}
	return fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), unix.Gettid())
}

// dual is how a primary plugin leaves a pod of both families.
func dual() []string {
	return []string{
		"ip link set lo up",
		"ip link add eth0 type veth peer name wire",
		"ip addr add 10.9.0.2/24 dev eth0",
		"ip addr add fd09::2/64 dev eth0 nodad",
		"ip link set eth0 up",
	}
}

// command runs a line of words in the thread's namespace, and gives its output.
func command(t *testing.T, line string) string {
	t.Helper()
	words := strings.Fields(line)
	var out, errs strings.Builder
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v: %s", line, err, errs.String())
	}
	return out.String()
}

// snapshot is all that a Commit may change in a namespace.
func snapshot(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, line := range []string{
		"ip -o link show", "ip -o addr show", "ip rule", "ip -6 rule",
		"ip route show table all", "ip -6 route show table all", "nft list ruleset",
	} {
		b.WriteString("# " + line + "\n")
		for l := range strings.Lines(command(t, line)) {
			if strings.HasPrefix(l, "multicast ff00::/8") || strings.Contains(l, "table local proto kernel") {
				continue // the kernel's own, and late
			}
			// A link that has been up keeps its queue.
			b.WriteString(strings.Replace(l, "qdisc noop state", "qdisc noqueue state", 1))
		}
	}
	return b.String()
}

// ruleSet compiles the Envoy defaults after change.
func ruleSet(t *testing.T, change func(*redirect.Spec)) redirect.RuleSet {
	t.Helper()
	s := redirect.EnvoyDefaults()
	if change != nil {
		change(&s)
	}
	rs, err := redirect.Compile(s)
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

func tproxy(s *redirect.Spec) { s.InboundMode = redirect.InboundTProxy }

var owner = redirect.Attachment{ContainerID: "c1", IfName: "eth0"}
