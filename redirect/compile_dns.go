package redirect

import (
	"net/netip"
	"slices"
)

// dnsZone is the conntrack zone of captured UDP queries, for the original
// direction only: the kernel still sees every answer in zone 0, where it keeps
// them apart by itself (docs/adr on DNS zones). Any number but 0 does.
const dnsZone = 1

// capturesDNS reports whether queries are captured at all: port 53 among the
// excluded ports frees them, UDP too.
func (s Spec) capturesDNS() bool {
	return s.DNSPort != 0 && !s.DNSServers.empty() && !contains(s.ExcludeOutboundPorts, uint16(53))
}

func (s Spec) capturesDNSOver(p Proto) bool {
	return s.capturesDNS() && slices.Contains(s.DNSProtocols, p)
}

// dnsRules take apps' queries, also those to 127.0.0.1 and before any prefix is
// looked at. What the proxy asks goes upstream, and its TCP to port 53 of the
// pod's own address is not an inbound call.
func dnsRules(s Spec) []Rule {
	if !s.capturesDNS() {
		return nil
	}
	const own = "the proxy's own queries are direct"
	var direct, captured []Rule
	for _, p := range []Proto{UDPProto, TCPProto} {
		var queries []Rule
		if s.capturesDNSOver(p) {
			m := toPrefixes(Match{p.cond(), DstPort{dns}}, s.DNSServers)
			queries = dnsTargets(s, m, "an app's DNS query goes to the proxy")
		}
		if len(queries) > 0 || p == TCPProto && s.hairpins() {
			direct = append(direct, each(s.proxy(p.cond(), DstPort{dns}), Return{}, own)...)
		}
		captured = append(captured, queries...)
	}
	return append(direct, captured...)
}

// dnsTargets sends a match to where the DNS port is. An address is of one
// family: queries of the other are left alone.
func dnsTargets(s Spec, m Match, why string) []Rule {
	if !s.DNSAddress.IsValid() {
		return []Rule{{m, RedirectTo{s.DNSPort}, why}}
	}
	if m = ofFamily(m, s.DNSAddress.Is4()); m == nil {
		return nil
	}
	return []Rule{{m, DNATTo{netip.AddrPortFrom(s.DNSAddress, s.DNSPort)}, why}}
}

// ofFamily narrows a Match to one address family by its destination; nil where
// nothing is left.
func ofFamily(m Match, v4 bool) Match {
	every := netip.MustParsePrefix("::/0")
	if v4 {
		every = netip.MustParsePrefix("0.0.0.0/0")
	}
	narrowed := slices.Clone(m)
	for i, c := range narrowed {
		if d, ok := c.(Dst); ok {
			if d.Prefixes = FamilyOf(d.Prefixes, v4); len(d.Prefixes) == 0 {
				return nil
			}
			narrowed[i] = d
			return narrowed
		}
	}
	return append(narrowed, Dst{[]netip.Prefix{every}})
}

// zoneChains put captured UDP queries into their zone, before conntrack looks:
// the proxy may send its own upstream query from the very 5-tuple of an app's.
// The first chain sees every packet of the pod, so it asks one thing only.
func zoneChains(s Spec) []Chain {
	if !s.DNSZones || !s.capturesDNSOver(UDPProto) {
		return nil
	}
	query := toPrefixes(Match{UDP{}, DstPort{dns}}, s.DNSServers)
	if s.DNSAddress.IsValid() {
		query = ofFamily(query, s.DNSAddress.Is4())
	}
	if query == nil {
		return nil
	}
	return []Chain{
		{Name: chainZone, Table: Raw, Hook: Output, Rules: []Rule{{query, Jump{Chain: chainZoneQuery}, "DNS queries: an app's or the proxy's?"}}},
		{Name: chainZoneQuery, Table: Raw, Hook: NoHook, Rules: slices.Concat(
			exemptions(s.dnsOwners()),
			each(s.proxy(), Return{}, "the proxy's own queries stay in zone 0"),
			[]Rule{{nil, CTZone{dnsZone}, "an app's query: a zone of its own"}},
		)},
	}
}

// dnsOwners gives the Spec with only those owner tuples that speak of UDP
// queries, and in them only the owners: the rest is known in DETOUR_ZONE_QUERY.
func (s Spec) dnsOwners() Spec {
	var of []OwnerTuple
	for _, o := range s.ExcludeOutboundOwners {
		if o.Proto != TCPProto && (len(o.Ports) == 0 || contains(o.Ports, uint16(53))) {
			of = append(of, OwnerTuple{Proto: UDPProto, UIDs: o.UIDs})
		}
	}
	s.ExcludeOutboundOwners = of
	return s
}
