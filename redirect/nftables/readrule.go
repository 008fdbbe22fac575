package nftables

import (
	"encoding/hex"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect/internal/netlink"
)

// readRule gives a rule's canonical text:
//
//	[meta dreg=1 key=16] [cmp sreg=1 op=0 data=06] [counter] [immediate dreg=0 data=return] "detour: …"
//
// It has every attribute that matters, by name and value, in the order of its
// number. Attributes at the kernel's default are left out, because kernels
// differ in which of them they mention.
func (r *reader) readRule(a *attributes) (readRule, error) {
	var rule readRule
	b := make([]byte, 0, 256)
	for e, err := range netlink.Attrs(a[unix.NFTA_RULE_EXPRESSIONS]) {
		if err != nil {
			return rule, err
		}
		var x attributes
		if err := x.read(e.Value); err != nil {
			return rule, err
		}
		if b, err = r.appendExpr(b, &x, &rule); err != nil {
			return rule, err
		}
	}
	if compat := a[unix.NFTA_RULE_COMPAT]; compat != nil {
		b = hex.AppendEncode(append(b, "compat="...), compat)
		b = append(b, ' ')
	}
	rule.Comment = commentOf(a[unix.NFTA_RULE_USERDATA])
	rule.Text = string(appendQuoted(b, rule.Comment))
	return rule, nil
}

