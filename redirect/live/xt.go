package live

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect"
)

// xt is an extension of iptables within an nft rule: name, revision and the very bytes
// that iptables has (nft_compat; linux/netfilter/xt_*.h).
func (m *machine) xt(kind string, d map[uint16][]byte) {
	name, rev, info := text(d[1]), num(d[2]), d[3] // NFTA_MATCH_NAME, _REV, _INFO; the same for targets
	if kind == "target" {
		m.does(xtTarget(name, rev, info, m.family == unix.NFPROTO_IPV6))
		return
	}
	if name == "comment" {
		text, _, _ := strings.Cut(string(info), "\x00")
		m.why = text
		return
	}
	conds := xtMatch(name, rev, info)
	if conds == nil {
		conds = redirect.Match{redirect.Opaque{Text: fmt.Sprintf("-m %s", name)}}
	}
	m.match = append(m.match, conds...)
}

func unless(c redirect.Cond, not bool) redirect.Cond {
	if not {
		return redirect.Not{Cond: c}
	}
	return c
}

func u16(b []byte, at int) uint16 { return binary.NativeEndian.Uint16(b[at:]) }
func u32(b []byte, at int) uint32 { return binary.NativeEndian.Uint32(b[at:]) }

// xtMatch gives nil for what it does not know.
func xtMatch(name string, rev uint32, b []byte) redirect.Match {
	switch {
	case name == "tcp" && len(b) >= 12 && b[11]&^15 == 0:
		return xtTCP(b)
	case name == "udp" && len(b) >= 9:
		return xtPorts(b, b[8])
	case name == "multiport" && rev == 1 && len(b) >= 48 && b[0] < 2 && b[1] <= 15:
		return xtMultiport(b)
	case name == "owner" && rev == 1 && len(b) >= 18 && b[16]&^3 == 0:
		return xtOwner(b)
	case name == "mark" && rev == 1 && len(b) >= 9 && u32(b, 4) == 0xffffffff:
		return redirect.Match{unless(redirect.Mark{Value: u32(b, 0)}, b[8] != 0)}
	case name == "connmark" && rev == 1 && len(b) >= 9 && u32(b, 4) == 0xffffffff:
		return redirect.Match{unless(redirect.ConnMark{Value: u32(b, 0)}, b[8] != 0)}
	case name == "conntrack" && rev >= 2 && len(b) >= 152 && u16(b, 146) == 1 && u16(b, 150)&^15 == 0: // XT_CONNTRACK_STATE alone
		return redirect.Match{unless(redirect.CTState{States: redirect.CTStates(u16(b, 150))}, u16(b, 148)&1 != 0)}
	case name == "conntrack" && rev >= 2 && len(b) >= 152 && u16(b, 146) == 1<<12: // XT_CONNTRACK_DIRECTION alone
		return redirect.Match{unless(redirect.CTReply{}, u16(b, 148)&(1<<12) == 0)} // turned round, it is REPLY
	case name == "state" && len(b) >= 4 && u32(b, 0)&^15 == 0:
		return redirect.Match{redirect.CTState{States: redirect.CTStates(u32(b, 0))}}
	case name == "addrtype" && rev == 1 && len(b) >= 8 && u32(b, 4)&^3 == 0:
		return xtAddrtype(u16(b, 0), u16(b, 2), u32(b, 4))
	case name == "socket" && rev >= 1 && len(b) >= 1 && b[0]&1 != 0:
		return redirect.Match{redirect.TransparentSocket{}}
	}
	return nil
}

// xtTCP are ports, flags and an option: struct xt_tcp ends in the option, the flags' mask,
// their values, and what is turned round (XT_TCP_INV_FLAGS is 4).
func xtTCP(b []byte) redirect.Match {
	m := xtPorts(b, b[11])
	if mask, set, not := b[9], b[10], b[11]&4 != 0; mask != 0 || not {
		m = append(m, unless(flags(mask, set), not))
	}
	if b[8] != 0 {
		m = append(m, redirect.Opaque{Text: fmt.Sprintf("with or without TCP option %d", b[8])})
	}
	return m
}

// xtPorts are ranges of source and destination ports, in the host's order.
func xtPorts(b []byte, invert byte) redirect.Match {
	m := redirect.Match{}
	if r := (redirect.PortRange{First: u16(b, 0), Last: u16(b, 2)}); r.First != 0 || r.Last != 65535 {
		m = append(m, unless(redirect.SrcPort{Ports: []redirect.PortRange{r}}, invert&1 != 0))
	}
	if r := (redirect.PortRange{First: u16(b, 4), Last: u16(b, 6)}); r.First != 0 || r.Last != 65535 {
		m = append(m, unless(redirect.DstPort{Ports: []redirect.PortRange{r}}, invert&2 != 0))
	}
	return m
}

