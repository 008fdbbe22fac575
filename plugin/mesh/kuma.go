package mesh

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/detour-cni/detour/plugin"
	"github.com/detour-cni/detour/redirect"
)

// Kuma's annotations (kuma.io/docs, "Kubernetes annotations and labels" and
// "Transparent proxy configuration reference").
const (
	kumaInjected = "kuma.io/sidecar-injected"
	kumaGateway  = "kuma.io/gateway"
	kumaFamilies = "kuma.io/transparent-proxying-ip-family-mode"
	kumaTraffic  = "traffic.kuma.io/"
	kumaConfig   = kumaTraffic + "transparent-proxy-config"
	kumaProbes   = "kuma.io/application-probe-proxy-port"
)

// kumaDNSPort is where kuma-dp answers queries, kumaProbePort where it answers
// the kubelet's probes in the app's place.
const (
	kumaDNSPort   = 15053
	kumaProbePort = 9001
)

// Kuma is Kuma and Kong Mesh, from the version that hands its transparent proxy's
// configuration over as an annotation.
func Kuma() plugin.Dialect {
	return plugin.Dialect{
		Name:  "kuma",
		Claim: claimKuma,
		Defaults: func() redirect.Spec {
			s := redirect.EnvoyDefaults()
			s.ProxyUIDs, s.ProxyGIDs = ids(5678), nil
			s.TunnelPort = 0
			s.ExcludeInboundPorts = ports(kumaProbePort)
			s.ExcludeOutboundPorts = nil
			s.DNSPort, s.DNSProtocols = kumaDNSPort, []redirect.Proto{redirect.UDPProto}
			s.ExcludeOutboundOwners = []redirect.OwnerTuple{kumaTCPQueries()}
			return s
		},
		Rows: func() []plugin.Row {
			return slices.Concat(kumaDocument(), kumaInbound(), kumaOutbound(), kumaDNSRows(), kumaUser())
		},
		Silent: []plugin.Silence{
			{Fact: "the name servers in the pod's resolv.conf, which Kuma reads where captureAll is false: every query to port 53 is captured",
				Instead: `{"meshOptions": {"kuma": {"dnsServers": ["10.96.0.10/32"]}}}`},
			{Fact: "a user of kuma-dp's that the document does not have (without kumaDPUser it is 5678)",
				Instead: `{"meshOptions": {"kuma": {"proxyUIDs": [5679]}}}`},
		},
	}
}

// kumaTCPQueries: Kuma's DNS listens on UDP only, and what apps ask over TCP
// leaves directly, whoever asks.
func kumaTCPQueries() redirect.OwnerTuple {
	return redirect.OwnerTuple{Proto: redirect.TCPProto, Ports: ports(53), UIDs: []redirect.IDRange{{First: 0, Last: math.MaxUint32 - 1}}}
}

func claimKuma(p plugin.Pod) (plugin.Claim, error) {
	injected, ok := p.Annotations[kumaInjected]
	if !ok {
		return plugin.Claim{}, nil
	}
	if injected != "true" {
		return notMine("%s is %.64q", kumaInjected, injected)
	}
	config, ok := p.Annotations[kumaConfig]
	if !ok {
		return left("its init container kuma-init does the job (no %s)", kumaConfig)
	}
	doc, err := plugin.ParseDocument(plugin.YAML, config)
	if err != nil {
		return plugin.Claim{}, fmt.Errorf("annotation %s: %w", kumaConfig, err)
	}
	mode, err := doc.At("cniMode")
	if err != nil || mode.Text != "true" {
		return left("its init container kuma-init does the job (cniMode is not true in %s)", kumaConfig)
	}
	return mine(kumaInjected)
}

// kumaRow is a field of the document, which is the injector's word. Its lists of
// exclusions add to the node's: Kuma does not know those.
func kumaRow(field, key string, r plugin.Row) plugin.Row {
	r.Annotation, r.Doc, r.Field, r.Key, r.By = kumaConfig, plugin.YAML, field, key, plugin.ByInjector
	if r.Mode == "" {
		r.Mode = plugin.Replace
	}
	r.Since = "2.9"
	return r
}

func kumaDocument() []plugin.Row {
	return []plugin.Row{
		kumaRow("kumaDPUser", "proxyUIDs", plugin.Row{Meaning: "the user that kuma-dp runs as: a number, since a name means another user in each image"}),
		kumaRow("ipFamilyMode", "ipFamilies", plugin.Row{Parse: words("dualstack", "auto", "ipv4", "ipv4", "ipv6", "ipv6"), Meaning: "dualstack, ipv4 or ipv6"}),
		kumaRow("dropInvalidPackets", "dropInvalid", plugin.Row{Parse: flag, Meaning: "drop packets that belong to no connection"}),
		kumaRow("redirect.vnet.networks", "rerouteInterfaces", plugin.Row{Parse: kumaNetwork, Meaning: "`docker0:172.17.0.0/16`: what comes from there, to other addresses, is outbound traffic, its DNS queries too"}),
	}
}