// appendQuoted is strconv.AppendQuote, quicker for what needs no quoting: what
// every comment of ours is.
func appendQuoted(b []byte, s string) []byte {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f || s[i] == '"' || s[i] == '\\' {
			return strconv.AppendQuote(b, s)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// appendExpr describes one expression.
func (r *reader) appendExpr(b []byte, x *attributes, rule *readRule) ([]byte, error) {
	name := text(x[unix.NFTA_EXPR_NAME])
	b = append(append(b, '['), name...)
	var d attributes
	err := d.read(x[unix.NFTA_EXPR_DATA])
	if err != nil {
		return b, err
	}
	switch name {
	case "counter": // what it has counted is no part of the rule
		rule.packets += uint64Of(d[unix.NFTA_COUNTER_PACKETS])
		rule.bytes += uint64Of(d[unix.NFTA_COUNTER_BYTES])
	case "lookup":
		b = r.appendSet(b, &d)
		fallthrough
	default:
		if b, err = appendAttrs(b, schema(name), &d); err != nil {
			return b, err
		}
	}
	return append(b, "] "...), nil
}

// appendSet puts a set's elements in the place of its name.
func (r *reader) appendSet(b []byte, d *attributes) []byte {
	key := setKey(d[unix.NFTA_LOOKUP_SET_ID], d[unix.NFTA_LOOKUP_SET])
	s := r.sets[key]
	if s == nil {
		return append(append(b, " unknown set "...), key...)
	}
	if s.flags&unix.NFT_SET_ANONYMOUS == 0 {
		b = append(append(b, " set "...), key...)
	}
	return append(append(b, ' '), s.describe()...)
}

// field is how an attribute of an expression is read.
type field struct {
	name string
	kind fieldKind
}

type fieldKind uint8

const (
	shown     fieldKind = iota // as a number, or as bytes where it is no 32 bits
	nonzero                    // a number, left out where it is 0
	datum                      // NFTA_DATA_VALUE or NFTA_DATA_VERDICT
	hidden                     // said elsewhere
	maxOfLast                  // the upper register of a range: left out where it is the one before
	natFlags                   // NF_NAT_RANGE_…: without those that the kernel derives
)

// schema names the attributes of the expressions that we send, by their number
// less one. Others have no names, and are shown in full.
func schema(expr string) []field {
	switch expr {
	case "meta":
		return []field{{"dreg", shown}, {"key", shown}, {"sreg", shown}}
	case "cmp":
		return []field{{"sreg", shown}, {"op", shown}, {"data", datum}}
	case "payload":
		return []field{{"dreg", shown}, {"base", shown}, {"offset", shown}, {"len", shown}}
	case "immediate":
		return []field{{"dreg", shown}, {"data", datum}}
	case "lookup":
		return []field{{"set", hidden}, {"sreg", shown}, {"dreg", shown}, {"id", hidden}, {"flags", nonzero}}
	case "ct":
		return []field{{"dreg", shown}, {"key", shown}, {"dir", shown}, {"sreg", shown}}
	case "bitwise":
		return []field{{"sreg", shown}, {"dreg", shown}, {"len", shown}, {"mask", datum}, {"xor", datum}, {"op", nonzero}, {"data", datum}}
	case "byteorder":
		return []field{{"sreg", shown}, {"dreg", shown}, {"op", shown}, {"len", shown}, {"size", shown}}
	case "redir":
		return []field{{"min", shown}, {"max", maxOfLast}, {"flags", natFlags}}
	case "nat":
		return []field{{"type", shown}, {"family", shown}, {"addr", shown}, {"addrmax", maxOfLast}, {"proto", shown}, {"protomax", maxOfLast}, {"flags", natFlags}}
	case "tproxy":
		return []field{{"family", nonzero}, {"addr", nonzero}, {"port", shown}}
	case "fib":
		return []field{{"dreg", shown}, {"result", shown}, {"flags", shown}}
	case "socket":
		return []field{{"key", shown}, {"dreg", shown}, {"level", nonzero}}
	}
	return nil
}

func appendAttrs(b []byte, fields []field, d *attributes) ([]byte, error) {
	for i, v := range d {
		if v == nil {
			continue
		}
		f := field{name: "attr" + strconv.Itoa(i)}
		if i > 0 && i <= len(fields) {
			f = fields[i-1]
		}
		n := uint32Of(v)
		switch {
		case f.kind == hidden, f.kind == nonzero && n == 0, f.kind == maxOfLast && n == uint32Of(d[i-1]):
			continue
		case f.kind == natFlags:
			if n &^= unix.NF_NAT_RANGE_MAP_IPS | unix.NF_NAT_RANGE_PROTO_SPECIFIED; n == 0 {
				continue
			}
			v = network32(n)
		}
		b = append(append(append(b, ' '), f.name...), '=')
		var err error
		if b, err = appendValue(b, f.kind, v); err != nil {
			return b, err
		}
	}
	return b, nil
}

func appendValue(b []byte, k fieldKind, v []byte) ([]byte, error) {
	switch {
	case k == datum:
		return appendDatum(b, v)
	case len(v) == 4:
		return strconv.AppendUint(b, uint64(uint32Of(v)), 10), nil
	default:
		return hex.AppendEncode(b, v), nil
	}
}

// appendDatum describes NFTA_DATA_…: bytes, or a verdict.
func appendDatum(b, v []byte) ([]byte, error) {
	var d, verdict attributes
	if err := d.read(v); err != nil {
		return b, err
	}
	if d[unix.NFTA_DATA_VERDICT] == nil {
		return hex.AppendEncode(b, d[unix.NFTA_DATA_VALUE]), nil
	}
	if err := verdict.read(d[unix.NFTA_DATA_VERDICT]); err != nil {
		return b, err
	}
	switch code := int32(uint32Of(verdict[unix.NFTA_VERDICT_CODE])); code {
	case nfDrop:
		b = append(b, "drop"...)
	case nfAccept:
		b = append(b, "accept"...)
	case unix.NFT_RETURN:
		b = append(b, "return"...)
	case unix.NFT_JUMP:
		b = append(b, "jump"...)
	default:
		b = strconv.AppendInt(append(b, "verdict "...), int64(code), 10)
	}
	if c := verdict[unix.NFTA_VERDICT_CHAIN]; c != nil {
		b = append(append(b, ' '), text(c)...)
	}
	return b, nil
}

// commentOf finds the comment in a rule's user data.
func commentOf(userdata []byte) string {
	for len(userdata) >= 2 {
		typ, size := userdata[0], int(userdata[1])
		if size > len(userdata)-2 {
			return ""
		}
		if typ == commentType {
			return strings.TrimRight(string(userdata[2:2+size]), "\x00")
		}
		userdata = userdata[2+size:]
	}
	return ""
}
