package redirect

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

func parseProto(text string) (Proto, error) {
	switch text {
	case "tcp":
		return TCPProto, nil
	case "udp":
		return UDPProto, nil
	}
	return 0, fmt.Errorf("%s: unknown (want udp or tcp)", quote(text))
}

func parseDNSAddress(text string) (netip.Addr, error) {
	if text == "loopback" {
		return netip.Addr{}, nil
	}
	return ParseAddr(text)
}

func formatDNSAddress(a netip.Addr) string {
	if !a.IsValid() {
		return "loopback"
	}
	return a.String()
}

// ParseOwnerTuple reads "protocol:ports:uids": each part one value or range, the
// first two may be empty for "any".
func ParseOwnerTuple(text string) (OwnerTuple, error) {
	parts := strings.Split(text, ":")
	if len(parts) != 3 {
		return OwnerTuple{}, fmt.Errorf("%s: not an owner tuple (want protocol:ports:uids, like tcp:22:1000-1999)", quote(text))
	}
	var o OwnerTuple
	if parts[0] != "" {
		p, err := parseProto(parts[0])
		if err != nil {
			return o, fmt.Errorf("protocol: %w", err)
		}
		o.Proto = p
	}
	if parts[1] != "" {
		ports, err := parseList(strings.Split(parts[1], "+"), ParsePortRange)
		if err != nil {
			return o, part("ports", err)
		}
		o.Ports = ports
	}
	uids, err := parseList(strings.Split(parts[2], "+"), ParseIDRange)
	if err != nil {
		return o, part("uids", err)
	}
	o.UIDs = uids
	return o, nil
}

// part names the part of a tuple that an item's error is about.
func part(name string, err error) error {
	if item, ok := errors.AsType[*ItemError](err); ok {
		err = item.Err
	}
	return fmt.Errorf("%s: %w", name, err)
}

// String gives the tuple in the form that ParseOwnerTuple takes.
func (o OwnerTuple) String() string {
	proto := ""
	if o.Proto != 0 {
		proto = o.Proto.String()
	}
	return proto + ":" + strings.Join(formatList(o.Ports, PortRange.String), "+") + ":" + strings.Join(formatList(o.UIDs, IDRange.String), "+")
}

// ParseReroute reads "docker0", or "docker0 except 172.17.0.0/16 dns".
func ParseReroute(text string) (Reroute, error) {
	words := strings.Fields(text)
	if len(words) == 0 {
		words = []string{""}
	}
	name, err := ParseIface(words[0])
	if err != nil {
		return Reroute{}, err
	}
	r := Reroute{Iface: name}
	for i := 1; i < len(words); i++ {
		switch {
		case words[i] == "dns":
			r.DNS = true
		case words[i] == "except" && i+1 < len(words):
			i++
			p, err := ParsePrefix(words[i])
			if err != nil {
				return r, fmt.Errorf("exceptCIDRs: %w", err)
			}
			r.ExceptCIDRs = append(r.ExceptCIDRs, p)
		default:
			return r, fmt.Errorf("%s: not understood at %s (want a name, then \"except PREFIX\" and \"dns\")", quote(text), quote(words[i]))
		}
	}
	return r, nil
}

// String gives the interface in the form that ParseReroute takes.
func (r Reroute) String() string {
	text := string(r.Iface)
	for _, p := range r.ExceptCIDRs {
		text += " except " + p.String()
	}
	if r.DNS {
		text += " dns"
	}
	return text
}
