package nftables

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect"
)

// renderer collects the expressions of one rule.
type renderer struct {
	half  half
	table family
	known bool // that the packet is of the half's family
	exprs []expr
}

// renderRule gives a rule's expressions: conditions, counter, target. The
// expressions are those that nft makes of Text.
func renderRule(h half, t family) []expr {
	r := renderer{half: h, table: t, known: t != inet || h.family == inet, exprs: make([]expr, 0, 10)}
	for _, c := range h.match {
		r.cond(c, unix.NFT_CMP_EQ)
	}
	r.needFamily()
	r.add(counter())
	r.target(h.target)
	return r.exprs
}

func (r *renderer) add(e ...expr) { r.exprs = append(r.exprs, e...) }

// cond renders one condition. op is NFT_CMP_EQ, or NFT_CMP_NEQ for its opposite.
func (r *renderer) cond(c redirect.Cond, op uint32) {
	switch c := c.(type) {
	case redirect.TCP:
		r.add(meta(unix.NFT_META_L4PROTO), compare(op, []byte{unix.IPPROTO_TCP}))
	case redirect.UDP:
		r.add(meta(unix.NFT_META_L4PROTO), compare(op, []byte{unix.IPPROTO_UDP}))
	case redirect.InIface:
		r.add(meta(unix.NFT_META_IIFNAME), compare(op, ifname(c.Iface)))
	case redirect.OutIface:
		r.add(meta(unix.NFT_META_OIFNAME), compare(op, ifname(c.Iface)))
	case redirect.Mark:
		r.add(meta(unix.NFT_META_MARK), compare(op, native32(c.Value)))
	case redirect.ConnMark:
		r.add(ct(unix.NFT_CT_MARK), compare(op, native32(c.Value)))
	case redirect.LocalSrc:
		r.add(expr{name: "fib", attrs: []attr{
			num(unix.NFTA_FIB_DREG, reg1), num(unix.NFTA_FIB_RESULT, unix.NFT_FIB_RESULT_ADDRTYPE), num(unix.NFTA_FIB_FLAGS, unix.NFTA_FIB_F_SADDR),
		}}, compare(op, native32(rtnLocal)))
	case redirect.CTReply:
		r.add(ct(unix.NFT_CT_DIRECTION), compare(op, []byte{ctReply}))
	case redirect.SYN:
		r.add(payload(unix.NFT_PAYLOAD_TRANSPORT_HEADER, tcpFlags, 1), mask([]byte{redirect.FlagsSYN}), compare(op, []byte{redirect.FlagSYN}))
	case redirect.TransparentSocket:
		r.add(expr{name: "socket", attrs: []attr{num(attrSocketKey, socketTransparent), num(attrSocketDreg, reg1)}}, compare(op, []byte{1}))
	case redirect.Not:
		if op != unix.NFT_CMP_EQ {
			panic("nftables: Not of Not")
		}
		r.cond(c.Cond, unix.NFT_CMP_NEQ)
	default:
		if op != unix.NFT_CMP_EQ {
			panic(fmt.Sprintf("nftables: Not of %T", c))
		}
		r.list(c)
	}
}

// list renders the conditions over lists, of which nothing makes an opposite.
func (r *renderer) list(c redirect.Cond) {
	switch c := c.(type) {
	case redirect.Src:
		r.prefixes(c.Prefixes, 12, 8) // saddr in the IPv4 and the IPv6 header
	case redirect.Dst:
		r.prefixes(c.Prefixes, 16, 24) // daddr
	case redirect.DstPort:
		r.add(payload(unix.NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2))
		r.among(kindPort, ofNumbers(c.Ports))
	case redirect.UID:
		r.ids(unix.NFT_META_SKUID, kindUID, c.IDs)
	case redirect.GID:
		r.ids(unix.NFT_META_SKGID, kindGID, c.IDs)
	case redirect.CTState:
		r.add(ct(unix.NFT_CT_STATE), mask(native32(uint32(c.States))), compare(unix.NFT_CMP_NEQ, native32(0)))
	default:
		panic(fmt.Sprintf("nftables: condition %T", c))
	}
}

// among is a comparison of register 1 with intervals in network order.
func (r *renderer) among(k kind, of []interval) {
	switch {
	case len(of) > 1:
		r.add(lookup(newSet(k, of)))
	case of[0].single():
		r.add(compare(unix.NFT_CMP_EQ, of[0].first))
	default:
		r.add(compare(unix.NFT_CMP_GTE, of[0].first), compare(unix.NFT_CMP_LTE, of[0].last))
	}
}

// ids compares a socket's owner, which the kernel has in host order.
func (r *renderer) ids(key uint32, k kind, ids []redirect.IDRange) {
	r.add(meta(key))
	of := ofNumbers(ids)
	if len(of) == 1 && of[0].single() {
		r.add(compare(unix.NFT_CMP_EQ, native32(binary.BigEndian.Uint32(of[0].first))))
		return
	}
	if len(of) == 1 || !newSet(k, of).plain {
		r.add(toNetworkOrder())
	}
	r.among(k, of)
}

