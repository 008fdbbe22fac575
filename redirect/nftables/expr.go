package nftables

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// expr is one nf_tables expression: its name in the kernel, and its attributes
// in the order of their numbers.
type expr struct {
	name  string
	attrs []attr
	set   *set // of a lookup
}

// attr is one attribute of an expression. What form says is where its value is.
type attr struct {
	typ  uint16
	form form
	num  uint32
	data []byte
}

// form is how the kernel wants an attribute.
type form uint8

const (
	number  form = iota // 32 bits in network order
	octet               // 8 bits
	value               // NFTA_DATA_VALUE
	verdict             // NFTA_DATA_VERDICT: num is its code, data the chain to jump to
)

// Registers, as the kernel numbers them when it reads rules back.
const reg1, reg2 = unix.NFT_REG_1, unix.NFT_REG_2

// Attributes that x/sys/unix does not have (linux/netfilter/nf_tables.h).
const (
	attrSocketKey    = 1 // NFTA_SOCKET_KEY
	attrSocketDreg   = 2 // NFTA_SOCKET_DREG
	attrTProxyFamily = 1 // NFTA_TPROXY_FAMILY
	attrTProxyPort   = 3 // NFTA_TPROXY_REG_PORT

	tcpFlags          = 13 // where they stand in the header (RFC 9293, 3.1)
	socketTransparent = 0  // NFT_SOCKET_TRANSPARENT
	ctOriginal        = 0  // IP_CT_DIR_ORIGINAL
	ctReply           = 1  // IP_CT_DIR_REPLY
	rtnLocal          = 2  // RTN_LOCAL
)

func num(typ uint16, n uint32) attr { return attr{typ: typ, num: n} }

func data(typ uint16, v []byte) attr { return attr{typ: typ, form: value, data: v} }

func meta(key uint32) expr {
	return expr{name: "meta", attrs: []attr{num(unix.NFTA_META_DREG, reg1), num(unix.NFTA_META_KEY, key)}}
}

func metaSet(key uint32) expr {
	return expr{name: "meta", attrs: []attr{num(unix.NFTA_META_KEY, key), num(unix.NFTA_META_SREG, reg1)}}
}

func ct(key uint32) expr {
	return expr{name: "ct", attrs: []attr{num(unix.NFTA_CT_DREG, reg1), num(unix.NFTA_CT_KEY, key)}}
}

func ctSet(key uint32) expr {
	return expr{name: "ct", attrs: []attr{num(unix.NFTA_CT_KEY, key), num(unix.NFTA_CT_SREG, reg1)}}
}

func payload(base, offset, length uint32) expr {
	return expr{name: "payload", attrs: []attr{
		num(unix.NFTA_PAYLOAD_DREG, reg1), num(unix.NFTA_PAYLOAD_BASE, base),
		num(unix.NFTA_PAYLOAD_OFFSET, offset), num(unix.NFTA_PAYLOAD_LEN, length),
	}}
}

func compare(op uint32, v []byte) expr {
	return expr{name: "cmp", attrs: []attr{num(unix.NFTA_CMP_SREG, reg1), num(unix.NFTA_CMP_OP, op), data(unix.NFTA_CMP_DATA, v)}}
}

func mask(m []byte) expr {
	return expr{name: "bitwise", attrs: []attr{
		num(unix.NFTA_BITWISE_SREG, reg1), num(unix.NFTA_BITWISE_DREG, reg1), num(unix.NFTA_BITWISE_LEN, uint32(len(m))),
		data(unix.NFTA_BITWISE_MASK, m), data(unix.NFTA_BITWISE_XOR, make([]byte, len(m))),
	}}
}

// toNetworkOrder turns a number of 32 bits round, so that ranges compare right.
func toNetworkOrder() expr {
	return expr{name: "byteorder", attrs: []attr{
		num(unix.NFTA_BYTEORDER_SREG, reg1), num(unix.NFTA_BYTEORDER_DREG, reg1), num(unix.NFTA_BYTEORDER_OP, unix.NFT_BYTEORDER_HTON),
		num(unix.NFTA_BYTEORDER_LEN, 4), num(unix.NFTA_BYTEORDER_SIZE, 4),
	}}
}

// lookup is in the set; what else it needs is known when the set is sent.
func lookup(s *set) expr {
	return expr{name: "lookup", attrs: []attr{num(unix.NFTA_LOOKUP_SREG, reg1)}, set: s}
}

func immediate(reg uint32, v []byte) expr {
	return expr{name: "immediate", attrs: []attr{num(unix.NFTA_IMMEDIATE_DREG, reg), data(unix.NFTA_IMMEDIATE_DATA, v)}}
}

func decide(code int32, chain string) expr {
	return expr{name: "immediate", attrs: []attr{
		num(unix.NFTA_IMMEDIATE_DREG, unix.NFT_REG_VERDICT),
		{typ: unix.NFTA_IMMEDIATE_DATA, form: verdict, num: uint32(code), data: []byte(chain)},
	}}
}

func counter() expr { return expr{name: "counter"} }

func native32(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

func network32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

func network16(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }
