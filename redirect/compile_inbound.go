package redirect

import (
	"net/netip"
	"slices"
)

// inboundChains gives nat PREROUTING: packets from outside, except under tproxy,
// which works in mangle; and interfaces behind which something else lives.
func inboundChains(s Spec) []Chain {
	inbound := Chain{Name: chainInbound, Table: NAT, Hook: Prerouting, Rules: nil}
	if s.InboundMode == InboundRedirect && !s.IncludeInboundPorts.empty() {
		inbound.Rules = slices.Concat(exemptInbound(s), inboundPorts(s, func(m Match) []Rule {
			return []Rule{{m, RedirectTo{s.InboundPort}, "inbound goes to the proxy"}}
		}))
	}
	if !s.reroutes() {
		if len(inbound.Rules) > 0 {
			inbound.Rules = slices.Concat(excludedIncoming(s), inbound.Rules)
		}
		return []Chain{inbound}
	}
	inbound.Hook = NoHook
	return []Chain{
		{Name: chainPrerouting, Table: NAT, Hook: Prerouting, Rules: preroutingRules(s, len(inbound.Rules) > 0)},
		inbound,
		{Name: chainReroute, Table: NAT, Hook: NoHook, Rules: rerouteRules(s)},
	}
}

// tproxies reports whether anything inbound is given to a transparent proxy.
func (s Spec) tproxies() bool {
	return s.InboundMode == InboundTProxy && !s.IncludeInboundPorts.empty()
}

// reroutes reports whether it matters behind which interface something else lives: what that
// sends is never inbound, be it captured or not.
func (s Spec) reroutes() bool {
	inbound := s.InboundMode != InboundOff && !s.IncludeInboundPorts.empty()
	return len(s.RerouteInterfaces) > 0 && (inbound || s.capturesOutbound() || s.capturesDNS())
}

func excludedIncoming(s Spec) []Rule {
	var rules []Rule
	for _, name := range s.ExcludeInterfaces {
		rules = append(rules, Rule{Match{InIface{name}}, Return{}, "excluded interface"})
	}
	return rules
}

// tunnel is the tunnel's port, where there is one.
func (s Spec) tunnel() []PortRange {
	if s.TunnelPort == 0 {
		return nil
	}
	return port(s.TunnelPort)
}

// exemptInbound is who reaches its listener without the proxy. A list of included
// ports has lost its exempt ones already.
func exemptInbound(s Spec) []Rule {
	var rules []Rule
	if s.TunnelPort != 0 && s.IncludeInboundPorts.All {
		rules = append(rules, Rule{Match{TCP{}, DstPort{s.tunnel()}}, Return{}, "the mesh's tunnel reaches its own listener"})
	}
	if len(s.ExcludeInboundCIDRs) > 0 {
		rules = append(rules, Rule{Match{Src{s.ExcludeInboundCIDRs}}, Return{}, "excluded client"})
	}
	if len(s.ExcludeInboundPorts) > 0 && s.IncludeInboundPorts.All {
		rules = append(rules, Rule{Match{TCP{}, DstPort{s.ExcludeInboundPorts}}, Return{}, "excluded port: reaches its own listener"})
	}
	return rules
}

// inboundPorts is what of the rest bend makes the proxy's. With a list of ports
// the proxy's own listeners are on it: who calls them by number gets no further
// than who calls the app.
func inboundPorts(s Spec, bend func(Match) []Rule) []Rule {
	ports := s.IncludeInboundPorts
	if !ports.All {
		own := without([]PortRange{{s.InboundPort, s.InboundPort}, {s.OutboundPort, s.OutboundPort}}, s.ExcludeInboundPorts)
		ports.Ranges = Merge(slices.Concat(ports.Ranges, own))
	}
	return bend(onPorts(Match{TCP{}}, ports))
}

// preroutingRules sorts what arrives by interface.
func preroutingRules(s Spec, redirects bool) []Rule {
	rules := excludedIncoming(s)
	for i, r := range s.RerouteInterfaces {
		asks := s.capturesDNS() && r.DNS
		if len(r.ExceptCIDRs) > 0 {
			except := Match{InIface{r.Iface}, Dst{MergePrefixes(r.ExceptCIDRs)}}
			if redirects {
				rules = append(rules, Rule{except, Jump{Chain: chainInbound}, "rerouted interface, but meant for the pod"})
			}
			if s.capturesOutbound() || asks {
				rules = append(rules, Rule{except, Return{}, "rerouted interface, but not outbound traffic"})
			}
		}
		if asks {
			for _, p := range s.DNSProtocols {
				m := toPrefixes(Match{InIface{r.Iface}, p.cond(), DstPort{dns}}, s.DNSServers)
				rules = append(rules, dnsTargets(s, m, "rerouted interface: its DNS queries go to the proxy")...)
			}
		}
		if s.capturesOutbound() {
			rules = append(rules, Rule{Match{InIface{r.Iface}}, Jump{Chain: chainReroute}, "rerouted interface: its traffic is outbound"})
		}
		if last := i == len(s.RerouteInterfaces)-1; redirects || !last {
			rules = append(rules, Rule{Match{InIface{r.Iface}}, Return{}, "rerouted interface: not captured is not inbound"})
		}
	}
	if redirects {
		rules = append(rules, Rule{nil, Jump{Chain: chainInbound}, "the rest is inbound"})
	}
	return rules
}