func kumaInbound() []plugin.Row {
	return []plugin.Row{
		kumaRow("redirect.inbound.port", "inboundPort", plugin.Row{Meaning: "where kuma-dp listens for calls from outside"}),
		kumaRow("redirect.inbound.includePorts", "includeInboundPorts", plugin.Row{Apply: kumaIncludeInbound, Meaning: "the only ports that are captured; an empty list is all"}),
		kumaRow("redirect.inbound.excludePorts", "excludeInboundPorts", plugin.Row{Mode: plugin.Append, Meaning: "ports that reach the app directly, beside 9001"}),
		kumaRow("redirect.inbound.excludePortsForIPs", "excludeInboundCIDRs", plugin.Row{Mode: plugin.Append, Meaning: "clients that reach the app directly"}),
		kumaRow("redirect.inbound.enabled", "inboundMode", plugin.Row{Parse: flag, Meaning: "false: nothing inbound is captured",
			Apply: onlyIf("false", func(s *redirect.Spec) { s.InboundMode = redirect.InboundOff })}),
	}
}

func kumaOutbound() []plugin.Row {
	return []plugin.Row{
		kumaRow("redirect.outbound.port", "outboundPort", plugin.Row{Meaning: "where kuma-dp listens for the app's calls"}),
		kumaRow("redirect.outbound.includePorts", "includeOutboundPorts", plugin.Row{Apply: kumaIncludeOutbound, Meaning: "the only ports that are captured; an empty list is all"}),
		kumaRow("redirect.outbound.excludePorts", "excludeOutboundPorts", plugin.Row{Mode: plugin.Append, Meaning: "ports that are called directly"}),
		kumaRow("redirect.outbound.excludePortsForIPs", "excludeOutboundCIDRs", plugin.Row{Mode: plugin.Append, Meaning: "destinations that are called directly, IPv4 and IPv6, length optional"}),
		kumaRow("redirect.outbound.excludePortsForUIDs", "excludeOutboundOwners", plugin.Row{Mode: plugin.Append, Parse: kumaOwners, Meaning: "`[protocol:][ports:]uids`: users that call these ports directly"}),
		kumaRow("redirect.outbound.enabled", "includeOutboundCIDRs", plugin.Row{Parse: flag, Meaning: "false: nothing outbound is captured",
			Apply: onlyIf("false", captureNothing)}),
	}
}

func captureNothing(s *redirect.Spec) {
	s.IncludeOutboundCIDRs, s.IncludeOutboundPorts = redirect.PrefixSet{}, nil
}

func kumaDNSRows() []plugin.Row {
	return []plugin.Row{
		kumaRow("redirect.dns.port", "dnsPort", plugin.Row{Meaning: "where kuma-dp answers DNS queries"}),
		kumaRow("redirect.dns.captureAll", "dnsServers", plugin.Row{Parse: flag, Meaning: "true: whomever the query asks; false is read over, since resolv.conf is not seen from here",
			Apply: onlyIf("true", func(s *redirect.Spec) { s.DNSServers = redirect.PrefixSet{All: true} })}),
		kumaRow("redirect.dns.skipConntrackZoneSplit", "dnsZones", plugin.Row{Parse: notFlag, Meaning: "true: no conntrack zone of its own for captured queries"}),
		kumaRow("redirect.dns.enabled", "dnsPort", plugin.Row{Parse: flag, Meaning: "false: DNS is left alone", Apply: kumaDNS}),
	}
}

// kumaDNS switches capture off, and with it that TCP queries leave directly.
func kumaDNS(s *redirect.Spec, items []string) error {
	switch {
	case items[0] == "false":
		s.DNSPort = 0
		s.ExcludeOutboundOwners = slices.DeleteFunc(slices.Clone(s.ExcludeOutboundOwners), func(o redirect.OwnerTuple) bool {
			return o.String() == kumaTCPQueries().String()
		})
	case s.DNSPort == 0:
		s.DNSPort = kumaDNSPort
	}
	return nil
}

