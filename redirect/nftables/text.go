package nftables

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/detour-cni/detour/redirect"
)

// Text gives the rules as nft -f takes them (nft 1.0.6 and later), without the
// stamp: for people, and for files that a test compares. What nft makes of it is
// what Commit sends.
func Text(rs redirect.RuleSet) string {
	f := familyOf(rs)
	var b strings.Builder
	fmt.Fprintf(&b, "table %s %s {\n", f, tableName)
	for i, c := range rs.Chains {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "\tchain %s {\n", c.Name)
		if at := baseOf(c.Table, c.Hook); at != nil {
			fmt.Fprintf(&b, "\t\ttype %s hook %s priority %d; policy accept;\n", at.typ, strings.ToLower(string(c.Hook)), at.priority)
		}
		for _, r := range c.Rules {
			for _, h := range halves(r, f) {
				fmt.Fprintf(&b, "\t\t%s comment %q\n", strings.Join(ruleWords(h, f), " "), r.Comment())
			}
		}
		b.WriteString("\t}\n")
	}
	b.WriteString("}\n")
	return b.String()
}

// ruleWords says what renderRule says.
func ruleWords(h half, table family) []string {
	var words []string
	known := table != inet || h.family == inet
	needFamily := func() {
		if !known {
			words = append(words, map[family]string{ip4: "meta nfproto ipv4", ip6: "meta nfproto ipv6"}[h.family])
		}
		known = true
	}
	proto := "th"
	for _, c := range h.match {
		switch of := c.(type) {
		case redirect.TCP:
			proto = "tcp"
		case redirect.UDP:
			proto = "udp"
		case redirect.Src:
			if needFamily(); all(of.Prefixes) {
				continue
			}
		case redirect.Dst:
			if needFamily(); all(of.Prefixes) {
				continue
			}
		}
		words = append(words, condWords(c, "", h.family, proto))
	}
	needFamily()
	words = append(words, "counter")
	if h.target != nil {
		words = append(words, targetWords(h.target, table))
	}
	return words
}

// condWords says one condition; not is "!= " for its opposite.
func condWords(c redirect.Cond, not string, f family, proto string) string {
	header := map[family]string{ip4: "ip ", ip6: "ip6 "}[f]
	switch c := c.(type) {
	case redirect.TCP:
		return "meta l4proto " + not + "tcp"
	case redirect.UDP:
		return "meta l4proto " + not + "udp"
	case redirect.InIface:
		return "iifname " + not + ifaceWord(c.Iface)
	case redirect.OutIface:
		return "oifname " + not + ifaceWord(c.Iface)
	case redirect.Mark:
		return fmt.Sprintf("meta mark %s%d", not, c.Value)
	case redirect.ConnMark:
		return fmt.Sprintf("ct mark %s%d", not, c.Value)
	case redirect.LocalSrc:
		return "fib saddr type " + not + "local"
	case redirect.CTReply:
		return "ct direction " + not + "reply"
	case redirect.SYN:
		return "tcp flags & (fin | syn | rst | ack) " + map[bool]string{true: "== ", false: not}[not == ""] + "syn"
	case redirect.TransparentSocket:
		return "socket transparent " + not + "1"
	case redirect.Not:
		return condWords(c.Cond, "!= ", f, proto)
	case redirect.Src:
		return header + "saddr " + prefixWords(c.Prefixes)
	case redirect.Dst:
		return header + "daddr " + prefixWords(c.Prefixes)
	case redirect.DstPort:
		return proto + " dport " + numberWords(ofNumbers(c.Ports))
	case redirect.UID:
		return "meta skuid " + numberWords(ofNumbers(c.IDs))
	case redirect.GID:
		return "meta skgid " + numberWords(ofNumbers(c.IDs))
	case redirect.CTState:
		return "ct state " + stateWords(c.States)
	default:
		panic(fmt.Sprintf("nftables: condition %T", c))
	}
}

func targetWords(t redirect.Target, table family) string {
	switch t := t.(type) {
	case redirect.Return:
		return "return"
	case redirect.Accept:
		return "accept"
	case redirect.Drop:
		return "drop"
	case redirect.Jump:
		return "jump " + t.Chain
	case redirect.RedirectTo:
		return fmt.Sprintf("redirect to :%d", t.Port)
	case redirect.TProxyTo:
		return fmt.Sprintf("tproxy to :%d meta mark set %d accept", t.Port, t.Mark)
	case redirect.DNATTo:
		if table != inet {
			return "dnat to " + t.To.String()
		}
		return fmt.Sprintf("dnat %s to %s", ofTarget(t), t.To)
	case redirect.SetMark:
		return fmt.Sprintf("meta mark set %d", t.Value)
	case redirect.SaveMark:
		return "ct mark set meta mark"
	case redirect.RestoreMark:
		return "meta mark set ct mark"
	case redirect.CTZone:
		return fmt.Sprintf("ct original zone set %d", t.Zone)
	default:
		panic(fmt.Sprintf("nftables: target %T", t))
	}
}

// ifaceWord quotes a name; "+" at the end is nft's "*", and a "*" there is none.
func ifaceWord(i redirect.Iface) string {
	if prefix, ok := strings.CutSuffix(string(i), "+"); ok {
		return `"` + prefix + `*"`
	}
	if name, ok := strings.CutSuffix(string(i), "*"); ok {
		return `"` + name + `\*"`
	}
	return `"` + string(i) + `"`
}

// prefixWords says one prefix as it is, and more as what the set will hold.
func prefixWords(of []netip.Prefix) string {
	if len(of) == 1 {
		return prefixWord(of[0])
	}
	var words []string
	for _, i := range ofPrefixes(of) {
		words = append(words, addrsWord(i))
	}
	return oneOrSet(words)
}

func prefixWord(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.Masked().String()
}

// addrsWord is an address, a prefix where the interval is one, or a range.
func addrsWord(i interval) string {
	first, _ := netip.AddrFromSlice(i.first)
	last, _ := netip.AddrFromSlice(i.last)
	for bits := first.BitLen(); bits >= 0; bits-- {
		p := netip.PrefixFrom(first, bits)
		if p.Masked().Addr() != first {
			break
		}
		if string(ofPrefixes([]netip.Prefix{p})[0].last) == string(i.last) {
			return prefixWord(p)
		}
	}
	return first.String() + "-" + last.String()
}

func numberWords(of []interval) string {
	words := make([]string, 0, len(of))
	for _, i := range of {
		if i.single() {
			words = append(words, numberWord(i.first))
			continue
		}
		words = append(words, numberWord(i.first)+"-"+numberWord(i.last))
	}
	return oneOrSet(words)
}

func numberWord(v []byte) string {
	if len(v) == 2 {
		return strconv.Itoa(int(binary.BigEndian.Uint16(v)))
	}
	return strconv.FormatUint(uint64(binary.BigEndian.Uint32(v)), 10)
}

func oneOrSet(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return "{ " + strings.Join(words, ", ") + " }"
}

func stateWords(s redirect.CTStates) string {
	var words []string
	for _, w := range []struct {
		state redirect.CTStates
		name  string
	}{{redirect.CTInvalid, "invalid"}, {redirect.CTEstablished, "established"}, {redirect.CTRelated, "related"}, {redirect.CTNew, "new"}} {
		if s&w.state != 0 {
			words = append(words, w.name)
		}
	}
	return strings.Join(words, ",")
}
