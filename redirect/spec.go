package redirect

import "net/netip"

// Spec says which traffic of a pod goes to which port of its proxy. It is what
// every mesh's configuration comes down to. The zero Spec is not useful: start
// from [EnvoyDefaults], or from a mesh's own. [Spec.Validate] finds contradictions.
type Spec struct {
	// ProxyUIDs and ProxyGIDs own the proxy's sockets; either one is enough.
	ProxyUIDs, ProxyGIDs []IDRange

	InboundMode InboundMode
	// TProxyMark is set on packets and connections that InboundTProxy bends, and
	// TProxyTable is the routing table that delivers packets with it locally.
	TProxyMark, TProxyTable uint32

	InboundPort, OutboundPort uint16
	// TunnelPort is where the mesh's own tunnel listens; 0 for none.
	TunnelPort uint16

	IncludeInboundPorts PortSet
	ExcludeInboundPorts []PortRange
	ExcludeInboundCIDRs []netip.Prefix

	IncludeOutboundCIDRs PrefixSet
	ExcludeOutboundCIDRs []netip.Prefix
	IncludeOutboundPorts []PortRange
	ExcludeOutboundPorts []PortRange
	ExcludeOutboundUIDs  []IDRange
	ExcludeOutboundGIDs  []IDRange
	// ExcludeOutboundOwners leave directly where protocol, port and owner all fit.
	ExcludeOutboundOwners []OwnerTuple

	ExcludeInterfaces []Iface
	RerouteInterfaces []Reroute

	// DNSPort takes apps' queries to port 53; 0 leaves DNS alone.
	DNSPort      uint16
	DNSProtocols []Proto
	// DNSAddress is where DNSPort listens; the zero Addr is the loopback address
	// of the query's own family.
	DNSAddress netip.Addr
	// DNSZones gives captured UDP queries a conntrack zone of their own.
	DNSZones   bool
	DNSServers PrefixSet

	Loopback          LoopbackKind
	PassthroughSource []netip.Addr
	DropInvalid       bool
	IPFamilies        Families
}

// PortSet is a list of ports, or all of them.
type PortSet struct {
	All    bool
	Ranges []PortRange
}

// PrefixSet is a list of prefixes, or every address of both families.
type PrefixSet struct {
	All      bool
	Prefixes []netip.Prefix
}

// OwnerTuple is traffic of some owners to some ports. Without Ports it is all
// of their traffic of that protocol, without Proto of TCP and UDP.
type OwnerTuple struct {
	Proto Proto // TCPProto, UDPProto, or 0 for both
	Ports []PortRange
	UIDs  []IDRange
}

// Reroute is an interface behind which something else lives (a virtual machine,
// a container in the pod): what arrives from there is outbound traffic, except
// to the addresses in ExceptCIDRs, which is inbound as ever. DNS says whether
// its queries are captured as an app's would be.
type Reroute struct {
	Iface       Iface
	ExceptCIDRs []netip.Prefix
	DNS         bool
}

// InboundMode is how packets from outside reach the proxy.
type InboundMode string

// The inbound modes: InboundRedirect rewrites the destination, InboundTProxy
// keeps both ends of the connection as they are, InboundOff leaves inbound alone.
const (
	InboundRedirect InboundMode = "redirect"
	InboundTProxy   InboundMode = "tproxy"
	InboundOff      InboundMode = "off"
)

// LoopbackKind is what happens to calls on lo.
type LoopbackKind string

// The kinds of loopback. What an app calls at 127.0.0.1 and ::1 is direct in each.
//
//	                              Hairpin       Bypass   LocalhostOnly  CaptureAll
//	app   -> pod's own address    direct        direct   outbound port  outbound port
//	proxy -> pod's own address    inbound port  direct   direct         inbound port
const (
	Hairpin       LoopbackKind = "hairpin"
	Bypass        LoopbackKind = "bypass"
	LocalhostOnly LoopbackKind = "localhost-only"
	CaptureAll    LoopbackKind = "capture-all" // the first Istio's; see testdata/rules/walkthrough.txtar
)

// Families is which address families get rules.
type Families string

// The families: FamiliesAuto is both; the others exist for those who want one
// of them left alone on purpose.
const (
	FamiliesAuto Families = "auto"
	FamiliesIPv4 Families = "ipv4"
	FamiliesIPv6 Families = "ipv6"
)

// Proto is an IP protocol number (IANA).
type Proto uint8

// The protocols that rules tell apart. ICMPProto stands for ICMPv6 as well.
const (
	ICMPProto Proto = 1
	TCPProto  Proto = 6
	UDPProto  Proto = 17
)

func (p Proto) String() string {
	switch p {
	case ICMPProto:
		return "icmp"
	case TCPProto:
		return "tcp"
	case UDPProto:
		return "udp"
	}
	return "any"
}

// EnvoyDefaults is the Spec of a mesh that runs Envoy as Istio sets it up: what
// `redirect` and the detour dialect start from.
func EnvoyDefaults() Spec {
	return Spec{
		ProxyUIDs:            []IDRange{{1337, 1337}},
		ProxyGIDs:            []IDRange{{1337, 1337}},
		InboundMode:          InboundRedirect,
		TProxyMark:           1337,
		TProxyTable:          133,
		InboundPort:          15006,
		OutboundPort:         15001,
		TunnelPort:           15008,
		IncludeInboundPorts:  PortSet{All: true},
		ExcludeInboundPorts:  []PortRange{{15020, 15020}, {15021, 15021}, {15090, 15090}},
		IncludeOutboundCIDRs: PrefixSet{All: true},
		ExcludeOutboundPorts: []PortRange{{15020, 15020}},
		DNSProtocols:         []Proto{UDPProto, TCPProto},
		DNSZones:             true,
		DNSServers:           PrefixSet{All: true},
		Loopback:             Hairpin,
		PassthroughSource:    []netip.Addr{netip.MustParseAddr("127.0.0.6"), netip.MustParseAddr("::6")},
		IPFamilies:           FamiliesAuto,
	}
}