func xtMultiport(b []byte) redirect.Match {
	var ports []redirect.PortRange
	for i := 0; i < int(b[1]); i++ {
		r := redirect.PortRange{First: u16(b, 2+2*i), Last: u16(b, 2+2*i)}
		if b[32+i] != 0 && i+1 < int(b[1]) { // with the next one, a range
			i++
			r.Last = u16(b, 2+2*i)
		}
		ports = append(ports, r)
	}
	if b[0] == 0 {
		return redirect.Match{unless(redirect.SrcPort{Ports: ports}, b[47] != 0)}
	}
	return redirect.Match{unless(redirect.DstPort{Ports: ports}, b[47] != 0)}
}

func xtOwner(b []byte) redirect.Match {
	m := redirect.Match{}
	if b[16]&1 != 0 {
		m = append(m, unless(redirect.UID{IDs: []redirect.IDRange{{First: u32(b, 0), Last: u32(b, 4)}}}, b[17]&1 != 0))
	}
	if b[16]&2 != 0 {
		m = append(m, unless(redirect.GID{IDs: []redirect.IDRange{{First: u32(b, 8), Last: u32(b, 12)}}}, b[17]&2 != 0))
	}
	return m
}

func xtAddrtype(src, dst uint16, invert uint32) redirect.Match {
	const local = 1 << unix.RTN_LOCAL
	if src != 0 && src != local || dst != 0 && dst != local {
		return nil
	}
	m := redirect.Match{}
	if src != 0 {
		m = append(m, unless(redirect.LocalSrc{}, invert&1 != 0))
	}
	if dst != 0 {
		m = append(m, unless(redirect.LocalDst{}, invert&2 != 0))
	}
	return m
}

func xtTarget(name string, rev uint32, b []byte, v6 bool) redirect.Target {
	switch name {
	case "REDIRECT":
		if port, ok := natPort(b, v6); ok {
			return redirect.RedirectTo{Port: port}
		}
	case "DNAT":
		if to, ok := dnatTo(rev, b, v6); ok {
			return redirect.DNATTo{To: to}
		}
	case "TPROXY":
		if rev == 1 && len(b) >= 26 && u32(b, 0) == 0xffffffff {
			return redirect.TProxyTo{Port: binary.BigEndian.Uint16(b[24:]), Mark: u32(b, 4), DropsUnheard: true}
		}
		if rev == 0 && len(b) >= 14 && u32(b, 0) == 0xffffffff {
			return redirect.TProxyTo{Port: binary.BigEndian.Uint16(b[12:]), Mark: u32(b, 4), DropsUnheard: true}
		}
	case "MARK":
		if rev == 2 && len(b) >= 8 && u32(b, 4) == 0xffffffff {
			return redirect.SetMark{Value: u32(b, 0)}
		}
	case "CONNMARK":
		if t := connmark(rev, b); t != nil {
			return t
		}
	case "CT":
		if len(b) >= 4 && u16(b, 0)&1 == 0 && u16(b, 2) != 0 {
			return redirect.CTZone{Zone: u16(b, 2)}
		}
	case "REJECT":
		return redirect.Reject{}
	case "LOG", "NFLOG", "TRACE", "MASQUERADE", "SNAT", "TCPMSS", "DSCP", "CLASSIFY":
		return redirect.Aside{Text: name}
	}
	return redirect.OpaqueTarget{Text: "-j " + name}
}

// natPort reads nf_nat_ipv4_multi_range_compat, or nf_nat_range for IPv6.
func natPort(b []byte, v6 bool) (uint16, bool) {
	flags, at := 4, 16
	if v6 {
		flags, at = 0, 36
	}
	if len(b) < at+4 {
		return 0, false
	}
	if u32(b, flags)&unix.NF_NAT_RANGE_PROTO_SPECIFIED == 0 {
		return 0, true
	}
	first, last := binary.BigEndian.Uint16(b[at:]), binary.BigEndian.Uint16(b[at+2:])
	return first, first == last
}

func dnatTo(rev uint32, b []byte, v6 bool) (to netip.AddrPort, ok bool) {
	addr, last, size := 4, 20, 4 // nf_nat_range, nf_nat_range2
	if v6 {
		size = 16
	}
	port := 36
	if rev == 0 && !v6 {
		addr, last, port = 8, 12, 16 // nf_nat_ipv4_multi_range_compat
	}
	if len(b) < port+4 {
		return to, false
	}
	a, ok := netip.AddrFromSlice(b[addr : addr+size])
	one := bytes.Equal(b[addr:addr+size], b[last:last+size]) && bytes.Equal(b[port:port+2], b[port+2:port+4])
	p := binary.BigEndian.Uint16(b[port:])
	return netip.AddrPortFrom(a, p), ok && one && p != 0
}

// connmark knows the ways of copying whole marks. Since revision 2 there is a shift
// before the mode.
func connmark(rev uint32, b []byte) redirect.Target {
	if rev >= 2 {
		if len(b) < 15 || b[13] != 0 {
			return nil
		}
		b = append(b[:12:12], b[14])
	}
	if len(b) < 13 || u32(b, 4) != 0xffffffff || u32(b, 8) != 0xffffffff {
		return nil
	}
	switch b[12] {
	case 1:
		return redirect.SaveMark{}
	case 2:
		return redirect.RestoreMark{}
	}
	return nil
}
