// Package live reads every rule that a packet meets in the current network namespace,
// whoever wrote it: nf_tables over netlink (rules of iptables-nft among them, which have xt
// payloads), and the legacy tables by getsockopt, where the kernel has them already. It needs no
// iptables binary, and makes no table, rule or module that was not there.
//
//	err := netfilter.Look(path, func() error { rules, err = live.Read(); return err })
//	redirect.Trace(rules.RuleSet(), packet)
//
// What cannot be interpreted becomes redirect.Opaque or redirect.OpaqueTarget, and what
// cannot be read is named in Unread: nothing is ever shown as empty that is not.
package live

import (
	"slices"
	"strings"

	"github.com/detour-cni/detour/redirect"
)

// Rules is what is in a namespace.
type Rules struct {
	Chains []Chain
	// Unread names what is there and was not read, for people.
	Unread []string
}

// Chain is a chain with what its rules have counted.
type Chain struct {
	redirect.Chain
	// Counts has one for each rule.
	Counts []Count
}

// Count is what a rule has counted; Counted is false where it has no counter.
type Count struct {
	Packets, Bytes uint64
	Counted        bool
}

// Ours reports whether the chain is one of detour's.
func (c Chain) Ours() bool {
	return c.Live.Scope == "nf_tables inet detour" || c.Live.Scope == "nf_tables ip detour" || strings.HasPrefix(c.Name, "DETOUR_")
}

// RuleSet is the rules as [redirect.Trace] takes them.
func (r Rules) RuleSet() redirect.RuleSet {
	rs := redirect.RuleSet{Families: redirect.FamiliesAuto}
	for _, c := range r.Chains {
		rs.Chains = append(rs.Chains, c.Chain)
	}
	return rs
}

// Count is the counter of the rule that a step of [redirect.Trace] was at.
func (r Rules) Count(s redirect.Step) Count {
	for _, c := range r.Chains {
		if c.Live != nil && c.Live.Scope == s.Scope && c.Name == s.Chain && s.Index < len(c.Counts) {
			return c.Counts[s.Index]
		}
	}
	return Count{}
}

// Read reads the current namespace.
func Read() (Rules, error) {
	r, err := readNFTables()
	if err != nil {
		return r, err
	}
	legacy := readLegacy()
	r.Chains = append(r.Chains, legacy.Chains...)
	r.Unread = append(r.Unread, legacy.Unread...)
	// Those on a hook first, in the order of a packet's way.
	slices.SortStableFunc(r.Chains, func(a, b Chain) int {
		return place(a) - place(b)
	})
	return r, nil
}

func place(c Chain) int {
	i := slices.Index([]redirect.Hook{redirect.Prerouting, redirect.Input, redirect.Forward, redirect.Output, redirect.Postrouting}, c.Hook)
	if i < 0 {
		return 1 << 20
	}
	return i*10_000 + min(max(c.Live.Priority, -1000), 1000)
}

// hookNames are netfilter's, by number (NF_INET_PRE_ROUTING and so on).
var hookNames = [...]redirect.Hook{redirect.Prerouting, redirect.Input, redirect.Forward, redirect.Output, redirect.Postrouting}
