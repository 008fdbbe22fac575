package iptables

import (
	"slices"

	"github.com/detour-cni/detour/redirect"
)

// rules is what of one address family is ours: what we want, or what is there.
type rules struct{ tables []table }

// table holds our chains in one table, and the rules of other chains that jump to them.
type table struct {
	name   redirect.Table
	chains []chain
	jumps  []jump
}

type chain struct {
	name  string
	rules []line
}

// jump is a rule in a chain that is not ours.
type jump struct {
	chain string // where it stands: usually PREROUTING or OUTPUT
	at    int    // its number there, from 1
	to    string // our chain
	line
}

// line is a rule as iptables-save prints it, without the "-A CHAIN".
type line struct {
	text     string
	counters string // "[packets:bytes]", "" for none
}

// tableOrder is the order in which tables are sent. nat is last: it holds the
// stamp, so that where there is a stamp everything else was committed before.
var tableOrder = []redirect.Table{redirect.Raw, redirect.Mangle, redirect.NAT}

// rulesOf gives one family of a RuleSet. Chains that say nothing about the
// family, and those that only such chains jump to, are left out.
func rulesOf(rs redirect.RuleSet, v4 bool) rules {
	var of rules
	for _, name := range tableOrder {
		t := table{name: name}
		var reached []string
		for _, c := range rs.Chains {
			if c.Table != name || c.Hook == redirect.NoHook && !slices.Contains(reached, c.Name) {
				continue
			}
			lines, targets := chainLines(c, v4)
			if c.Hook != redirect.NoHook && len(lines) == 0 {
				continue
			}
			reached = append(reached, targets...)
			t.chains = append(t.chains, chain{c.Name, lines})
			if c.Hook != redirect.NoHook {
				t.jumps = append(t.jumps, jumpTo(c))
			}
		}
		if len(t.chains) > 0 {
			of.tables = append(of.tables, t)
		}
	}
	return of
}

// chainLines renders a chain, and names the chains that it jumps to.
func chainLines(c redirect.Chain, v4 bool) (lines []line, targets []string) {
	for _, r := range c.Rules {
		texts := ruleTexts(r, v4)
		for _, text := range texts {
			lines = append(lines, line{text: text})
		}
		if to, ok := r.Target.(redirect.Jump); ok && len(texts) > 0 {
			targets = append(targets, to.Chain)
		}
	}
	return lines, targets
}

// jumpTo is the rule that hangs a chain on its hook.
func jumpTo(c redirect.Chain) jump {
	why := "what arrives in the pod"
	if c.Hook == redirect.Output {
		why = "what the pod sends"
	}
	r := redirect.Rule{Target: redirect.Jump{Chain: c.Name}, Why: why}
	return jump{chain: string(c.Hook), at: 1, to: c.Name, line: line{text: ruleTexts(r, true)[0]}}
}

// with adds a chain that hangs on no hook.
func (r rules) with(c redirect.Chain) rules {
	lines, _ := chainLines(c, true)
	r.tables = slices.Clone(r.tables)
	i := slices.IndexFunc(r.tables, func(t table) bool { return t.name == c.Table })
	if i < 0 {
		i = len(r.tables)
		r.tables = append(r.tables, table{name: c.Table})
	}
	r.tables[i].chains = append(slices.Clone(r.tables[i].chains), chain{c.Name, lines})
	return r
}

// table gives the part in one table, empty where there is none.
func (r rules) table(name redirect.Table) table {
	for _, t := range r.tables {
		if t.name == name {
			return t
		}
	}
	return table{name: name}
}

func (r rules) empty() bool { return len(r.tables) == 0 }

func (t table) has(name string) bool {
	return slices.ContainsFunc(t.chains, func(c chain) bool { return c.name == name })
}

// same compares all but counters, and the places of jumps: another's rule before
// ours is not our concern.
func (t table) same(u table) bool {
	if len(t.chains) != len(u.chains) || len(t.jumps) != len(u.jumps) {
		return false
	}
	for _, c := range t.chains {
		i := slices.IndexFunc(u.chains, func(d chain) bool { return d.name == c.name })
		if i < 0 || !slices.EqualFunc(c.rules, u.chains[i].rules, line.same) {
			return false
		}
	}
	key := func(j jump) string { return j.chain + " " + j.text }
	return slices.Equal(sorted(t.jumps, key), sorted(u.jumps, key))
}

// samePlaces is same, and the jumps stand where they stood.
func (t table) samePlaces(u table) bool {
	place := func(a, b jump) bool { return a.chain == b.chain && a.at == b.at && a.line.same(b.line) }
	return t.same(u) && slices.EqualFunc(t.jumps, u.jumps, place)
}

func (l line) same(m line) bool { return l.text == m.text }

func sorted[T any](of []T, key func(T) string) []string {
	var keys []string
	for _, v := range of {
		keys = append(keys, key(v))
	}
	slices.Sort(keys)
	return keys
}
