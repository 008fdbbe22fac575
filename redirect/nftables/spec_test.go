package nftables

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	"github.com/detour-cni/detour/redirect"
)

// specs are Specs as JSON, laid over the Envoy defaults, that together use every
// condition and every target, alone and in lists.
var specs = map[string]string{
	"defaults":        `{}`,
	"dns":             `{"dnsPort": 15053}`,
	"dns elsewhere":   `{"dnsPort": 8600, "dnsAddress": "10.0.0.10"}`,
	"dns elsewhere 6": `{"dnsPort": 8600, "dnsAddress": "fd00::10", "dnsServers": ["10.0.0.10", "fd00::10", "fd00::12"]}`,
	"tproxy":          `{"inboundMode": "tproxy", "includeInboundPorts": [80, "8000-8100"], "dropInvalid": true}`,
	"off":             `{"inboundMode": "off", "loopback": "bypass"}`,
	"localhost only":  `{"loopback": "localhost-only", "proxyUIDs": ["5000-5999"], "proxyGIDs": []}`,
	"owners":          `{"proxyUIDs": [0, 1337], "proxyGIDs": [1, "100-200"], "excludeOutboundUIDs": [4294967294], "excludeOutboundGIDs": ["4294967290-4294967294", 3], "excludeOutboundOwners": [{"protocol": "udp", "ports": [53, "100-200"], "uids": [1, 3]}]}`,
	"interfaces":      `{"excludeInterfaces": ["eth1", "br+"], "rerouteInterfaces": ["vm0", {"name": "tap+", "exceptCIDRs": ["10.1.0.0/16", "fd01::/64"], "dns": true}], "dnsPort": 15053}`,
	"ports":           `{"includeOutboundPorts": [1, "2-10", 65535], "includeOutboundCIDRs": [], "excludeInboundPorts": ["60000-65535", 22]}`,
	"prefixes":        `{"excludeOutboundCIDRs": ["10.0.0.0/8", "11.0.0.0/9", "240.0.0.0/4", "fd00::/8", "ff00::/8"], "excludeInboundCIDRs": ["10.1.2.0/23"], "includeOutboundCIDRs": ["0.0.0.0/0", "2000::/3"]}`,
	"single prefixes": `{"excludeOutboundCIDRs": ["10.0.0.0/12", "fd00::/10"], "excludeInboundCIDRs": ["192.0.2.1", "2001:db8::1"]}`,
	"only values":     `{"excludeOutboundCIDRs": ["10.0.0.1", "10.0.0.3", "fd00::1", "fd00::3"]}`,
	"touching":        `{"excludeOutboundCIDRs": ["10.0.0.0/8", "11.0.0.0/9"]}`,
	"ipv4":            `{"ipFamilies": "ipv4", "dnsPort": 15053, "excludeOutboundCIDRs": ["10.0.0.0/8", "fd00::/8"]}`,
	"ipv6":            `{"ipFamilies": "ipv6", "inboundMode": "tproxy", "excludeOutboundCIDRs": ["10.0.0.0/8", "fd00::/8"]}`,
	"ipv6 dns":        `{"ipFamilies": "ipv6", "dnsPort": 8600, "dnsAddress": "fd00::10"}`,
}

// randomSpec gives a Spec with a bit of everything; Compile may refuse it.
func randomSpec(r *rand.Rand) redirect.Spec {
	s := redirect.EnvoyDefaults()
	some := func() bool { return r.IntN(3) == 0 }
	if some() {
		s.ProxyUIDs = randomRanges[uint32](r, 1<<32-2)
	}
	if some() {
		s.ProxyGIDs = randomRanges[uint32](r, 1<<32-2)
	}
	s.InboundMode = pick(r, redirect.InboundRedirect, redirect.InboundTProxy, redirect.InboundOff)
	s.Loopback = pick(r, redirect.Hairpin, redirect.Bypass, redirect.LocalhostOnly)
	s.IPFamilies = pick(r, redirect.FamiliesAuto, redirect.FamiliesAuto, redirect.FamiliesIPv4, redirect.FamiliesIPv6)
	s.DropInvalid = some()
	s.DNSZones = !some()
	if some() {
		s.IncludeInboundPorts = redirect.PortSet{Ranges: randomRanges[uint16](r, 65535)}
	}
	if some() {
		s.ExcludeInboundCIDRs = randomPrefixes(r)
	}
	if some() {
		s.IncludeOutboundCIDRs = redirect.PrefixSet{Prefixes: randomPrefixes(r)}
	}
	s.ExcludeInboundPorts = randomRanges[uint16](r, 65535)
	s.ExcludeOutboundPorts = randomRanges[uint16](r, 65535)
	s.IncludeOutboundPorts = randomRanges[uint16](r, 65535)
	s.ExcludeOutboundCIDRs = randomPrefixes(r)
	s.ExcludeOutboundUIDs = randomRanges[uint32](r, 1<<32-2)
	s.ExcludeOutboundGIDs = randomRanges[uint32](r, 1<<32-2)
	if some() {
		s.DNSPort = 15053
		s.DNSAddress = pick(r, netip.Addr{}, netip.MustParseAddr("10.9.9.9"), netip.MustParseAddr("fd09::9"))
		s.DNSServers.All = !some()
		s.DNSServers.Prefixes = randomPrefixes(r)
	}
	if some() {
		s.ExcludeInterfaces = []redirect.Iface{redirect.Iface(fmt.Sprintf("eth%d", r.IntN(99))), "br+"}
		s.RerouteInterfaces = []redirect.Reroute{{Iface: "vm+", ExceptCIDRs: randomPrefixes(r), DNS: some()}}
	}
	return s
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func randomRanges[T ~uint16 | ~uint32](r *rand.Rand, last uint64) []redirect.Range[T] {
	var of []redirect.Range[T]
	for range r.IntN(5) {
		a := 1 + r.Uint64N(last)
		b := a
		if r.IntN(3) == 0 {
			b = a + r.Uint64N(last-a+1)
		}
		of = append(of, redirect.Range[T]{First: T(a), Last: T(b)})
	}
	return of
}

func randomPrefixes(r *rand.Rand) []netip.Prefix {
	var of []netip.Prefix
	for range r.IntN(6) {
		b := make([]byte, pick(r, 4, 16))
		for i := range b {
			b[i] = byte(r.IntN(256))
		}
		a, _ := netip.AddrFromSlice(b)
		if bits := r.IntN(len(b)*8 + 1); !a.Is4In6() {
			of = append(of, netip.PrefixFrom(a, bits).Masked())
		}
	}
	return of
}
