package nftables

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect"
)

// tableName is our table's, in whatever family.
const tableName = "detour"

// family is an nf_tables family (NFPROTO_…).
type family uint8

const (
	inet family = unix.NFPROTO_INET
	ip4  family = unix.NFPROTO_IPV4
	ip6  family = unix.NFPROTO_IPV6
)

func (f family) String() string {
	switch f {
	case inet:
		return "inet"
	case ip4:
		return "ip"
	case ip6:
		return "ip6"
	}
	return fmt.Sprintf("family %d", uint8(f))
}

// ours reports whether f is a family in which a table of our name is ours.
func (f family) ours() bool { return f == inet || f == ip4 || f == ip6 }

// familyOf is the one that carries a RuleSet.
func familyOf(rs redirect.RuleSet) family {
	switch {
	case !rs.V6():
		return ip4
	case !rs.V4():
		return ip6
	default:
		return inet
	}
}

// table is a RuleSet in the kernel's terms.
type table struct {
	family family
	chains []chain
}

type chain struct {
	name  string
	base  *base // nil: only jumped to
	rules []rule
}

// base is where a chain hangs.
type base struct {
	typ      string
	hook     uint32
	priority int32
}

type rule struct {
	exprs   []expr
	comment string
	of      int // the Rule of the RuleSet's chain that it renders
}

// build says a RuleSet in the kernel's terms, for one family of tables. What is
// of an address family that the table does not have is left out.
func build(rs redirect.RuleSet, f family) table {
	t := table{family: f}
	for _, c := range rs.Chains {
		t.chains = append(t.chains, buildChain(c, f))
	}
	return t
}

func buildChain(c redirect.Chain, f family) chain {
	out := chain{name: c.Name, base: baseOf(c.Table, c.Hook)}
	for i, r := range c.Rules {
		for _, h := range halves(r, f) {
			out.rules = append(out.rules, rule{exprs: renderRule(h, f), comment: r.Comment(), of: i})
		}
	}
	return out
}

// The priorities are nft's dstnat, mangle and raw. In OUTPUT nat is at -100 as
// well (iptables'), and mangle must be of type route: a changed mark then asks
// for the route again.
const prioNAT, prioMangle, prioRaw = -100, -150, -300

func baseOf(t redirect.Table, h redirect.Hook) *base {
	var hook uint32
	switch h {
	case redirect.NoHook:
		return nil
	case redirect.Prerouting:
		hook = unix.NF_INET_PRE_ROUTING
	case redirect.Output:
		hook = unix.NF_INET_LOCAL_OUT
	default:
		panic(fmt.Sprintf("nftables: hook %q", h))
	}
	switch t {
	case redirect.NAT:
		return &base{"nat", hook, prioNAT}
	case redirect.Raw:
		return &base{"filter", hook, prioRaw}
	case redirect.Mangle:
		if h == redirect.Output {
			return &base{"route", hook, prioMangle}
		}
		return &base{"filter", hook, prioMangle}
	default:
		panic(fmt.Sprintf("nftables: table %q", t))
	}
}

// half is a Rule for one address family, or for all where it names no address.
type half struct {
	match  redirect.Match
	target redirect.Target
	family family // inet: both
}

// halves gives the rules that a Rule is in the kernel: two where it has
// prefixes of both families, none where it has only those of another.
func halves(r redirect.Rule, f family) []half {
	only := ofTarget(r.Target)
	if only == inet && !hasPrefixes(r.Match) {
		return []half{{r.Match, r.Target, inet}}
	}
	var of []half
	for _, v := range []family{ip4, ip6} {
		if f != inet && f != v || only != inet && only != v {
			continue
		}
		if m, ok := narrow(r.Match, v == ip4); ok {
			of = append(of, half{m, r.Target, v})
		}
	}
	return of
}

// ofTarget is the family that a target speaks of, inet for any.
func ofTarget(t redirect.Target) family {
	to, ok := t.(redirect.DNATTo)
	switch {
	case !ok:
		return inet
	case to.To.Addr().Is4():
		return ip4
	default:
		return ip6
	}
}

func hasPrefixes(m redirect.Match) bool {
	for _, c := range m {
		switch c.(type) {
		case redirect.Src, redirect.Dst:
			return true
		}
	}
	return false
}

// narrow leaves the prefixes of one family; false where a list has none.
func narrow(m redirect.Match, v4 bool) (redirect.Match, bool) {
	out := make(redirect.Match, 0, len(m))
	for _, c := range m {
		switch of := c.(type) {
		case redirect.Src:
			c = redirect.Src{Prefixes: redirect.FamilyOf(of.Prefixes, v4)}
			if len(c.(redirect.Src).Prefixes) == 0 {
				return nil, false
			}
		case redirect.Dst:
			c = redirect.Dst{Prefixes: redirect.FamilyOf(of.Prefixes, v4)}
			if len(c.(redirect.Dst).Prefixes) == 0 {
				return nil, false
			}
		}
		out = append(out, c)
	}
	return out, true
}

// all reports whether the prefixes hold every address of their family.
func all(prefixes []netip.Prefix) bool {
	for _, p := range prefixes {
		if p.Bits() == 0 {
			return true
		}
	}
	return false
}