// needFamily makes sure that the packet is of the half's family.
func (r *renderer) needFamily() {
	if r.known {
		return
	}
	r.known = true
	r.add(meta(unix.NFT_META_NFPROTO), compare(unix.NFT_CMP_EQ, []byte{byte(r.half.family)}))
}

// prefixes compares the address at an offset of the IPv4 or IPv6 header.
func (r *renderer) prefixes(of []netip.Prefix, offset4, offset6 uint32) {
	r.needFamily()
	if all(of) {
		return
	}
	k, offset := kindIPv4, offset4
	if r.half.family == ip6 {
		k, offset = kindIPv6, offset6
	}
	if len(of) == 1 {
		r.prefix(of[0].Masked(), offset)
		return
	}
	r.add(payload(unix.NFT_PAYLOAD_NETWORK_HEADER, offset, k.size))
	r.among(k, ofPrefixes(of))
}

// prefix compares as few bytes as nft does: whole ones need no mask.
func (r *renderer) prefix(p netip.Prefix, offset uint32) {
	a := p.Addr().AsSlice()
	if p.Bits()%8 == 0 {
		n := p.Bits() / 8
		r.add(payload(unix.NFT_PAYLOAD_NETWORK_HEADER, offset, uint32(n)), compare(unix.NFT_CMP_EQ, a[:n]))
		return
	}
	m := make([]byte, len(a))
	for i := range p.Bits() {
		m[i/8] |= 0x80 >> (i % 8)
	}
	r.add(payload(unix.NFT_PAYLOAD_NETWORK_HEADER, offset, uint32(len(a))), mask(m), compare(unix.NFT_CMP_EQ, a))
}

// ifname is a name as the kernel compares it: all 16 bytes, or the first few of
// a name that ends in "+".
func ifname(i redirect.Iface) []byte {
	if prefix, ok := strings.CutSuffix(string(i), "+"); ok {
		return []byte(prefix)
	}
	return append([]byte(i), make([]byte, unix.IFNAMSIZ-len(i))...)
}

func (r *renderer) target(t redirect.Target) {
	switch t := t.(type) {
	case nil:
	case redirect.Return:
		r.add(decide(unix.NFT_RETURN, ""))
	case redirect.Accept:
		r.add(decide(nfAccept, ""))
	case redirect.Drop:
		r.add(decide(nfDrop, ""))
	case redirect.Jump:
		r.add(decide(unix.NFT_JUMP, t.Chain))
	case redirect.RedirectTo:
		r.add(immediate(reg1, network16(t.Port)), expr{name: "redir", attrs: []attr{
			num(unix.NFTA_REDIR_REG_PROTO_MIN, reg1), num(unix.NFTA_REDIR_FLAGS, unix.NF_NAT_RANGE_PROTO_SPECIFIED),
		}})
	case redirect.TProxyTo:
		r.tproxy(t)
	case redirect.DNATTo:
		r.dnat(t.To)
	case redirect.SetMark:
		r.add(immediate(reg1, native32(t.Value)), metaSet(unix.NFT_META_MARK))
	case redirect.SaveMark:
		r.add(meta(unix.NFT_META_MARK), ctSet(unix.NFT_CT_MARK))
	case redirect.RestoreMark:
		r.add(ct(unix.NFT_CT_MARK), metaSet(unix.NFT_META_MARK))
	case redirect.CTZone: // a zone is a host's uint16 to ct
		r.add(immediate(reg1, binary.NativeEndian.AppendUint16(nil, t.Zone)), expr{name: "ct", attrs: []attr{
			num(unix.NFTA_CT_KEY, unix.NFT_CT_ZONE), {typ: unix.NFTA_CT_DIRECTION, form: octet, num: ctOriginal}, num(unix.NFTA_CT_SREG, reg1),
		}})
	default:
		panic(fmt.Sprintf("nftables: target %T", t))
	}
}

// Verdicts of netfilter itself (linux/netfilter.h).
const nfDrop, nfAccept = 0, 1

// tproxy ends the rule where nobody listens, and the next rule decides. In an
// inet table its family is unspecified: both.
func (r *renderer) tproxy(t redirect.TProxyTo) {
	f := uint32(r.table)
	if r.table == inet {
		f = unix.NFPROTO_UNSPEC
	}
	r.add(immediate(reg1, network16(t.Port)), expr{name: "tproxy", attrs: []attr{num(attrTProxyFamily, f), num(attrTProxyPort, reg1)}},
		immediate(reg1, native32(t.Mark)), metaSet(unix.NFT_META_MARK), decide(nfAccept, ""))
}

func (r *renderer) dnat(to netip.AddrPort) {
	r.add(immediate(reg1, to.Addr().AsSlice()), immediate(reg2, network16(to.Port())), expr{name: "nat", attrs: []attr{
		num(unix.NFTA_NAT_TYPE, unix.NFT_NAT_DNAT), num(unix.NFTA_NAT_FAMILY, uint32(ofTarget(redirect.DNATTo{To: to}))),
		num(unix.NFTA_NAT_REG_ADDR_MIN, reg1), num(unix.NFTA_NAT_REG_PROTO_MIN, reg2),
		num(unix.NFTA_NAT_FLAGS, unix.NF_NAT_RANGE_PROTO_SPECIFIED),
	}})
}
