package iptables

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/detour-cni/detour/redirect"
)

// maxMultiport is how many ports one multiport match holds, a range counting as
// two (XT_MULTI_PORTS, linux/netfilter/xt_multiport.h).
const maxMultiport = 15

// parts are the pieces of one rule, in the order in which iptables-save prints
// them: what we send has to be what we read back.
type parts struct {
	src, dst, in, out, proto string
	port                     string
	matches                  string
}

func (p parts) String() string {
	return p.src + p.dst + p.in + p.out + p.proto + p.port + p.matches
}

// ruleTexts gives the rules that one Rule needs in one address family, without
// the "-A CHAIN": one for each combination of members of its lists, because
// iptables has no sets. None where the Rule says nothing about this family.
func ruleTexts(r redirect.Rule, v4 bool) []string {
	target, ok := targetText(r.Target, v4)
	if !ok {
		return nil
	}
	proto := ""
	for _, c := range r.Match {
		switch c.(type) {
		case redirect.TCP:
			proto = "tcp"
		case redirect.UDP:
			proto = "udp"
		}
	}
	all := []parts{{}}
	for _, c := range r.Match {
		all = combine(all, condTexts(c, proto, v4))
	}
	var texts []string
	for _, p := range all {
		texts = append(texts, strings.TrimPrefix(p.String()+" -m comment --comment "+quote(r.Comment())+target, " "))
	}
	return texts
}

// piece puts one way for a condition to hold into a rule.
type piece func(*parts)

// combine gives every rule in every way.
func combine(rules []parts, ways []piece) []parts {
	var all []parts
	for _, way := range ways {
		for _, r := range rules {
			way(&r)
			all = append(all, r)
		}
	}
	return all
}

// condTexts gives the ways in which a condition holds; none where it cannot in
// this family.
func condTexts(c redirect.Cond, proto string, v4 bool) []piece {
	switch c := c.(type) {
	case redirect.TCP, redirect.UDP:
		return []piece{func(p *parts) { p.proto = " -p " + proto }}
	case redirect.InIface:
		return []piece{func(p *parts) { p.in = " -i " + ifaceText(c.Iface) }}
	case redirect.OutIface:
		return []piece{func(p *parts) { p.out = " -o " + ifaceText(c.Iface) }}
	case redirect.Src:
		return each(prefixTexts(c.Prefixes, " -s ", v4), func(p *parts, text string) { p.src = text })
	case redirect.Dst:
		return each(prefixTexts(c.Prefixes, " -d ", v4), func(p *parts, text string) { p.dst = text })
	case redirect.DstPort:
		return each(portTexts(c.Ports, proto), func(p *parts, text string) { p.port = text })
	case redirect.UID:
		return each(ownerTexts(c.IDs, "--uid-owner"), (*parts).match)
	case redirect.GID:
		return each(ownerTexts(c.IDs, "--gid-owner"), (*parts).match)
	case redirect.Mark:
		return each([]string{fmt.Sprintf(" -m mark --mark %#x", c.Value)}, (*parts).match)
	case redirect.ConnMark:
		return each([]string{fmt.Sprintf(" -m connmark --mark %#x", c.Value)}, (*parts).match)
	case redirect.CTState:
		return each([]string{" -m conntrack --ctstate " + stateNames(c.States)}, (*parts).match)
	case redirect.LocalSrc:
		return each([]string{" -m addrtype --src-type LOCAL"}, (*parts).match)
	case redirect.CTReply:
		return each([]string{" -m conntrack --ctdir REPLY"}, (*parts).match)
	case redirect.SYN:
		return each([]string{" -m tcp" + synText}, (*parts).match)
	case redirect.TransparentSocket:
		return each([]string{" -m socket --transparent"}, (*parts).match)
	case redirect.Not:
		return each(notTexts(c), (*parts).match)
	default:
		panic(fmt.Sprintf("iptables: condition %T", c))
	}
}

// synText is what iptables-save prints for --syn. In a rule with a DstPort of a single
// range both would be of one "-m tcp"; no rule has both.
const synText = " --tcp-flags FIN,SYN,RST,ACK SYN"

// ifaceText is the name as it is, as iptables-save prints it. Only a double quote
// must be escaped, or it would take the rest of the line for a name; Commit
// refuses such names, because iptables-save does not escape it.
func ifaceText(name redirect.Iface) string {
	if strings.Contains(string(name), `"`) {
		return quote(string(name))
	}
	return string(name)
}

// match appends an extension's match.
func (p *parts) match(text string) { p.matches += text }

func each(texts []string, put func(*parts, string)) []piece {
	var ways []piece
	for _, t := range texts {
		ways = append(ways, func(p *parts) { put(p, t) })
	}
	return ways
}

// notTexts knows the one negation that Compile makes.
func notTexts(n redirect.Not) []string {
	switch c := n.Cond.(type) {
	case redirect.LocalSrc:
		return []string{" -m addrtype ! --src-type LOCAL"}
	case redirect.SYN:
		return []string{" -m tcp !" + synText}
	default:
		panic(fmt.Sprintf("iptables: condition not %T", c))
	}
}

