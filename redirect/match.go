package redirect

import (
	"fmt"
	"slices"
)

// matches asks every condition: one no is a no, whatever nobody can say.
func matches(m Match, p Packet) Answer {
	all := Yes
	for _, c := range m {
		switch holds(c, p) {
		case No:
			return No
		case CannotSay:
			all = CannotSay
		case Yes:
		}
	}
	return all
}

func holds(c Cond, p Packet) Answer {
	switch c := c.(type) {
	case TCP:
		return answer(p.Proto == TCPProto)
	case UDP:
		return answer(p.Proto == UDPProto)
	case InIface:
		return answer(p.In != "" && c.Iface.Matches(p.In))
	case OutIface:
		return answer(p.Out != "" && c.Iface.Matches(p.Out))
	case Src:
		return answer(containsAddr(c.Prefixes, p.Src.Addr()))
	case Dst:
		return answer(containsAddr(c.Prefixes, p.Dst.Addr()))
	case DstPort:
		return answer((p.Proto == TCPProto || p.Proto == UDPProto) && contains(c.Ports, p.Dst.Port()))
	case UID:
		return answer(!p.NoSocket && contains(c.IDs, p.UID))
	case GID:
		return answer(!p.NoSocket && contains(c.IDs, p.GID))
	case Mark:
		return answer(p.Mark == c.Value)
	case ConnMark:
		return answer(!p.untracked && p.ConnMark == c.Value)
	case CTState:
		return answer(p.state()&c.States != 0)
	case CTReply:
		return answer(p.Reply)
	case SYN:
		return answer(p.opens())
	case LocalSrc:
		return answer(!p.ForeignSrc)
	case TransparentSocket:
		return answer(p.TransparentSocket)
	case Protocol:
		return answer(slices.Contains(c.Protos, p.Proto))
	case SrcPort:
		if p.Src.Port() == 0 {
			return CannotSay // the kernel picks one
		}
		return answer((p.Proto == TCPProto || p.Proto == UDPProto) && contains(c.Ports, p.Src.Port()))
	case LocalDst:
		return answer(p.Hook == Prerouting || p.Out == "lo" || p.In == "lo" || p.Dst.Addr().IsLoopback())
	case Flags:
		return c.holds(p)
	case Fragment:
		return No
	case Not:
		switch c.Cond.(type) {
		case ConnMark:
			if p.untracked { // there is none to compare: no backend's rule holds
				return No
			}
		case UID, GID: // in iptables it holds without a socket, in nftables it does not
			if p.NoSocket {
				return CannotSay
			}
		}
		return not(holds(c.Cond, p))
	case Opaque:
		return CannotSay
	default:
		panic(fmt.Sprintf("trace: condition %T", c))
	}
}

// holds knows the flags of a connection's first packet: SYN, and nobody knows whether it asks
// for ECN with the two highest (tcp_ecn in ip-sysctl(7), RFC 3168).
func (c Flags) holds(p Packet) Answer {
	const ecn = 0xc0
	switch {
	case !p.opens():
		return CannotSay
	case (c.Set^FlagSYN)&c.Mask&^ecn != 0:
		return No
	case c.Mask&ecn != 0:
		return CannotSay
	}
	return Yes
}

func not(a Answer) Answer {
	switch a {
	case Yes:
		return No
	case No:
		return Yes
	case CannotSay:
		return CannotSay
	}
	panic(fmt.Sprintf("trace: answer %d", a))
}
