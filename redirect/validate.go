package redirect

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// Validate finds what no single key shows: values that contradict each other,
// or a Spec that would send the proxy's own calls back to it. The error names
// the key, as configuration spells it, the value, and what was wanted.
func (s Spec) Validate() error {
	for _, check := range []func(Spec) error{checkModes, checkPorts, checkOwners, checkTProxy, checkInterfaces, checkDNS, checkPassthrough, checkCombinations} {
		if err := check(s); err != nil {
			return err
		}
	}
	return nil
}

func checkModes(s Spec) error {
	if !slices.Contains([]InboundMode{InboundRedirect, InboundTProxy, InboundOff}, s.InboundMode) {
		return fmt.Errorf("inboundMode: %q: unknown (want redirect, tproxy or off)", s.InboundMode)
	}
	if !slices.Contains([]LoopbackKind{Hairpin, Bypass, LocalhostOnly, CaptureAll}, s.Loopback) {
		return fmt.Errorf("loopback: %q: unknown (want hairpin, bypass, localhost-only or capture-all)", s.Loopback)
	}
	if !slices.Contains([]Families{FamiliesAuto, FamiliesIPv4, FamiliesIPv6}, s.IPFamilies) {
		return fmt.Errorf("ipFamilies: %q: unknown (want auto, ipv4 or ipv6)", s.IPFamilies)
	}
	return nil
}

// checkPorts refuses two listeners of the proxy on one port, except inbound and
// outbound: a proxy that tells them apart by itself may listen once for both.
func checkPorts(s Spec) error {
	if s.InboundMode != InboundOff && s.InboundPort == 0 {
		return errors.New("inboundPort: 0 is not a port (want 1-65535)")
	}
	if s.OutboundPort == 0 {
		return errors.New("outboundPort: 0 is not a port (want 1-65535)")
	}
	type listener struct {
		key  string
		port uint16
	}
	for _, l := range []listener{{"dnsPort", s.localDNSPort()}, {"tunnelPort", s.TunnelPort}} {
		for _, other := range []listener{{"outboundPort", s.OutboundPort}, {"inboundPort", s.InboundPort}, {"dnsPort", s.localDNSPort()}} {
			if l.key != other.key && l.port != 0 && l.port == other.port {
				return fmt.Errorf("%s: %d is %s as well (want a port of its own)", l.key, l.port, other.key)
			}
		}
	}
	return nil
}

// localDNSPort is the DNS port where it is the proxy's own, else 0.
func (s Spec) localDNSPort() uint16 {
	if s.DNSAddress.IsValid() {
		return 0
	}
	return s.DNSPort
}

func checkOwners(s Spec) error {
	if len(s.ProxyUIDs) == 0 && len(s.ProxyGIDs) == 0 {
		return errors.New("proxyUIDs: [] and proxyGIDs: []: nobody is the proxy, its own calls would come back to it (want an id in one of them)")
	}
	for i, o := range s.ExcludeOutboundOwners {
		if len(o.UIDs) == 0 {
			return fmt.Errorf("excludeOutboundOwners[%d].uids: [] (want at least one uid)", i)
		}
	}
	return nil
}

// maxCombinations is how many pairs two lists may make that are combined in the
// rules, since the pairs are the square of what somebody wrote: iptables needs a rule
// for nearly each, and an annotation of 256 KiB makes 400 million. Real tuples
// (Kuma's exclude-outbound-ports-for-uids) make a handful.
const maxCombinations = 10_000