func prefixTexts(prefixes []netip.Prefix, flag string, v4 bool) []string {
	var texts []string
	for _, p := range redirect.FamilyOf(prefixes, v4) {
		if p.Bits() == 0 {
			texts = append(texts, "") // every address: iptables-save prints nothing
			continue
		}
		texts = append(texts, flag+addrText(p.Addr())+"/"+strconv.Itoa(p.Bits()))
	}
	return texts
}

// addrText is the address as inet_ntop(3) prints it, which iptables-save does:
// addresses of ::/96 with more than 16 bits set end in IPv4 notation.
func addrText(a netip.Addr) string {
	if a.Is4() {
		return a.String()
	}
	b := a.As16()
	high, low := [12]byte(b[:12]), [4]byte(b[12:])
	if high == [12]byte{} && binary.BigEndian.Uint16(low[:]) != 0 {
		return "::" + netip.AddrFrom4(low).String()
	}
	return a.String()
}

// portTexts gives as many matches as the ports need.
func portTexts(ports []redirect.PortRange, proto string) []string {
	var texts []string
	for chunk := range chunks(ports) {
		if len(chunk) == 1 {
			texts = append(texts, " -m "+proto+" --dport "+portText(chunk[0]))
			continue
		}
		var list []string
		for _, r := range chunk {
			list = append(list, portText(r))
		}
		texts = append(texts, " -m multiport --dports "+strings.Join(list, ","))
	}
	return texts
}

// chunks cuts ports into what one multiport match holds.
func chunks(ports []redirect.PortRange) func(func([]redirect.PortRange) bool) {
	return func(yield func([]redirect.PortRange) bool) {
		for len(ports) > 0 {
			n, room := 0, maxMultiport
			for n < len(ports) && slots(ports[n]) <= room {
				room -= slots(ports[n])
				n++
			}
			if !yield(ports[:n]) {
				return
			}
			ports = ports[n:]
		}
	}
}

func slots(r redirect.PortRange) int {
	if r.First == r.Last {
		return 1
	}
	return 2
}

func portText(r redirect.PortRange) string {
	return strings.Replace(r.String(), "-", ":", 1)
}

func ownerTexts(ids []redirect.IDRange, flag string) []string {
	var texts []string
	for _, r := range ids {
		texts = append(texts, " -m owner "+flag+" "+r.String())
	}
	return texts
}

// stateNames lists conntrack states in the order of iptables-save.
func stateNames(s redirect.CTStates) string {
	var names []string
	for _, state := range []struct {
		bit  redirect.CTStates
		name string
	}{
		{redirect.CTInvalid, "INVALID"}, {redirect.CTNew, "NEW"},
		{redirect.CTRelated, "RELATED"}, {redirect.CTEstablished, "ESTABLISHED"},
	} {
		if s&state.bit != 0 {
			names = append(names, state.name)
		}
	}
	return strings.Join(names, ",")
}

// targetText gives " -j …"; not ok where the target is of the other family.
func targetText(t redirect.Target, v4 bool) (text string, ok bool) {
	switch t := t.(type) {
	case redirect.Return:
		return " -j RETURN", true
	case redirect.Accept:
		return " -j ACCEPT", true
	case redirect.Drop:
		return " -j DROP", true
	case redirect.Jump:
		return " -j " + t.Chain, true
	case redirect.RedirectTo:
		return fmt.Sprintf(" -j REDIRECT --to-ports %d", t.Port), true
	case redirect.TProxyTo:
		any := "::"
		if v4 {
			any = "0.0.0.0"
		}
		return fmt.Sprintf(" -j TPROXY --on-port %d --on-ip %s --tproxy-mark %#x/0xffffffff", t.Port, any, t.Mark), true
	case redirect.DNATTo:
		to := t.To.String()
		if !v4 {
			to = "[" + addrText(t.To.Addr()) + "]:" + strconv.Itoa(int(t.To.Port()))
		}
		return " -j DNAT --to-destination " + to, t.To.Addr().Is4() == v4
	case redirect.SetMark:
		return fmt.Sprintf(" -j MARK --set-xmark %#x/0xffffffff", t.Value), true
	case redirect.SaveMark:
		return " -j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff", true
	case redirect.RestoreMark:
		return " -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff", true
	case redirect.CTZone:
		return fmt.Sprintf(" -j CT --zone-orig %d", t.Zone), true
	default:
		panic(fmt.Sprintf("iptables: target %T", t))
	}
}

// quote writes a comment as iptables-save does: a backslash before ", \ and '.
// A line break would begin a command of its own: control characters become "?".
func quote(comment string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(comment) {
		switch {
		case c < ' ' || c == 0x7f:
			c = '?'
		case slices.Contains([]byte(`"\'`), c):
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	b.WriteByte('"')
	return b.String()
}
