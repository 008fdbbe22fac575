package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/detour-cni/detour/plugin/mesh"
	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/netfilter"
	"github.com/detour-cni/detour/redirect/redirecttest"
)

func program(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "detour-validate")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, d := range []string{dir, filepath.Dir(dir)} { // every user is to run it
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// pod has both families, with routes that lead nowhere.
func pod(t *testing.T, families ...string) *redirecttest.NetNS {
	t.Helper()
	redirecttest.NeedsKernel(t)
	n := redirecttest.NewNetNS(t)
	lines := []string{"link set lo up", "link add eth0 type veth peer name wire", "link set wire up", "link set eth0 up"}
	if len(families) == 0 || families[0] == "4" {
		lines = append(lines, "addr add 10.9.0.2/24 dev eth0", "route add default dev eth0")
	}
	if len(families) == 0 || families[0] == "6" {
		lines = append(lines, "addr add fd09::2/64 dev eth0 nodad", "route add ::/0 dev eth0")
	}
	n.IP(t, lines...)
	return n
}

func compiled(t *testing.T, change func(*redirect.Spec)) redirect.RuleSet {
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

func commit(t *testing.T, n *redirecttest.NetNS, rs redirect.RuleSet) {
	t.Helper()
	if _, err := netfilter.Commit(n.Path, rs, netfilter.Options{Owner: redirect.Attachment{ContainerID: "c1", IfName: "eth0"}}); err != nil {
		t.Fatal(err)
	}
}

// says runs the program in the pod as a user without any right.
func says(t *testing.T, n *redirecttest.NetNS, path string, uid uint32, args ...string) (code int, line string) {
	t.Helper()
	var out bytes.Buffer
	err := n.Do(func() error {
		cmd := exec.Command(path, args...)
		cmd.Stdout, cmd.Stderr = &out, &out
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		return cmd.Run()
	})
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), out.String()
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0, out.String()
}

func want(t *testing.T, n *redirecttest.NetNS, path string, uid uint32, code int, text string, args ...string) {
	t.Helper()
	got, line := says(t, n, path, uid, args...)
	if got != code || !strings.Contains(line, text) || strings.Count(line, "\n") != 1 {
		t.Errorf("%v: exit code %d, %s\nwant %d, %q, on one line", args, got, line, code, text)
	}
}

const app, sidecar = 1000, 1337

// flagsOf are what a mesh's own redirect asks for.
func flagsOf(s redirect.Spec) []string {
	flags := []string{"--outbound-port", fmt.Sprint(s.OutboundPort), "--inbound-port", fmt.Sprint(s.InboundPort), "--loopback", string(s.Loopback)}
	if s.DNSPort != 0 {
		var protocols []string
		for _, p := range s.DNSProtocols {
			protocols = append(protocols, p.String())
		}
		flags = append(flags, "--dns-port", fmt.Sprint(s.DNSPort), "--dns-protocols", strings.ToLower(strings.Join(protocols, ",")))
	}
	return flags
}

// Good pods of every mesh, of DNS and of tproxy: nothing is broken, in the words of each.
func TestGoodPods(t *testing.T) {
	path := program(t)
	specs := map[string]redirect.Spec{}
	for _, d := range mesh.All() {
		specs[d.Name] = d.Defaults()
	}
	with := func(change func(*redirect.Spec)) redirect.Spec {
		s := redirect.EnvoyDefaults()
		change(&s)
		return s
	}
	specs["dns"] = with(func(s *redirect.Spec) { s.DNSPort = 15053 })
	specs["dns over udp"] = with(func(s *redirect.Spec) { s.DNSPort, s.DNSProtocols = 15053, s.DNSProtocols[:1] })
	specs["tproxy"] = with(func(s *redirect.Spec) { s.InboundMode = redirect.InboundTProxy })
	for name, s := range specs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := pod(t)
			commit(t, n, compiled(t, func(to *redirect.Spec) { *to = s }))
			flags := flagsOf(s)
			args := append([]string{"--as", "app"}, flags...)
			for _, proof := range []string{"ok: IPv4 outbound TCP, IPv4 calls to ", "IPv4 calls to localhost", "IPv4 calls to the pod itself", "IPv6 outbound TCP"} {
				want(t, n, path, app, 0, proof, args...)
			}
			want(t, n, path, app, 0, "inbound hook (what comes from outside cannot be sent from inside", args...)
			if name != "tproxy" { // there nat PREROUTING is not, and what runs on lo has its own way
				want(t, n, path, s.ProxyUIDs[0].First, 0, "ok: IPv4 the proxy's own calls out, IPv4 the proxy's call to its own pod, IPv6", append([]string{"--as", "proxy"}, flags...)...)
			}
		})
	}
}