// checkCombinations bounds the lists that multiply. It is the same for every backend, so
// that a Spec is good or bad on all nodes alike.
func checkCombinations(s Spec) error {
	var owners, servers uint64
	for _, o := range s.ExcludeOutboundOwners {
		owners += uint64(max(1, len(Merge(o.Ports)))) * uint64(len(Merge(o.UIDs)))
	}
	if owners > maxCombinations {
		return fmt.Errorf("excludeOutboundOwners: %d combinations of ports and uids (want at most %d: fewer of them, or ranges)", owners, maxCombinations)
	}
	for _, r := range s.RerouteInterfaces {
		if r.DNS {
			servers += uint64(len(s.DNSServers.Prefixes))
		}
	}
	if servers > maxCombinations {
		return fmt.Errorf("rerouteInterfaces: %d combinations with dnsServers (want at most %d: fewer of them, or wider prefixes)", servers, maxCombinations)
	}
	return nil
}

// The routing tables that the kernel keeps for itself: RT_TABLE_UNSPEC, and
// default, main and local (linux/rtnetlink.h).
const tableUnspec, tableDefault, tableLocal = 0, 253, 255

func checkTProxy(s Spec) error {
	if s.InboundMode != InboundTProxy {
		return nil
	}
	if s.TProxyMark == 0 {
		return errors.New("tproxyMark: 0 is the mark of every packet (want 1-4294967295)")
	}
	if t := s.TProxyTable; t == tableUnspec || t >= tableDefault && t <= tableLocal {
		return fmt.Errorf("tproxyTable: %d is the kernel's own (want another than 0, 253, 254, 255)", t)
	}
	return nil
}

func checkInterfaces(s Spec) error {
	for i, name := range s.ExcludeInterfaces {
		if name.Matches("lo") {
			return fmt.Errorf("excludeInterfaces[%d]: %q is loopback (want loopback: bypass for that)", i, name)
		}
	}
	for i, r := range s.RerouteInterfaces {
		if r.Iface.Matches("lo") {
			return fmt.Errorf("rerouteInterfaces[%d]: %q is loopback, where nothing arrives from outside", i, r.Iface)
		}
		if slices.Contains(s.ExcludeInterfaces, r.Iface) {
			return fmt.Errorf("rerouteInterfaces[%d]: %q is in excludeInterfaces as well (want it in one of them)", i, r.Iface)
		}
	}
	return nil
}

func checkDNS(s Spec) error {
	if s.DNSPort == 0 {
		return nil
	}
	if len(s.DNSProtocols) == 0 {
		return errors.New("dnsProtocols: [] with a dnsPort (want udp, tcp or both; dnsPort 0 is off)")
	}
	for i, p := range s.DNSProtocols {
		if p != TCPProto && p != UDPProto {
			return fmt.Errorf("dnsProtocols[%d]: %q: unknown (want udp or tcp)", i, p)
		}
	}
	if a := s.DNSAddress; a.IsUnspecified() || a.IsMulticast() {
		return fmt.Errorf("dnsAddress: %q: no listener can be there (want a unicast address)", a)
	}
	return nil
}

var (
	loopback4 = netip.MustParsePrefix("127.0.0.0/8")
	localhost = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("::1/128")}
)

// checkPassthrough wants sources that exist on lo, or that ADD can put there.
func checkPassthrough(s Spec) error {
	v6 := 0
	for i, a := range s.PassthroughSource {
		switch {
		case containsAddr(localhost, a):
			return fmt.Errorf("passthroughSource[%d]: %q is what everybody uses (want an address of the proxy's own, like 127.0.0.6 or ::6)", i, a)
		case a.Is4() && !loopback4.Contains(a):
			return fmt.Errorf("passthroughSource[%d]: %q is not on lo (want an address in 127.0.0.0/8, or an IPv6 address)", i, a)
		case a.Is6() && (a.IsUnspecified() || a.IsMulticast() || a.IsLinkLocalUnicast()):
			return fmt.Errorf("passthroughSource[%d]: %q cannot be a source on lo (want a unicast address like ::6)", i, a)
		case a.Is6():
			v6++
		}
		if v6 > maxStampAddrs {
			return fmt.Errorf("passthroughSource[%d]: %q is the second IPv6 address (want at most one)", i, a)
		}
	}
	return nil
}
