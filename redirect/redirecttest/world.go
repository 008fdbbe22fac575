package redirecttest

import (
	"net/netip"
	"slices"
)

// Place is one of the three namespaces.
type Place string

// The places; see the package's picture.
const (
	InPod  Place = "pod"
	InPeer Place = "peer"
	InSide Place = "side"
)

// The pod's addresses and its neighbours', one per family.
var (
	podAddrs  = [2]netip.Prefix{netip.MustParsePrefix("10.9.0.2/24"), netip.MustParsePrefix("fd09::2/64")}
	peerAddrs = [2]netip.Prefix{netip.MustParsePrefix("10.9.0.1/24"), netip.MustParsePrefix("fd09::1/64")}
	net1Addrs = [2]netip.Prefix{netip.MustParsePrefix("10.8.0.1/24"), netip.MustParsePrefix("fd08::1/64")}
	sideAddrs = [2]netip.Prefix{netip.MustParsePrefix("10.8.0.5/24"), netip.MustParsePrefix("fd08::5/64")}
)

// ownAddrs are the pod's.
func ownAddrs() (own []netip.Addr) {
	for _, p := range slices.Concat(podAddrs[:], net1Addrs[:]) {
		own = append(own, p.Addr())
	}
	return own
}

// isPods reports whether a is an address of the pod. ::6 is: ADD puts it there.
func isPods(a netip.Addr) bool {
	own := func(p netip.Prefix) bool { return p.Addr() == a }
	return a.IsLoopback() || a == netip.MustParseAddr("::6") ||
		slices.ContainsFunc(podAddrs[:], own) || slices.ContainsFunc(net1Addrs[:], own)
}

// placeOf says which namespace answers for a destination.
func placeOf(a netip.Addr) Place {
	behind := func(p netip.Prefix) bool { return p.Contains(a) }
	switch {
	case isPods(a):
		return InPod
	case slices.ContainsFunc(net1Addrs[:], behind):
		return InSide
	}
	return InPeer
}

// outIface says through which of the pod's interfaces a destination is reached.
func outIface(a netip.Addr, second string) string {
	return map[Place]string{InPod: "lo", InSide: second, InPeer: "eth0"}[placeOf(a)]
}
