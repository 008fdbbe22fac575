package live

import (
	"bytes"
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect"
)

// immediate is a constant in a register, or the rule's verdict.
func (m *machine) immediate(d map[uint16][]byte) error {
	data, err := attributes(d[unix.NFTA_IMMEDIATE_DATA])
	if err != nil {
		return err
	}
	if data[unix.NFTA_DATA_VERDICT] == nil {
		m.regs[reg(d[unix.NFTA_IMMEDIATE_DREG])] = value{from: "constant", data: data[unix.NFTA_DATA_VALUE]}
		return nil
	}
	verdict, err := attributes(data[unix.NFTA_DATA_VERDICT])
	if err != nil {
		return err
	}
	m.does(verdictOf(int32(num(verdict[unix.NFTA_VERDICT_CODE])), text(verdict[unix.NFTA_VERDICT_CHAIN])))
	return nil
}

func verdictOf(code int32, chain string) redirect.Target {
	switch code {
	case 0: // NF_DROP
		return redirect.Drop{}
	case 1: // NF_ACCEPT
		return redirect.Accept{}
	case unix.NFT_RETURN:
		return redirect.Return{}
	case unix.NFT_JUMP:
		return redirect.Jump{Chain: chain}
	case unix.NFT_GOTO:
		return redirect.Jump{Chain: chain, Goto: true}
	case unix.NFT_CONTINUE:
		return redirect.Aside{Text: "continue"}
	}
	return redirect.OpaqueTarget{Text: "a verdict that is not known"}
}

// effect is what an expression does that neither loads nor compares.
func (m *machine) effect(name string, d map[uint16][]byte) {
	switch name {
	case "redir":
		port, ok := m.port(d[unix.NFTA_REDIR_REG_PROTO_MIN])
		if !ok || m.isRange(d[unix.NFTA_REDIR_REG_PROTO_MIN], d[unix.NFTA_REDIR_REG_PROTO_MAX]) {
			m.does(redirect.OpaqueTarget{Text: "redirect to a port that depends"})
			return
		}
		m.does(redirect.RedirectTo{Port: port})
	case "tproxy":
		port, ok := m.port(d[3]) // NFTA_TPROXY_REG_PORT
		if !ok || d[2] != nil {
			m.does(redirect.OpaqueTarget{Text: "tproxy to an address, or a port that depends"})
			return
		}
		m.does(redirect.TProxyTo{Port: port})
	case "nat":
		m.nat(d)
	case "reject":
		m.does(redirect.Reject{})
	case "log", "masq":
		m.does(redirect.Aside{Text: name})
	case "limit", "quota", "connlimit", "last", "dynset":
		m.opaque(name)
	case "rt", "numgen", "osf", "xfrm", "hash", "exthdr":
		m.computed(name, d)
	default:
		m.does(redirect.OpaqueTarget{Text: name})
	}
}

// computed loads what no packet tells: NFTA_HASH_DREG is 2, in all the others it is 1.
// Without a register exthdr writes an option of TCP's.
func (m *machine) computed(name string, d map[uint16][]byte) {
	dreg := d[1]
	if name == "hash" {
		dreg = d[unix.NFTA_HASH_DREG]
	}
	if dreg == nil {
		m.does(redirect.Aside{Text: name})
		return
	}
	m.regs[reg(dreg)] = value{from: name}
}

// isRange reports whether the kernel picks one of several values.
func (m *machine) isRange(first, last []byte) bool {
	return last != nil && !bytes.Equal(m.regs[reg(first)].data, m.regs[reg(last)].data)
}

// port is what a register holds; 0 where there is none.
func (m *machine) port(r []byte) (uint16, bool) {
	if r == nil {
		return 0, true
	}
	data := m.regs[reg(r)].data
	if len(data) < 2 {
		return 0, false
	}
	return binary.BigEndian.Uint16(data), true
}

func (m *machine) nat(d map[uint16][]byte) {
	if num(d[unix.NFTA_NAT_TYPE]) != unix.NFT_NAT_DNAT {
		m.does(redirect.Aside{Text: "another source address"})
		return
	}
	a, ok := netip.AddrFromSlice(m.regs[reg(d[unix.NFTA_NAT_REG_ADDR_MIN])].data)
	port, known := m.port(d[unix.NFTA_NAT_REG_PROTO_MIN])
	several := m.isRange(d[unix.NFTA_NAT_REG_ADDR_MIN], d[unix.NFTA_NAT_REG_ADDR_MAX]) || m.isRange(d[unix.NFTA_NAT_REG_PROTO_MIN], d[unix.NFTA_NAT_REG_PROTO_MAX])
	if !ok || !known || port == 0 || several {
		m.does(redirect.OpaqueTarget{Text: "dnat to an address that depends"})
		return
	}
	m.does(redirect.DNATTo{To: netip.AddrPortFrom(a, port)})
}
