// Package words says rules in few words, for people: in detour render and explain, in the
// demo's table and in the pages of docs/. What a backend is sent is nftables.Text and iptables.Render.
//
//	words.Match(rule.Match)   "on lo TCP of user 1337"
//	words.Target(rule.Target) "-> :15006"
//
// Be aware: a switch here lists every condition and target, like a backend's.
package words

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/detour-cni/detour/redirect"
)

// Match says all conditions of a rule.
func Match(m redirect.Match) string {
	var all []string
	for _, c := range m {
		all = append(all, cond(c))
	}
	if len(all) == 0 {
		return "anything"
	}
	return strings.Join(all, " ")
}

func cond(c redirect.Cond) string {
	switch c := c.(type) {
	case redirect.TCP:
		return "TCP"
	case redirect.UDP:
		return "UDP"
	case redirect.InIface:
		return "in by " + string(c.Iface)
	case redirect.OutIface:
		return "on " + string(c.Iface)
	case redirect.Src:
		return "from " + prefixes(c.Prefixes)
	case redirect.Dst:
		return "to " + prefixes(c.Prefixes)
	case redirect.DstPort:
		return "to " + List(c.Ports)
	case redirect.UID:
		return "of user " + List(c.IDs)
	case redirect.GID:
		return "of group " + List(c.IDs)
	case redirect.Mark:
		return fmt.Sprintf("marked %d", c.Value)
	case redirect.ConnMark:
		return fmt.Sprintf("of a connection marked %d", c.Value)
	case redirect.CTState:
		return states(c.States)
	case redirect.CTReply:
		return "of a connection that the pod has opened"
	case redirect.SYN:
		return "SYN"
	case redirect.LocalSrc:
		return "from an address of the pod"
	case redirect.TransparentSocket:
		return "held by a transparent socket"
	case redirect.Protocol:
		return strings.ToUpper(List(c.Protos))
	case redirect.SrcPort:
		return "from port " + List(c.Ports)
	case redirect.LocalDst:
		return "to an address of the pod"
	case redirect.Flags:
		return fmt.Sprintf("TCP flags & %#02x == %#02x", c.Mask, c.Set)
	case redirect.Fragment:
		return "a later fragment"
	case redirect.Not:
		return "not " + cond(c.Cond)
	case redirect.Opaque:
		return c.Text
	default:
		panic(fmt.Sprintf("words: condition %T", c))
	}
}

func states(s redirect.CTStates) string {
	var all []string
	for _, state := range []struct {
		bit  redirect.CTStates
		name string
	}{{redirect.CTInvalid, "invalid"}, {redirect.CTEstablished, "established"}, {redirect.CTRelated, "related"}, {redirect.CTNew, "new"}} {
		if s&state.bit != 0 {
			all = append(all, state.name)
		}
	}
	return "conntrack says " + strings.Join(all, " or ")
}

// Target says what a rule does.
func Target(t redirect.Target) string {
	switch t := t.(type) {
	case nil:
		return "counted"
	case redirect.Return:
		return "untouched"
	case redirect.Accept:
		return "accept"
	case redirect.Drop:
		return "drop"
	case redirect.Reject:
		return "reject"
	case redirect.Aside:
		return t.Text
	case redirect.Jump:
		return t.Chain
	case redirect.RedirectTo:
		return fmt.Sprintf("-> :%d", t.Port)
	case redirect.TProxyTo:
		return fmt.Sprintf("tproxy :%d", t.Port)
	case redirect.DNATTo:
		return "-> " + t.To.String()
	case redirect.SetMark:
		return fmt.Sprintf("mark %d", t.Value)
	case redirect.SaveMark:
		return "mark to connection"
	case redirect.RestoreMark:
		return "mark from connection"
	case redirect.CTZone:
		return fmt.Sprintf("zone %d", t.Zone)
	case redirect.OpaqueTarget:
		return t.Text
	default:
		panic(fmt.Sprintf("words: target %T", t))
	}
}

// List is items with commas between them.
func List[T fmt.Stringer](items []T) string {
	var all []string
	for _, i := range items {
		all = append(all, i.String())
	}
	return strings.Join(all, ",")
}

// prefixes leaves out the length of a single address.
func prefixes(of []netip.Prefix) string {
	if len(of) == 1 && of[0].Bits() == 0 {
		return map[bool]string{true: "any IPv4 address", false: "any IPv6 address"}[of[0].Addr().Is4()]
	}
	var all []string
	for _, p := range of {
		if p.IsSingleIP() {
			all = append(all, p.Addr().String())
			continue
		}
		all = append(all, p.String())
	}
	return strings.Join(all, ",")
}
