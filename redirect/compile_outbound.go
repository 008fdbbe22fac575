package redirect

import "slices"

// natChains gives the chains of the nat table: what apps send (OUTPUT) and what
// arrives (PREROUTING).
func natChains(s Spec) []Chain {
	return append([]Chain{
		{Name: chainOutput, Table: NAT, Hook: Output, Rules: outputRules(s)},
	}, inboundChains(s)...)
}

// outputRules is the way of a connection that something in the pod opens.
func outputRules(s Spec) []Rule {
	if !s.capturesOutbound() && !s.hairpins() && !s.capturesDNS() {
		return nil
	}
	if !s.capturesOutbound() && !s.hairpins() {
		return slices.Concat(exemptions(s), dnsRules(s))
	}
	return slices.Concat(
		exemptions(s),
		excludedPorts(s),
		dnsRules(s),
		loopbackRules(s),
		proxyRules(s),
		captureRules(s),
	)
}

func (s Spec) capturesOutbound() bool {
	return !s.IncludeOutboundCIDRs.empty() || len(s.IncludeOutboundPorts) > 0
}

// hairpins reports whether the proxy's calls to the pod's own address are inbound.
func (s Spec) hairpins() bool {
	return (s.Loopback == Hairpin || s.Loopback == CaptureAll) && s.InboundMode != InboundOff
}

// exemptions are for those whose traffic is none of ours, whatever it is.
func exemptions(s Spec) []Rule {
	var rules []Rule
	for _, name := range s.ExcludeInterfaces {
		rules = append(rules, Rule{Match{OutIface{name}}, Return{}, "excluded interface"})
	}
	rules = append(rules, each(owners(s.ExcludeOutboundUIDs, s.ExcludeOutboundGIDs), Return{}, "excluded owner")...)
	for _, o := range s.ExcludeOutboundOwners {
		rules = append(rules, each(o.matches(), Return{}, "excluded owner, for this protocol and these ports")...)
	}
	return rules
}

// matches gives a Match per protocol of the tuple.
func (o OwnerTuple) matches() []Match {
	uids, ports := Merge(o.UIDs), Merge(o.Ports)
	var of []Match
	for _, p := range []Proto{TCPProto, UDPProto} {
		if o.Proto != 0 && o.Proto != p {
			continue
		}
		m := Match{p.cond()}
		if len(ports) > 0 {
			m = append(m, DstPort{ports})
		}
		of = append(of, append(m, UID{uids}))
	}
	return of
}

// cond gives the condition for TCP or UDP.
func (p Proto) cond() Cond {
	if p == UDPProto {
		return UDP{}
	}
	return TCP{}
}

func excludedPorts(s Spec) []Rule {
	if len(s.ExcludeOutboundPorts) == 0 {
		return nil
	}
	return []Rule{{Match{TCP{}, DstPort{s.ExcludeOutboundPorts}}, Return{}, "excluded port: leaves directly, whoever asks"}}
}

var localhostStays = Rule{Match{Dst{localhost}}, Return{}, "localhost stays local"}

// loopbackRules is what lo does. It comes before the proxy's own exemption,
// because a proxy's call to the pod's own address may be an inbound call.
func loopbackRules(s Spec) []Rule {
	switch s.Loopback {
	case Bypass:
		return []Rule{{Match{OutIface{lo}}, Return{}, "calls inside the pod stay direct"}}
	case LocalhostOnly:
		return []Rule{localhostStays}
	case CaptureAll:
		rules := []Rule{localhostStays}
		if s.hairpins() {
			rules = append(rules, proxyHairpin(s)...)
		}
		return rules
	default:
		return hairpinRules(s)
	}
}

// hairpinRules: apps call each other directly on lo; the proxy's own calls there
// are inbound, unless it says that they are not.
func hairpinRules(s Spec) []Rule {
	captured := insideLoopback(s.IncludeOutboundCIDRs.Prefixes)
	var rules []Rule
	if s.hairpins() || len(captured) > 0 {
		rules = append(rules, localhostStays)
	}
	if s.hairpins() {
		rules = append(rules, proxyHairpin(s)...)
	}
	if len(captured) > 0 {
		if !s.hairpins() {
			rules = append(rules, each(s.proxy(OutIface{lo}), Return{}, "the proxy itself: redirecting it would loop")...)
		}
		if cut := insideLoopback(s.ExcludeOutboundCIDRs); len(cut) > 0 {
			rules = append(rules, Rule{Match{OutIface{lo}, Dst{cut}}, Return{}, "excluded destination, also on lo"})
		}
		rules = append(rules, Rule{Match{OutIface{lo}, TCP{}, Dst{captured}}, RedirectTo{s.OutboundPort}, "included destination, also on lo"})
	}
	if s.capturesOutbound() {
		rules = append(rules, Rule{Match{OutIface{lo}}, Return{}, "an app's calls inside the pod stay direct"})
	}
	return rules
}

// proxyHairpin: the proxy calls the pod's own address, as it does for a service
// that this very pod serves; that call must meet the inbound policy.
func proxyHairpin(s Spec) []Rule {
	var rules []Rule
	if s.tproxies() { // marked by DETOUR_REPLY, or by the proxy itself
		rules = append(rules, Rule{Match{OutIface{lo}, TCP{}, Mark{s.TProxyMark}}, Return{}, "the proxy calls the app with its client's address"})
	}
	if len(s.PassthroughSource) > 0 {
		rules = append(rules, Rule{Match{OutIface{lo}, Src{s.passthroughPrefixes()}}, Return{}, "from this source the proxy reaches its own app"})
	}
	if s.TunnelPort != 0 {
		rules = append(rules, Rule{Match{OutIface{lo}, TCP{}, DstPort{s.tunnel()}}, Return{}, "the mesh's tunnel reaches its own listener"})
	}
	return append(rules, each(s.proxy(OutIface{lo}, TCP{}), RedirectTo{s.InboundPort}, "the proxy's call to its own pod is an inbound call")...)
}

func proxyRules(s Spec) []Rule {
	if !s.capturesOutbound() {
		return nil
	}
	return each(s.proxy(), Return{}, "the proxy itself: redirecting it would loop")
}

// captureRules is what of the rest goes to the proxy. Rerouted interfaces share it.
func captureRules(s Spec) []Rule {
	if !s.capturesOutbound() {
		return nil
	}
	var rules []Rule
	if len(s.ExcludeOutboundCIDRs) > 0 {
		rules = append(rules, Rule{Match{Dst{s.ExcludeOutboundCIDRs}}, Return{}, "excluded destination"})
	}
	if len(s.IncludeOutboundPorts) > 0 && !s.IncludeOutboundCIDRs.All {
		rules = append(rules, Rule{Match{TCP{}, DstPort{s.IncludeOutboundPorts}}, RedirectTo{s.OutboundPort}, "included port, whatever the address"})
	}
	if !s.IncludeOutboundCIDRs.empty() {
		rules = append(rules, Rule{toPrefixes(Match{TCP{}}, s.IncludeOutboundCIDRs), RedirectTo{s.OutboundPort}, "the rest goes to the proxy"})
	}
	return rules
}

func port(p uint16) []PortRange { return []PortRange{{p, p}} }