func TestBadPods(t *testing.T) {
	path := program(t)
	n := pod(t)
	want(t, n, path, app, exitBroken, "IPv4 outbound TCP (a call to 198.51.100.1:80 was not taken to port 15001: nobody answers); IPv6 outbound TCP")
	v4 := compiled(t, func(s *redirect.Spec) { s.IPFamilies = redirect.FamiliesIPv4 })
	commit(t, n, v4)
	want(t, n, path, app, exitBroken, "should be: IPv6 outbound TCP")
	want(t, n, path, app, exitBroken, "it goes to a port where nobody listens, not to 15101", "--outbound-port", "15101")
	want(t, n, path, sidecar, exitBroken, "IPv4 outbound TCP", "--as", "app") // the proxy's user is no app

	consul := pod(t)
	commit(t, consul, compiled(t, func(s *redirect.Spec) { s.Loopback = redirect.LocalhostOnly }))
	want(t, consul, path, app, exitBroken, "IPv4 calls to the pod itself (a call to 10.9.0.2:")
	want(t, consul, path, app, 0, "ok: IPv4 outbound TCP, IPv4 calls to the pod itself", "--loopback", "localhost-only")

	single := pod(t, "4")
	commit(t, single, v4)
	want(t, single, path, app, 0, "absent: IPv6")
	// An app's user in the proxy's place: its calls come back.
	want(t, single, path, app, exitBroken, "it loops", "--as", "proxy", "--loopback", "bypass")
	alone := pod(t, "none")
	want(t, alone, path, app, exitUnknown, "nothing could be proved")
}

// The rules know another user, and bend to another port, than the check is told: the proxy's call
// goes to a port where nobody listens. That it is refused does not mean that it got out.
func TestAProxyThatTheRulesDoNotKnow(t *testing.T) {
	path := program(t)
	n := pod(t)
	commit(t, n, compiled(t, func(s *redirect.Spec) { s.Loopback = redirect.Bypass }))
	want(t, n, path, 2102, exitBroken, "IPv4 the proxy's own calls out (a call to 198.51.100.1:80 is refused inside the pod: it is bent to a port where nobody listens); IPv6 the proxy's own calls out",
		"--as", "proxy", "--loopback", "bypass", "--outbound-port", "4140")
}

// A firewall beyond the pod that resets what it does not let out is no fault of the pod's.
func TestWhatIsRefusedOutsideHasLeft(t *testing.T) {
	path := program(t)
	redirecttest.NeedsKernel(t)
	n, gateway := redirecttest.NewNetNS(t), redirecttest.NewNetNS(t)
	n.IP(t, "link set lo up", "link add eth0 type veth peer name wire netns "+gateway.Path, "link set eth0 up",
		"addr add 10.9.0.2/24 dev eth0", "addr add fd09::2/64 dev eth0 nodad")
	gateway.IP(t, "link set wire up", "addr add 10.9.0.1/24 dev wire", "addr add fd09::1/64 dev wire nodad",
		"link add out type veth peer name away", "link set away up", "link set out up", "route add default dev out", "route add ::/0 dev out")
	n.IP(t, "route add default via 10.9.0.1", "route add ::/0 via fd09::1")
	gateway.Sysctl(t, "ipv4/ip_forward=1", "ipv6/conf/all/forwarding=1")
	gateway.Run(t, "add table inet t\nadd chain inet t f { type filter hook forward priority 0; }\nadd rule inet t f meta l4proto tcp reject with tcp reset\n", "nft", "-f", "-")
	commit(t, n, compiled(t, nil))
	want(t, n, path, sidecar, 0, "ok: IPv4 the proxy's own calls out, IPv4 the proxy's call to its own pod, IPv6 the proxy's own calls out", "--as", "proxy")
}

