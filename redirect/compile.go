package redirect

import "net/netip"

// The chains, each with its place. Names are at most 28 bytes (iptables).
const (
	chainOutput     = "DETOUR_OUTPUT"     // nat OUTPUT
	chainPrerouting = "DETOUR_PREROUTING" // nat PREROUTING, where interfaces are rerouted
	chainInbound    = "DETOUR_INBOUND"    // nat PREROUTING, or from DETOUR_PREROUTING
	chainReroute    = "DETOUR_REROUTE"    // from DETOUR_PREROUTING
	chainInvalid    = "DETOUR_INVALID"    // mangle PREROUTING, without tproxy
	chainTProxy     = "DETOUR_TPROXY"     // mangle PREROUTING
	chainTProxyIn   = "DETOUR_TPROXY_IN"  // from DETOUR_TPROXY
	chainDivert     = "DETOUR_DIVERT"     // from DETOUR_TPROXY_IN
	chainReply      = "DETOUR_REPLY"      // mangle OUTPUT
	chainZone       = "DETOUR_ZONE"       // raw OUTPUT
	chainZoneQuery  = "DETOUR_ZONE_QUERY" // from DETOUR_ZONE
)

const lo = Iface("lo")

var dns = []PortRange{{53, 53}}

// Compile turns a Spec into rules. It fails only where [Spec.Validate] does.
func Compile(s Spec) (RuleSet, error) {
	if err := s.Validate(); err != nil {
		return RuleSet{}, err
	}
	s = merged(s)
	rs := RuleSet{Families: s.IPFamilies}
	for _, chains := range [][]Chain{zoneChains(s), mangleChains(s), natChains(s)} {
		for _, c := range chains {
			if len(c.Rules) > 0 {
				rs.Chains = append(rs.Chains, c)
			}
		}
	}
	if s.hairpins() && rs.V6() {
		for _, a := range s.PassthroughSource {
			if a.Is6() {
				rs.LoopbackAddrs = append(rs.LoopbackAddrs, a)
			}
		}
	}
	if s.reroutes() {
		for _, r := range s.RerouteInterfaces {
			rs.Rerouted = append(rs.Rerouted, r.Iface)
		}
	}
	if s.tproxies() {
		rs.LocalMark = LocalMark{Mark: s.TProxyMark, Table: s.TProxyTable}
	}
	return rs, nil
}

// merged gives the Spec with every list sorted and disjoint, exclusions already
// taken out of the inclusions over the same values.
func merged(s Spec) Spec {
	s.ProxyUIDs, s.ProxyGIDs = Merge(s.ProxyUIDs), Merge(s.ProxyGIDs)
	s.ExcludeInboundPorts = Merge(s.ExcludeInboundPorts)
	s.ExcludeInboundCIDRs = MergePrefixes(s.ExcludeInboundCIDRs)
	s.ExcludeOutboundCIDRs = MergePrefixes(s.ExcludeOutboundCIDRs)
	s.ExcludeOutboundPorts = Merge(s.ExcludeOutboundPorts)
	s.ExcludeOutboundUIDs, s.ExcludeOutboundGIDs = Merge(s.ExcludeOutboundUIDs), Merge(s.ExcludeOutboundGIDs)
	s.IncludeInboundPorts.Ranges = without(s.IncludeInboundPorts.Ranges, append(s.tunnel(), s.ExcludeInboundPorts...))
	s.IncludeOutboundPorts = without(s.IncludeOutboundPorts, s.ExcludeOutboundPorts)
	s.IncludeOutboundCIDRs.Prefixes = MergePrefixes(s.IncludeOutboundCIDRs.Prefixes)
	s.DNSServers.Prefixes = MergePrefixes(s.DNSServers.Prefixes)
	return s
}

// proxy gives one Match per way to know the proxy, with the conditions before it.
func (s Spec) proxy(before ...Cond) []Match {
	return owners(s.ProxyUIDs, s.ProxyGIDs, before...)
}

func owners(uids, gids []IDRange, before ...Cond) []Match {
	var of []Match
	if len(uids) > 0 {
		of = append(of, append(Match(before[:len(before):len(before)]), UID{uids}))
	}
	if len(gids) > 0 {
		of = append(of, append(Match(before[:len(before):len(before)]), GID{gids}))
	}
	return of
}

// each gives one rule per Match, all with the same target and reason.
func each(matches []Match, t Target, why string) []Rule {
	var rules []Rule
	for _, m := range matches {
		rules = append(rules, Rule{m, t, why})
	}
	return rules
}

// onPorts narrows a Match to ports, where there are some.
func onPorts(m Match, ports PortSet) Match {
	if ports.All {
		return m
	}
	return append(m, DstPort{ports.Ranges})
}

// toPrefixes narrows a Match to destinations, where not all are meant.
func toPrefixes(m Match, set PrefixSet) Match {
	if set.All {
		return m
	}
	return append(m, Dst{set.Prefixes})
}

func (s PrefixSet) empty() bool { return !s.All && len(s.Prefixes) == 0 }

func (s PortSet) empty() bool { return !s.All && len(s.Ranges) == 0 }

// insideLoopback gives the parts of the prefixes that lie in 127.0.0.0/8. A
// prefix of length 0 is "everything", as "*" is, and asks for nothing special on lo.
func insideLoopback(prefixes []netip.Prefix) []netip.Prefix {
	var inside []netip.Prefix
	for _, p := range prefixes {
		switch {
		case p.Bits() == 0 || !p.Overlaps(loopback4):
		case p.Bits() < loopback4.Bits():
			inside = append(inside, loopback4)
		default:
			inside = append(inside, p)
		}
	}
	return inside
}
