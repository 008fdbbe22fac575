package redirect

import (
	"net/netip"
	"strconv"
)

const (
	wantPort     = "a port, 1-65535"
	wantPorts    = `ports and ranges, like 80 or "8000-8100"`
	wantIDs      = `numeric ids and ranges, like 1337 or "1000-1999"`
	wantPrefixes = "IPv4 and IPv6 prefixes, like 10.0.0.0/8 or fd00::/8"
)

func proxyKeys() []Key {
	return []Key{
		many(Key{Name: "proxyUIDs", Want: wantIDs, Meaning: "sockets of these users are the proxy's: never sent to the outbound port"},
			func(s *Spec) *[]IDRange { return &s.ProxyUIDs }, ParseIDRange, IDRange.String),
		many(Key{Name: "proxyGIDs", Want: wantIDs, Meaning: "the same, by group; either one is enough to be the proxy"},
			func(s *Spec) *[]IDRange { return &s.ProxyGIDs }, ParseIDRange, IDRange.String),
	}
}

func inboundKeys() []Key {
	return []Key{
		one(Key{Name: "inboundMode", Want: "redirect, tproxy or off", Meaning: "how packets from outside reach the proxy; `tproxy` keeps the client's address"},
			func(s *Spec) *InboundMode { return &s.InboundMode }, parseWord(InboundRedirect, InboundTProxy, InboundOff), formatWord[InboundMode]),
		one(Key{Name: "tproxyMark", Want: "a number, 1-4294967295", Meaning: "the mark on packets and connections that `tproxy` bends"},
			func(s *Spec) *uint32 { return &s.TProxyMark }, parseUint32, formatUint[uint32]),
		one(Key{Name: "tproxyTable", Want: "a number, not 0 or 253-255", Meaning: "the routing table that delivers marked packets locally"},
			func(s *Spec) *uint32 { return &s.TProxyTable }, parseUint32, formatUint[uint32]),
		one(Key{Name: "inboundPort", Want: wantPort, Meaning: "where the proxy listens for calls from outside"},
			func(s *Spec) *uint16 { return &s.InboundPort }, ParsePort, formatUint[uint16]),
		one(Key{Name: "outboundPort", Want: wantPort, Meaning: "where the proxy listens for the apps' calls"},
			func(s *Spec) *uint16 { return &s.OutboundPort }, ParsePort, formatUint[uint16]),
		one(Key{Name: "tunnelPort", Want: wantPort + ", or 0 for none", Meaning: "the mesh's own tunnel: its packets reach their listener, also the proxy's to the pod's own address"},
			func(s *Spec) *uint16 { return &s.TunnelPort }, parsePortOrOff, formatUint[uint16]),
		all(Key{Name: "includeInboundPorts", Want: `"*", or ` + wantPorts, Meaning: "which of the pod's ports the proxy serves"},
			func(s *Spec) (*bool, *[]PortRange) { return &s.IncludeInboundPorts.All, &s.IncludeInboundPorts.Ranges }, ParsePortRange, PortRange.String),
		many(Key{Name: "excludeInboundPorts", Want: wantPorts, Meaning: "these reach their own listener; wins over include"},
			func(s *Spec) *[]PortRange { return &s.ExcludeInboundPorts }, ParsePortRange, PortRange.String),
		many(Key{Name: "excludeInboundCIDRs", Want: wantPrefixes, Meaning: "clients that reach the app directly"},
			func(s *Spec) *[]netip.Prefix { return &s.ExcludeInboundCIDRs }, ParsePrefix, netip.Prefix.String),
	}
}

