package iptables

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/detour-cni/detour/redirect"
)

// Text is what iptables-restore --noflush is sent for one address family, when
// nothing of ours is there yet; without the stamp. "" where the RuleSet says
// nothing about the family.
func Text(rs redirect.RuleSet, v4 bool) string {
	if v4 && !rs.V4() || !v4 && !rs.V6() {
		return ""
	}
	return restoreText(rules{}, rulesOf(rs, v4), table.same)
}

// restoreText is the way from what is there to what is wanted, in the language
// of iptables-restore --noflush. Each table is one transaction, in which jumps go,
// chains are emptied and filled again, and jumps come back; tables that are alike
// are left out.
func restoreText(have, want rules, alike func(table, table) bool) string {
	var b strings.Builder
	for _, name := range tableOrder {
		is, wanted := have.table(name), want.table(name)
		if alike(is, wanted) {
			continue
		}
		fmt.Fprintf(&b, "*%s\n", name)
		for _, c := range wanted.chains {
			fmt.Fprintf(&b, ":%s - [0:0]\n", c.name) // makes it, or empties it
		}
		detach(&b, is, wanted)
		for _, c := range wanted.chains {
			for _, r := range c.rules {
				fmt.Fprintf(&b, "%s-A %s %s\n", r.prefix(), c.name, r.text)
			}
		}
		for _, j := range inPlace(wanted.jumps) {
			fmt.Fprintf(&b, "%s-I %s %d %s\n", j.prefix(), j.chain, j.at, j.text)
		}
		b.WriteString("COMMIT\n")
	}
	return b.String()
}

// detach takes out the jumps, and the chains that are not wanted any more: all
// are emptied before the first is deleted, because they jump to each other.
func detach(b *strings.Builder, is, wanted table) {
	for _, j := range is.jumps {
		fmt.Fprintf(b, "-D %s %s\n", j.chain, j.text)
	}
	var stale []string
	for _, c := range is.chains {
		if !wanted.has(c.name) {
			stale = append(stale, c.name)
			fmt.Fprintf(b, "-F %s\n", c.name)
		}
	}
	for _, name := range stale {
		fmt.Fprintf(b, "-X %s\n", name)
	}
}

// inPlace gives jumps in the order in which each is inserted at its final number.
func inPlace(jumps []jump) []jump {
	order := slices.Clone(jumps)
	sort.SliceStable(order, func(i, j int) bool { return order[i].at < order[j].at })
	return order
}

// prefix is the counters, where there are some, as iptables-restore takes them.
func (l line) prefix() string {
	if l.counters == "" {
		return ""
	}
	return l.counters + " "
}
