package redirecttest

import (
	"fmt"
	"testing"
)

// Pod is a pod with its surroundings: see the package's picture. The embedded
// namespace is the pod's own.
type Pod struct {
	*NetNS
	Peer, Side *NetNS
	places     map[Place]*NetNS
	ports      uint16 // given out so far, from firstPort on
}

// Shape is what a pod is like, where it is not the usual. The zero Shape is usual.
type Shape struct {
	// Eth and Second name the interfaces; "" is eth0 and net1.
	Eth, Second string
	IPv6        IPv6
	NoIPv4      bool
	// LoDown leaves lo down, as some runtimes do until the plugin comes.
	LoDown bool
}

// IPv6 is how a pod comes to have no IPv6.
type IPv6 string

// The ways not to have IPv6.
const (
	WithIPv6      IPv6 = ""
	NoAddress     IPv6 = "no address"                   // enabled, but only link-local
	DisabledOnEth IPv6 = "disable_ipv6 on eth0 only"    // lo has ::1
	DisabledOnAll IPv6 = "disable_ipv6 on all, also lo" // no ::1 either
)

// NewPod makes a usual pod.
func NewPod(t testing.TB) *Pod { return Shape{}.NewPod(t) }

// NewPod makes a pod of this shape.
func (s Shape) NewPod(t testing.TB) *Pod {
	t.Helper()
	NeedsKernel(t)
	if s.Eth == "" {
		s.Eth = "eth0"
	}
	if s.Second == "" {
		s.Second = "net1"
	}
	p := &Pod{NetNS: NewNetNS(t), Peer: NewNetNS(t), Side: NewNetNS(t)}
	p.places = map[Place]*NetNS{InPod: p.NetNS, InPeer: p.Peer, InSide: p.Side}
	for _, n := range p.places {
		n.Sysctl(t, "ipv6/conf/default/accept_dad=0", "ipv6/conf/all/accept_dad=0",
			"ipv4/ping_group_range=0 2147483647", "ipv4/ip_forward=1", "ipv6/conf/all/forwarding=1")
	}
	p.Peer.IP(t, s.peer(p)...)
	p.Side.IP(t, s.side(p)...)
	if s.IPv6 == DisabledOnAll {
		p.Sysctl(t, "ipv6/conf/all/disable_ipv6=1", "ipv6/conf/default/disable_ipv6=1")
	}
	if s.IPv6 == DisabledOnEth {
		p.Sysctl(t, "ipv6/conf/"+s.Eth+"/disable_ipv6=1")
	}
	p.IP(t, s.pod()...)
	return p
}

// peer sets up the wire: it takes every destination for its own, except the
// pod's addresses and what is behind the pod. noprefixroute makes it so for the
// link's own networks, too, whose other addresses would have to be asked for by
// ARP. The pod's end of the link is made here, too.
func (s Shape) peer(p *Pod) []string {
	return []string{
		"link set lo up",
		"link add wire type veth peer name " + s.Eth + " netns " + p.Path,
		"addr add " + peerAddrs[0].String() + " dev wire noprefixroute",
		"addr add " + peerAddrs[1].String() + " dev wire nodad noprefixroute",
		"link set wire up",
		"route add " + podAddrs[0].Addr().String() + " dev wire",
		"route add " + podAddrs[1].Addr().String() + " dev wire",
		"route add 10.8.0.0/24 via " + podAddrs[0].Addr().String(),
		"route add fd08::/64 via " + podAddrs[1].Addr().String(),
		"route add local 0.0.0.0/0 dev lo table main",
		"route add local ::/0 dev lo table main",
	}
}

func (s Shape) side(p *Pod) []string {
	return []string{
		"link set lo up",
		"link add wire type veth peer name " + s.Second + " netns " + p.Path,
		"addr add " + sideAddrs[0].String() + " dev wire",
		"addr add " + sideAddrs[1].String() + " dev wire nodad",
		"link set wire up",
		"route add default via " + net1Addrs[0].Addr().String(),
		"route add default via " + net1Addrs[1].Addr().String(),
	}
}

func (s Shape) pod() []string {
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	if !s.LoDown {
		add("link set lo up")
	}
	add("link set %s up", s.Eth)
	add("link set %s up", s.Second)
	if !s.NoIPv4 {
		add("addr add %v dev %s noprefixroute", podAddrs[0], s.Eth)
		add("route add %v dev %s", peerAddrs[0].Addr(), s.Eth)
		add("addr add %v dev %s", net1Addrs[0], s.Second)
		add("route add default via %v", peerAddrs[0].Addr())
	}
	if s.IPv6 == WithIPv6 {
		add("addr add %v dev %s nodad noprefixroute", podAddrs[1], s.Eth)
		add("route add %v dev %s", peerAddrs[1].Addr(), s.Eth)
		add("addr add %v dev %s nodad", net1Addrs[1], s.Second)
		add("route add default via %v", peerAddrs[1].Addr())
	}
	return lines
}