func outboundKeys() []Key {
	return []Key{
		all(Key{Name: "includeOutboundCIDRs", Want: `"*", or ` + wantPrefixes, Meaning: "which destinations are captured; `[]` captures none"},
			func(s *Spec) (*bool, *[]netip.Prefix) {
				return &s.IncludeOutboundCIDRs.All, &s.IncludeOutboundCIDRs.Prefixes
			}, ParsePrefix, netip.Prefix.String),
		many(Key{Name: "excludeOutboundCIDRs", Want: wantPrefixes, Meaning: "these destinations are called directly; wins over include"},
			func(s *Spec) *[]netip.Prefix { return &s.ExcludeOutboundCIDRs }, ParsePrefix, netip.Prefix.String),
		many(Key{Name: "includeOutboundPorts", Want: wantPorts, Meaning: "captured whatever the address, unless excluded"},
			func(s *Spec) *[]PortRange { return &s.IncludeOutboundPorts }, ParsePortRange, PortRange.String),
		many(Key{Name: "excludeOutboundPorts", Want: wantPorts, Meaning: "TCP ports that leave directly, whoever asks; with dnsPort, 53 here also frees UDP"},
			func(s *Spec) *[]PortRange { return &s.ExcludeOutboundPorts }, ParsePortRange, PortRange.String),
		many(Key{Name: "excludeOutboundUIDs", Want: wantIDs, Meaning: "other users whose traffic leaves directly (init containers, agents)"},
			func(s *Spec) *[]IDRange { return &s.ExcludeOutboundUIDs }, ParseIDRange, IDRange.String),
		many(Key{Name: "excludeOutboundGIDs", Want: wantIDs, Meaning: "the same, by group"},
			func(s *Spec) *[]IDRange { return &s.ExcludeOutboundGIDs }, ParseIDRange, IDRange.String),
		many(Key{Name: "excludeOutboundOwners", Want: `objects {"protocol", "ports", "uids"}, or texts "protocol:ports:uids" like tcp:22:1000-1999`, Meaning: "users whose traffic of one protocol, to some ports, leaves directly; a part that is left out means any"},
			func(s *Spec) *[]OwnerTuple { return &s.ExcludeOutboundOwners }, ParseOwnerTuple, OwnerTuple.String),
		many(Key{Name: "excludeInterfaces", Want: "interface names like net1, or prefixes like br+", Meaning: "in or out through these: untouched"},
			func(s *Spec) *[]Iface { return &s.ExcludeInterfaces }, ParseIface, formatWord[Iface]),
		many(Key{Name: "rerouteInterfaces", Want: `names, objects {"name", "exceptCIDRs", "dns"}, or texts like "docker0 except 172.17.0.0/16 dns"`, Meaning: "what arrives here is outbound traffic (virtual machines behind the pod), except to exceptCIDRs; dns: its queries are captured too"},
			func(s *Spec) *[]Reroute { return &s.RerouteInterfaces }, ParseReroute, Reroute.String),
	}
}

func dnsKeys() []Key {
	return []Key{
		one(Key{Name: "dnsPort", Want: wantPort + ", or 0 for off", Meaning: "apps' queries to port 53 go here"},
			func(s *Spec) *uint16 { return &s.DNSPort }, parsePortOrOff, formatUint[uint16]),
		many(Key{Name: "dnsProtocols", Want: "udp, tcp", Meaning: "which queries"},
			func(s *Spec) *[]Proto { return &s.DNSProtocols }, parseProto, Proto.String),
		one(Key{Name: "dnsAddress", Want: "an address, or loopback", Meaning: "where dnsPort listens; another address than loopback means DNAT to it, for queries of its own family"},
			func(s *Spec) *netip.Addr { return &s.DNSAddress }, parseDNSAddress, formatDNSAddress),
		one(Key{Name: "dnsZones", Want: "true or false", Meaning: "a conntrack zone of its own for captured UDP queries, so that the app's and the proxy's identical 5-tuples cannot collide"},
			func(s *Spec) *bool { return &s.DNSZones }, parseBool, strconv.FormatBool),
		all(Key{Name: "dnsServers", Want: `"*", or ` + wantPrefixes, Meaning: "only queries to these are captured"},
			func(s *Spec) (*bool, *[]netip.Prefix) { return &s.DNSServers.All, &s.DNSServers.Prefixes }, ParsePrefix, netip.Prefix.String),
	}
}

func otherKeys() []Key {
	return []Key{
		one(Key{Name: "loopback", Want: "hairpin, bypass, localhost-only or capture-all", Meaning: "what `lo` does"},
			func(s *Spec) *LoopbackKind { return &s.Loopback }, parseWord(Hairpin, Bypass, LocalhostOnly, CaptureAll), formatWord[LoopbackKind]),
		many(Key{Name: "passthroughSource", Want: "addresses in 127.0.0.0/8, and at most one of IPv6", Meaning: "the sources from which the proxy reaches its own app; ADD puts the IPv6 one on `lo`"},
			func(s *Spec) *[]netip.Addr { return &s.PassthroughSource }, ParseAddr, netip.Addr.String),
		one(Key{Name: "dropInvalid", Want: "true or false", Meaning: "drop TCP packets that conntrack calls INVALID, instead of resetting"},
			func(s *Spec) *bool { return &s.DropInvalid }, parseBool, strconv.FormatBool),
		one(Key{Name: "ipFamilies", Want: "auto, ipv4 or ipv6", Meaning: "`auto` is rules for both; the others leave one family alone on purpose"},
			func(s *Spec) *Families { return &s.IPFamilies }, parseWord(FamiliesAuto, FamiliesIPv4, FamiliesIPv6), formatWord[Families]),
	}
}

func formatWord[T ~string](w T) string { return string(w) }
