package iptables

import (
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect"
)

// newPod moves the test into a network namespace of its own. Its thread is never
// unlocked: it dies with the test, and the namespace with it.
func newPod(t *testing.T) {
	t.Helper()
	if os.Getenv("DETOUR_NETNS_TESTS") != "1" {
		if os.Getenv("DETOUR_NO_SKIP") == "1" {
			t.Fatal("DETOUR_NETNS_TESTS is not 1, and DETOUR_NO_SKIP is")
		}
		t.Skip("needs root and namespaces: set DETOUR_NETNS_TESTS=1")
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
}

// eachVariant runs a test in a pod of its own for both tools.
func eachVariant(t *testing.T, f func(*testing.T, *Backend)) {
	for _, v := range []Variant{NFT, Legacy} {
		t.Run(string(v), func(t *testing.T) {
			newPod(t)
			b, err := Find(v)
			if err != nil {
				t.Fatal(err)
			}
			f(t, b)
		})
	}
}

// sh runs a tool in the test's namespace and gives what it prints.
func sh(t *testing.T, stdin, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), lockFile)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

var (
	comments   = regexp.MustCompile(`(?m)^#.*\n`)
	emptyTable = regexp.MustCompile(`(?m)^\*[a-z]+\n(:[A-Z]+ [A-Z]+ \[\d+:\d+\]\n)+COMMIT\n`)
)

// saved is everything that both families hold, counters included. Tables with
// nothing in them are left out: no legacy table can be taken away again.
func saved(t *testing.T, b *Backend) string {
	t.Helper()
	all := sh(t, "", b.v4.save, "-c") + "IPv6\n" + sh(t, "", b.v6.save, "-c")
	all = comments.ReplaceAllString(all, "")
	if b.variant == Legacy {
		all = emptyTable.ReplaceAllString(all, "")
	}
	return all
}

// legacyTables is which legacy tables the namespace has.
func legacyTables(t *testing.T) string {
	t.Helper()
	var all string
	for _, f := range []string{"ip_tables_names", "ip6_tables_names"} {
		names, err := os.ReadFile("/proc/thread-self/net/" + f)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		all += string(names)
	}
	return all
}

var owner = redirect.Attachment{ContainerID: strings.Repeat("c0ffee", 10), IfName: "eth0"}

func compile(t *testing.T, change func(*redirect.Spec)) redirect.RuleSet {
	t.Helper()
	s := redirect.EnvoyDefaults()
	change(&s)
	rs, err := redirect.Compile(s)
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

func commit(t *testing.T, b *Backend, rs redirect.RuleSet) redirect.Change {
	t.Helper()
	change, err := b.Commit(rs, owner, redirect.Extras{})
	if err != nil {
		t.Fatal(err)
	}
	return change
}

func prefixes(text ...string) []netip.Prefix {
	var of []netip.Prefix
	for _, p := range text {
		of = append(of, netip.MustParsePrefix(p))
	}
	return of
}

func manyPrefixes(n int) []netip.Prefix {
	var of []netip.Prefix
	for i := range n {
		of = append(of, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 2}), 32))
	}
	return of
}