func rerouteRules(s Spec) []Rule {
	if !s.capturesOutbound() {
		return nil
	}
	return slices.Concat(excludedPorts(s), captureRules(s))
}

// mangleChains gives the mangle table: tproxy and what its replies need, or just
// the dropping of packets that conntrack cannot place.
func mangleChains(s Spec) []Chain {
	if !s.tproxies() {
		if !s.DropInvalid {
			return nil
		}
		return []Chain{{Name: chainInvalid, Table: Mangle, Hook: Prerouting, Rules: slices.Concat(excludedIncoming(s), invalidRules(s))}}
	}
	return []Chain{
		{Name: chainTProxy, Table: Mangle, Hook: Prerouting, Rules: tproxyRules(s)},
		{Name: chainReply, Table: Mangle, Hook: Output, Rules: replyRules(s)},
		{Name: chainTProxyIn, Table: Mangle, Hook: NoHook, Rules: tproxyInRules(s)},
		{Name: chainDivert, Table: Mangle, Hook: NoHook, Rules: []Rule{
			{nil, SetMark{s.TProxyMark}, "routed here even where the address is not the pod's own"},
			{nil, Accept{}, "the proxy's own connection"},
		}},
	}
}

func invalidRules(s Spec) []Rule {
	if !s.DropInvalid {
		return nil
	}
	return []Rule{{Match{TCP{}, CTState{CTInvalid}}, Drop{}, "belongs to no connection: a reset would break one"}}
}

// tproxyRules sorts what arrives in mangle PREROUTING, where packets on lo pass
// as well. Rerouted interfaces are nat's.
func tproxyRules(s Spec) []Rule {
	rules := slices.Concat(excludedIncoming(s), invalidRules(s), []Rule{
		{Match{InIface{lo}}, Return{}, "what runs on lo has been decided in OUTPUT"},
	})
	if s.reroutes() {
		for _, r := range s.RerouteInterfaces {
			if len(r.ExceptCIDRs) > 0 {
				rules = append(rules, Rule{Match{InIface{r.Iface}, Dst{MergePrefixes(r.ExceptCIDRs)}}, Jump{Chain: chainTProxyIn}, "rerouted interface, but meant for the pod"})
			}
			rules = append(rules, Rule{Match{InIface{r.Iface}}, Return{}, "rerouted interface: its traffic is outbound"})
		}
	}
	return append(rules, Rule{Match{TCP{}}, Jump{Chain: chainTProxyIn}, "the rest is inbound"})
}

// tproxyInRules: a SYN opens a connection and belongs to none, whatever is there of an
// earlier one with the same ports. A socket in TIME_WAIT would be given the SYN and hand it
// to whoever listens there, the app (ADR 24). Answers to what the pod has opened are those
// against the connection's direction: established is also what a client sends, as the SYN
// on an entry that it has kept, and the ACK that answers a SYN cookie and has no socket yet.
//
// The drop at the end is for backends whose tproxy lets a packet
// go on when nobody listens; it would reach the app past the mesh.
func tproxyInRules(s Spec) []Rule {
	return slices.Concat(exemptInbound(s), []Rule{
		{Match{TCP{}, Not{SYN{}}, TransparentSocket{}}, Jump{Chain: chainDivert}, "the proxy holds this connection already"},
		{Match{TCP{}, Not{SYN{}}, CTReply{}}, Return{}, "answers to what the pod itself has opened"},
	}, inboundPorts(s, func(m Match) []Rule {
		return []Rule{
			{m, TProxyTo{Port: s.InboundPort, Mark: s.TProxyMark}, "inbound goes to the proxy, both addresses kept"},
			{m, Drop{}, "no transparent listener: the app must not get it past the proxy"},
		}
	}))
}

// replyRules bring an app's answers to a preserved client address back to the
// proxy: its call to the app marks the connection, the answer takes the mark over.
func replyRules(s Spec) []Rule {
	return slices.Concat(
		each(s.proxy(OutIface{lo}, TCP{}, Not{LocalSrc{}}), SetMark{s.TProxyMark}, "the proxy calls the app with its client's address"),
		[]Rule{
			{Match{OutIface{lo}, TCP{}, Mark{s.TProxyMark}}, SaveMark{}, "the connection remembers it"},
			{Match{TCP{}, ConnMark{s.TProxyMark}}, RestoreMark{}, "the app's answers go back to the proxy"},
		})
}

func (s Spec) passthroughPrefixes() []netip.Prefix {
	var of []netip.Prefix
	for _, a := range s.PassthroughSource {
		of = append(of, netip.PrefixFrom(a, a.BitLen()))
	}
	return MergePrefixes(of)
}
