package live

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/detour-cni/detour/redirect"
)

func u64(b []byte, at int) uint64 { return binary.NativeEndian.Uint64(b[at:]) }

// Bits of an entry's flags for what is turned round, and for a jump that does not come back.
const (
	invIn, invOut, invSrc, invDst = 0x01, 0x02, 0x08, 0x10
	invProto                      = 0x40
	gotoIPv4, gotoIPv6            = 0x02, 0x04
	fragment, invFragment         = 0x01, 0x20 // IPT_F_FRAG, of IPv4 only
)

// rule reads one entry: what the header compares, the matches, the target.
func (l layout) rule(e []byte, target int, name string) (redirect.Rule, error) {
	m := machine{match: l.header(e)}
	for at := l.matches; at < target; {
		if at+32 > target {
			return redirect.Rule{}, errShort
		}
		size := int(u16(e, at))
		if size < 32 || at+size > target {
			return redirect.Rule{}, errShort
		}
		match, info := text(head(e[at+2:at+31])), e[at+32:at+size]
		if match == "comment" {
			m.why = text(head(info))
		} else if conds := xtMatch(match, uint32(e[at+31]), info); conds != nil {
			m.match = append(m.match, conds...)
		} else {
			m.opaque("-m " + match)
		}
		at += size
	}
	return redirect.Rule{Match: m.match, Target: l.target(e, target, name), Why: reason(m.why)}, nil
}

func (l layout) target(e []byte, at int, name string) redirect.Target {
	data := e[at+32:]
	if name != "" {
		return xtTarget(name, uint32(e[at+31]), data, l.v6)
	}
	if len(data) < 4 {
		return redirect.OpaqueTarget{Text: "a verdict that is not known"}
	}
	switch verdict := int32(u32(data, 0)); {
	case verdict == -1:
		return redirect.Drop{}
	case verdict == -2:
		return redirect.Accept{}
	case verdict == -5: // XT_RETURN
		return redirect.Return{}
	case verdict < 0:
		return redirect.OpaqueTarget{Text: fmt.Sprintf("verdict %d", verdict)}
	default:
		bit := map[bool]byte{true: gotoIPv6, false: gotoIPv4}[l.v6]
		return offset{at: uint32(verdict), goTo: e[l.flags]&bit != 0}
	}
}

// header gives the conditions that stand in every entry: addresses, interfaces, protocol.
func (l layout) header(e []byte) (m redirect.Match) {
	invert := e[l.invert]
	for i, inv := range []byte{invIn, invOut} {
		name, mask := e[l.ifaces+16*i:][:16], e[l.ifaces+32+16*i:][:16]
		ones := bytes.IndexByte(append(mask[:16:16], 0), 0)
		if ones == 0 {
			continue
		}
		iface := redirect.Iface(text(head(name)))
		if ones == len(iface) { // the NUL is not compared
			iface += "+"
		}
		var c redirect.Cond = redirect.InIface{Iface: iface}
		if i == 1 {
			c = redirect.OutIface{Iface: iface}
		}
		m = append(m, unless(c, invert&inv != 0))
	}
	if !l.v6 && e[l.flags]&fragment != 0 {
		m = append(m, unless(redirect.Fragment{}, invert&invFragment != 0))
	}
	if proto := u16(e, l.proto); proto != 0 {
		m = append(m, unless(protocol(redirect.Proto(proto)), invert&invProto != 0))
	}
	for i, inv := range []byte{invSrc, invDst} {
		a, mask := e[l.addr*i:][:l.addr], e[l.addr*(2+i):][:l.addr]
		bits := ones(mask)
		addr, _ := netip.AddrFromSlice(a)
		switch p := []netip.Prefix{netip.PrefixFrom(addr, bits)}; {
		case bits == 0:
		case bits < 0:
			m = append(m, redirect.Opaque{Text: fmt.Sprintf("address & %x", mask)})
		case i == 0:
			m = append(m, unless(redirect.Src{Prefixes: p}, invert&inv != 0))
		default:
			m = append(m, unless(redirect.Dst{Prefixes: p}, invert&inv != 0))
		}
	}
	return m
}