// kumaUser are the annotations that people write. The injector folds them into
// the document, so that they change nothing here, unless somebody patched one in
// afterwards.
func kumaUser() []plugin.Row {
	row := func(annotation, key string, r plugin.Row) plugin.Row {
		r.Annotation, r.Key, r.By, r.Empty = annotation, key, plugin.ByUser, plugin.EmptyNone
		if r.Mode == "" {
			r.Mode = plugin.Replace
		}
		return r
	}
	return []plugin.Row{
		{Annotation: kumaProbes, Key: "excludeInboundPorts", By: plugin.ByEither, Mode: plugin.Append, Empty: plugin.EmptyUnset,
			Apply: kumaMoveProbes, Meaning: "where kuma-dp answers probes, exempt in place of 9001; 0: nowhere", Since: "2.9"},
		row(kumaTraffic+"exclude-inbound-ports", "excludeInboundPorts", plugin.Row{Mode: plugin.Append, Meaning: "ports that reach the app directly", Since: "1.0"}),
		row(kumaTraffic+"exclude-inbound-ips", "excludeInboundCIDRs", plugin.Row{Mode: plugin.Append, Meaning: "clients that reach the app directly", Since: "2.8"}),
		row(kumaTraffic+"exclude-outbound-ports", "excludeOutboundPorts", plugin.Row{Mode: plugin.Append, Meaning: "ports that are called directly", Since: "1.0"}),
		row(kumaTraffic+"exclude-outbound-ips", "excludeOutboundCIDRs", plugin.Row{Mode: plugin.Append, Meaning: "destinations that are called directly, IPv4 and IPv6, length optional", Since: "2.8"}),
		row(kumaTraffic+"exclude-outbound-ports-for-uids", "excludeOutboundOwners", plugin.Row{Mode: plugin.Append, Parse: kumaOwners, Meaning: "`[protocol:][ports:]uids`, `;` between them: users that call these ports directly", Since: "2.1"}),
		{Annotation: kumaTraffic + "drop-invalid-packets", Key: "dropInvalid", By: plugin.ByUser, Mode: plugin.Replace, Empty: plugin.EmptyUnset, Parse: flag, Meaning: "drop packets that belong to no connection", Since: "2.7"},
		{Annotation: kumaFamilies, Key: "ipFamilies", By: plugin.ByUser, Mode: plugin.Replace, Empty: plugin.EmptyUnset, Parse: words("dualstack", "auto", "ipv4", "ipv4", "ipv6", "ipv6"), Meaning: "dualstack, ipv4 or ipv6", Since: "2.3"},
		{Annotation: kumaGateway, Key: "inboundMode", By: plugin.ByUser, Mode: plugin.Replace, Empty: plugin.EmptyUnset, Parse: words("enabled", "off", "disabled", "on", "true", "off", "false", "on", "builtin", "off"),
			Apply: onlyIf("off", func(s *redirect.Spec) { s.InboundMode = redirect.InboundOff }), Meaning: "enabled: a gateway, whose own listeners take what comes in", Since: "1.0"},
	}
}

// kumaMoveProbes: 0 switches the probes' port off.
func kumaMoveProbes(s *redirect.Spec, items []string) error {
	if slices.Equal(items, []string{"0"}) {
		s.ExcludeInboundPorts = without(s.ExcludeInboundPorts, kumaProbePort)
		return nil
	}
	return insteadOf(kumaProbePort)(s, items)
}

func kumaIncludeInbound(s *redirect.Spec, items []string) error {
	if len(items) == 0 {
		return nil
	}
	return set(s, "includeInboundPorts", items...)
}

func kumaIncludeOutbound(s *redirect.Spec, items []string) error {
	if len(items) == 0 {
		return nil
	}
	s.IncludeOutboundCIDRs = redirect.PrefixSet{}
	return set(s, "includeOutboundPorts", items...)
}

// kumaNetwork reads "docker0:172.17.0.0/16"; more of them with commas between.
// The prefix is the interface's own: what goes elsewhere is outbound.
func kumaNetwork(text string) ([]string, error) {
	var items []string
	for _, network := range list(text) {
		name, prefix, ok := strings.Cut(network, ":")
		if !ok || strings.ContainsAny(network, " \t") {
			return nil, fmt.Errorf("%.64q: not a network (want interface:prefix, like docker0:172.17.0.0/16)", network)
		}
		items = append(items, name+" except "+prefix+" dns")
	}
	return items, nil
}

// kumaOwners reads "[protocol:][ports:]uids" with ";" between them; "*" is any.
func kumaOwners(text string) ([]string, error) {
	const want = "want [protocol:][ports:]uids, like tcp:22,80-88:1000-1002"
	var items []string
	for tuple := range strings.SplitSeq(text, ";") {
		if tuple = strings.TrimSpace(tuple); tuple == "" {
			continue
		}
		parts := strings.Split(tuple, ":")
		if len(parts) > 3 {
			return nil, fmt.Errorf("%.64q: not an owner tuple (%s)", tuple, want)
		}
		for len(parts) < 3 {
			parts = append([]string{""}, parts...)
		}
		for i := range parts {
			if parts[i] == "*" && i < 2 {
				parts[i] = ""
			}
			parts[i] = strings.ReplaceAll(parts[i], ",", "+")
		}
		if parts[0] == "any" {
			parts[0] = ""
		}
		items = append(items, strings.Join(parts, ":"))
	}
	return items, nil
}
