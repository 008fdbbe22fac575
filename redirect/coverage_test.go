package redirect_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/redirecttest"
)

// A kind is something that the packet tables must have an example of.
type kind struct {
	name string
	of   func(redirecttest.Case, redirecttest.Row) bool
}

// TestCasesCoverEveryKind wants each way of being redirected with each kind of sender,
// and each with each protocol, in both families.
func TestCasesCoverEveryKind(t *testing.T) {
	cases := redirecttest.Cases(t)
	for _, family := range families {
		for _, mode := range modes {
			for _, other := range slices.Concat(senders, protocols) {
				covered := slices.ContainsFunc(cases, func(c redirecttest.Case) bool {
					return slices.ContainsFunc(c.Rows, func(r redirecttest.Row) bool {
						return family.of(c, r) && mode.of(c, r) && other.of(c, r)
					})
				})
				if !covered {
					t.Errorf("no row: %s, %s, %s", family.name, mode.name, other.name)
				}
			}
		}
	}
}

var families = []kind{
	{"IPv4", func(_ redirecttest.Case, r redirecttest.Row) bool { return r.Packet.Dst.Addr().Is4() }},
	{"IPv6", func(_ redirecttest.Case, r redirecttest.Row) bool { return r.Packet.Dst.Addr().Is6() }},
}

var modes = []kind{
	{"redirect", func(c redirecttest.Case, _ redirecttest.Row) bool {
		return c.Spec.InboundMode == redirect.InboundRedirect
	}},
	{"tproxy", func(c redirecttest.Case, _ redirecttest.Row) bool {
		return c.Spec.InboundMode == redirect.InboundTProxy
	}},
	{"inbound off", func(c redirecttest.Case, _ redirecttest.Row) bool { return c.Spec.InboundMode == redirect.InboundOff }},
	{"dns", func(c redirecttest.Case, _ redirecttest.Row) bool { return c.Spec.DNSPort != 0 }},
	{"reroute", func(c redirecttest.Case, _ redirecttest.Row) bool { return len(c.Spec.RerouteInterfaces) > 0 }},
	{"excluded interface", func(c redirecttest.Case, _ redirecttest.Row) bool { return len(c.Spec.ExcludeInterfaces) > 0 }},
}

var senders = []kind{
	{"app", func(c redirecttest.Case, r redirecttest.Row) bool {
		return sends(r) && r.Packet.UID != 0 && !holds(c.Spec.ProxyUIDs, r.Packet.UID) && !holds(c.Spec.ProxyGIDs, r.Packet.GID)
	}},
	{"proxy by uid and gid", func(c redirecttest.Case, r redirecttest.Row) bool {
		return sends(r) && holds(c.Spec.ProxyUIDs, r.Packet.UID) && holds(c.Spec.ProxyGIDs, r.Packet.GID)
	}},
	{"proxy by uid only", func(c redirecttest.Case, r redirecttest.Row) bool {
		return sends(r) && holds(c.Spec.ProxyUIDs, r.Packet.UID) && !holds(c.Spec.ProxyGIDs, r.Packet.GID)
	}},
	{"proxy by gid only", func(c redirecttest.Case, r redirecttest.Row) bool {
		return sends(r) && !holds(c.Spec.ProxyUIDs, r.Packet.UID) && holds(c.Spec.ProxyGIDs, r.Packet.GID)
	}},
	{"root", func(c redirecttest.Case, r redirecttest.Row) bool {
		return sends(r) && r.Packet.UID == 0 && r.Packet.GID == 0
	}},
	{"from the wire", func(_ redirecttest.Case, r redirecttest.Row) bool {
		return r.Packet.Hook == redirect.Prerouting && r.Packet.In == "eth0"
	}},
	{"forwarded from a second interface", func(_ redirecttest.Case, r redirecttest.Row) bool {
		return r.Packet.Hook == redirect.Prerouting && r.Packet.In != "eth0" && !podHas(r.Packet.Dst.Addr())
	}},
}

var protocols = []kind{
	{"TCP", func(_ redirecttest.Case, r redirecttest.Row) bool { return r.Packet.Proto == redirect.TCPProto }},
	{"UDP", func(_ redirecttest.Case, r redirecttest.Row) bool { return r.Packet.Proto == redirect.UDPProto }},
	{"ICMP", func(_ redirecttest.Case, r redirecttest.Row) bool { return r.Packet.Proto == redirect.ICMPProto }},
}

func sends(r redirecttest.Row) bool { return r.Packet.Hook == redirect.Output && !r.Packet.NoSocket }

func holds(ids []redirect.IDRange, id uint32) bool {
	return slices.ContainsFunc(ids, func(r redirect.IDRange) bool { return r.First <= id && id <= r.Last })
}

// podHas knows the pod's addresses in package redirecttest's picture.
func podHas(a netip.Addr) bool {
	return a.IsLoopback() || slices.Contains([]string{"10.9.0.2", "fd09::2", "10.8.0.1", "fd08::1"}, a.String())
}

// TestCasesCollide wants two packets with the very same 5-tuple, of the app and of the
// proxy, in either order, in both families: each must end where it should.
func TestCasesCollide(t *testing.T) {
	for _, family := range families {
		orders := map[bool]bool{} // app first?
		for _, c := range redirecttest.Cases(t) {
			for i, second := range c.Rows {
				for _, first := range c.Rows[:i] {
					if !family.of(c, first) || !sends(first) || !sends(second) || first.Packet.Src.Port() == 0 ||
						first.Packet.Src != second.Packet.Src || first.Packet.Dst != second.Packet.Dst || first.Packet.Proto != second.Packet.Proto {
						continue
					}
					a, b := holds(c.Spec.ProxyUIDs, first.Packet.UID), holds(c.Spec.ProxyUIDs, second.Packet.UID)
					if a != b {
						orders[b] = true
					}
				}
			}
		}
		if !orders[true] || !orders[false] {
			t.Errorf("%s: collisions: app first %t, proxy first %t (want both)", family.name, orders[true], orders[false])
		}
	}
}

// TestCommentsAreKept: no rule's comment is longer than what every backend keeps: nft
// 1.0.6 refuses more than 128 bytes, iptables 1.8.9 cuts silently at 256.
func TestCommentsAreKept(t *testing.T) {
	for _, c := range redirecttest.Cases(t) {
		rs, err := redirect.Compile(c.Spec)
		if err != nil {
			t.Fatal(err)
		}
		for _, chain := range rs.Chains {
			for _, r := range chain.Rules {
				if n := len(r.Comment()); n > 128 {
					t.Errorf("%s: %s: a comment of %d bytes (want 128 at most): %s", c.Name, chain.Name, n, r.Comment())
				}
			}
		}
	}
}