// The proxy is there already and holds its ports: no false alarm, and no false comfort.
func TestHeldPorts(t *testing.T) {
	path := program(t)
	for _, bent := range []bool{true, false} {
		n := pod(t)
		if bent {
			commit(t, n, compiled(t, nil))
		}
		for _, port := range []string{":15001", ":15006"} {
			n.Listen(t, redirecttest.Owner{UID: sidecar, GID: sidecar}, port)
		}
		if bent {
			want(t, n, path, app, 0, "ok: IPv4 outbound TCP")
			want(t, n, path, sidecar, 0, "ok: IPv4 the proxy's own calls out, IPv4 the proxy's call to its own pod", "--as", "proxy")
		} else {
			want(t, n, path, app, exitBroken, "IPv4 outbound TCP (a call to 198.51.100.1:80 was not taken")
		}
	}
}

// Each rule in turn is missing: whatever changes the way of one of the program's packets is
// noticed, and nothing else is.
func TestEveryRuleThatAnInsidePacketCanNotice(t *testing.T) {
	path := program(t)
	rs := compiled(t, func(s *redirect.Spec) { // with a group besides, each of the proxy's rules has a second
		s.DNSPort, s.ProxyGIDs = 15053, nil
	})
	noticed := 0
	for m := range redirecttest.Mutants(rs) {
		n := pod(t)
		commit(t, n, m.RuleSet)
		for who, args := range map[uint32][]string{app: {"--as", "app", "--dns-port", "15053"}, sidecar: {"--as", "proxy"}} {
			code, line := says(t, n, path, who, args...)
			if should := differs(rs, m.RuleSet, who); should != (code == exitBroken) {
				t.Errorf("%s, as %s: noticed: %v, want %v: %s", m, args[1], code == exitBroken, should, line)
			} else if should {
				noticed++
			}
		}
	}
	if noticed < 6 {
		t.Errorf("%d rules are noticed, want the redirects, the proxy's and the loopback's", noticed)
	}
}

// differs reports whether one of the program's packets goes another way.
func differs(a, b redirect.RuleSet, who uint32) bool {
	f, own := families(), [2]netip.Addr{netip.MustParseAddr("10.9.0.2"), netip.MustParseAddr("fd09::2")}
	for i := range f {
		packets := []redirect.Packet{{Out: "eth0", Proto: redirect.TCPProto, Dst: netip.AddrPortFrom(f[i].stranger, 80)}, {Out: "lo", Proto: redirect.TCPProto, Dst: netip.AddrPortFrom(own[i], 40001)}}
		if who == app {
			packets = append(packets, redirect.Packet{Out: "lo", Proto: redirect.TCPProto, Dst: netip.AddrPortFrom(f[i].local, 40001)},
				redirect.Packet{Out: "eth0", Proto: redirect.TCPProto, Dst: netip.AddrPortFrom(f[i].stranger, 53)},
				redirect.Packet{Out: "eth0", Proto: redirect.UDPProto, Dst: netip.AddrPortFrom(f[i].stranger, 53)})
		}
		for _, p := range packets {
			p.Hook, p.UID, p.GID, p.Src = redirect.Output, who, who, netip.AddrPortFrom(own[i], 40000)
			if p.Dst.Addr().IsLoopback() {
				p.Src = netip.AddrPortFrom(p.Dst.Addr(), 40000)
			}
			x, y := redirect.Trace(a, p), redirect.Trace(b, p)
			if x.Verdict != y.Verdict || x.Port != y.Port {
				return true
			}
		}
	}
	return false
}