// specs are Specs that between them use every condition and target, each in odd shapes.
var specs = []struct {
	name   string
	change func(*redirect.Spec)
}{
	{"defaults", func(*redirect.Spec) {}},
	{"dns", func(s *redirect.Spec) { s.DNSPort = 15053 }},
	{"tproxy", func(s *redirect.Spec) {
		s.InboundMode, s.DropInvalid, s.DNSPort = redirect.InboundTProxy, true, 15053
	}},
	{"mark of all bits", func(s *redirect.Spec) { s.InboundMode, s.TProxyMark = redirect.InboundTProxy, 1<<32-1 }},
	{"drop invalid", func(s *redirect.Spec) { s.DropInvalid = true }},
	{"ports", func(s *redirect.Spec) {
		for p := uint16(100); p < 200; p += 3 {
			s.ExcludeInboundPorts = append(s.ExcludeInboundPorts, redirect.PortRange{First: p, Last: p + p%2})
		}
		s.ExcludeOutboundPorts = []redirect.PortRange{{First: 1, Last: 65535}}
	}},
	{"included ports", func(s *redirect.Spec) {
		s.IncludeInboundPorts = redirect.PortSet{Ranges: []redirect.PortRange{{First: 80, Last: 80}, {First: 8000, Last: 8100}}}
		s.IncludeOutboundPorts = []redirect.PortRange{{First: 1, Last: 1}, {First: 65000, Last: 65535}}
		s.IncludeOutboundCIDRs = redirect.PrefixSet{Prefixes: prefixes("10.0.0.0/8", "fd00::/8", "127.1.0.0/16")}
	}},
	{"prefixes", func(s *redirect.Spec) {
		s.ExcludeOutboundCIDRs = prefixes("10.1.0.0/16", "192.0.2.1/32", "fd00::/64", "::1:2/128", "::1.2.3.0/120", "::fffe:0:0/96", "2001:db8:0:1:0:0:0:1/128", "2001:0:0:1::/64", "::5/128", "::ff00/120", "64:ff9b::102:304/128", "1:0:1:0:1:0:1:0/128")
		s.ExcludeInboundCIDRs = prefixes("0.0.0.0/0", "::/0")
	}},
	{"one family's prefixes", func(s *redirect.Spec) {
		s.ExcludeOutboundCIDRs, s.ExcludeInboundCIDRs = prefixes("10.1.0.0/16"), prefixes("fd00::/8")
	}},
	{"owners", func(s *redirect.Spec) {
		s.ExcludeOutboundUIDs = []redirect.IDRange{{First: 0, Last: 0}, {First: 1000, Last: 1999}}
		s.ExcludeOutboundGIDs = []redirect.IDRange{{First: 4294967294, Last: 4294967294}, {First: 3000000000, Last: 4000000000}}
		s.ProxyUIDs = []redirect.IDRange{{First: 5, Last: 5}, {First: 7, Last: 9}}
		s.ExcludeOutboundOwners = []redirect.OwnerTuple{{Ports: []redirect.PortRange{{First: 53, Last: 53}, {First: 80, Last: 90}}, UIDs: []redirect.IDRange{{First: 1, Last: 1}, {First: 3, Last: 4}}}}
		s.DNSPort = 15053
	}},
	{"interfaces", func(s *redirect.Spec) {
		s.ExcludeInterfaces = []redirect.Iface{"net1", "a'b", `b\s`, "!x", "-d"}
		s.RerouteInterfaces = []redirect.Reroute{{Iface: "br+", ExceptCIDRs: prefixes("10.0.0.0/24", "fd00::/64"), DNS: true}, {Iface: "tap0"}}
		s.DNSPort = 15053
	}},
	{"dns elsewhere", func(s *redirect.Spec) {
		s.DNSPort, s.DNSAddress = 53, netip.MustParseAddr("192.0.2.53")
		s.DNSServers = redirect.PrefixSet{Prefixes: prefixes("10.96.0.10/32", "fd00::a/128")}
	}},
	{"dns elsewhere, IPv6", func(s *redirect.Spec) { s.DNSPort, s.DNSAddress = 53, netip.MustParseAddr("fd00::53") }},
	{"loopback bypass", func(s *redirect.Spec) { s.Loopback = redirect.Bypass }},
	{"localhost-only", func(s *redirect.Spec) { s.Loopback = redirect.LocalhostOnly }},
	{"off", func(s *redirect.Spec) { s.InboundMode = redirect.InboundOff }},
	{"IPv4 only", func(s *redirect.Spec) { s.IPFamilies = redirect.FamiliesIPv4 }},
	{"IPv6 only", func(s *redirect.Spec) { s.IPFamilies = redirect.FamiliesIPv6 }},
}
