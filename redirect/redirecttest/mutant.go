package redirecttest

import (
	"fmt"
	"iter"
	"slices"

	"github.com/detour-cni/detour/redirect"
)

// Mutant is a RuleSet that has lost one rule, or what keeps SYNs from it.
type Mutant struct {
	RuleSet redirect.RuleSet
	Chain   string
	Index   int // of the rule in its chain, from 0
	Lost    redirect.Rule
	// SYN: the rule is there, without its condition on SYN.
	SYN bool
}

func (m Mutant) String() string {
	return fmt.Sprintf("rule %d: %s", m.Index, m.Rule())
}

// Rule names the rule by its chain and all of itself: two cases that have the
// same rule in the same chain give the same text.
func (m Mutant) Rule() string {
	lost := ""
	if m.SYN {
		lost = ": its condition on SYN"
	}
	return fmt.Sprintf("%s %#v %#v (%s)%s", m.Chain, m.Lost.Match, m.Lost.Target, m.Lost.Why, lost)
}

// Mutants gives one RuleSet for each rule, without that rule; and one for each rule that
// says no SYN, without these words.
func Mutants(rs redirect.RuleSet) iter.Seq[Mutant] {
	return func(yield func(Mutant) bool) {
		for c, chain := range rs.Chains {
			for i, rule := range chain.Rules {
				m := Mutant{RuleSet: rs, Chain: chain.Name, Index: i, Lost: rule}
				m.RuleSet.Chains = slices.Clone(rs.Chains)
				m.RuleSet.Chains[c].Rules = slices.Delete(slices.Clone(chain.Rules), i, i+1)
				if !yield(m) {
					return
				}
				if match := withoutSYN(rule.Match); len(match) < len(rule.Match) {
					m.SYN = true
					m.RuleSet.Chains[c].Rules = slices.Clone(chain.Rules)
					m.RuleSet.Chains[c].Rules[i].Match = match
					if !yield(m) {
						return
					}
				}
			}
		}
	}
}

func withoutSYN(m redirect.Match) redirect.Match {
	return slices.DeleteFunc(slices.Clone(m), func(c redirect.Cond) bool { return c == redirect.Cond(redirect.Not{Cond: redirect.SYN{}}) })
}
