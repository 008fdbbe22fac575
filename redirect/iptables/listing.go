package iptables

import (
	"slices"
	"sort"
	"strings"

	"github.com/detour-cni/detour/redirect"
)

// families is our rules in both address families.
type families struct{ v4, v6 rules }

func (f families) empty() bool { return f.v4.empty() && f.v6.empty() }

// same compares all but counters and places.
func (f families) same(g families) bool {
	return restoreText(f.v4, g.v4, table.same) == "" && restoreText(f.v6, g.v6, table.same) == ""
}

// listing gives the rules in the form in which they are compared: chains by
// family, table and name ("ip nat DETOUR_OUTPUT"), without the stamp's.
func (f families) listing() redirect.Listing {
	var l redirect.Listing
	for _, family := range []struct {
		name string
		rules
	}{{"ip", f.v4}, {"ip6", f.v6}} {
		for _, t := range family.tables {
			for _, c := range t.chains {
				if c.name != redirect.ChainStamp || t.name != redirect.NAT {
					l.Chains = append(l.Chains, t.listed(c, family.name))
				}
			}
		}
	}
	sort.Slice(l.Chains, func(i, j int) bool { return l.Chains[i].Name < l.Chains[j].Name })
	return l
}

// listed gives one chain. It hangs on every rule of somebody else's chain that
// jumps to it: one that is missing, doubled or narrowed shows.
func (t table) listed(c chain, family string) redirect.ListedChain {
	var attached []string
	for _, j := range t.jumps {
		if j.to == c.name {
			attached = append(attached, "-A "+j.chain+" "+j.text)
		}
	}
	slices.Sort(attached)
	of := redirect.ListedChain{Name: family + " " + string(t.name) + " " + c.name, Attached: strings.Join(attached, "; ")}
	for _, r := range c.rules {
		of.Rules = append(of.Rules, redirect.ListedRule{Text: r.text, Comment: comment(r.text)})
	}
	return of
}

// stamp reads the stamp. With strict both families must hold the very same one,
// as it was written; without, one that can be read is enough.
func (f families) stamp() *redirect.Stamp {
	for _, r := range []rules{f.v4, f.v6} {
		if s := r.stamp(); s != nil {
			return s
		}
	}
	return nil
}

// wholeStamp is the stamp if it stands unaltered in every family that holds
// chains of ours.
func (f families) wholeStamp() *redirect.Stamp {
	s := f.stamp()
	if s == nil {
		return nil
	}
	want := rules{}.with(s.Chain()).table(redirect.NAT).chains[0]
	for _, r := range []rules{f.v4, f.v6} {
		if r.empty() {
			continue
		}
		if c, ok := r.stampChain(); !ok || !slices.EqualFunc(c.rules, want.rules, line.same) {
			return nil
		}
	}
	return s
}

func (r rules) stampChain() (chain, bool) {
	chains := r.table(redirect.NAT).chains
	if i := slices.IndexFunc(chains, func(c chain) bool { return c.name == redirect.ChainStamp }); i >= 0 {
		return chains[i], true
	}
	return chain{}, false
}

func (r rules) stamp() *redirect.Stamp {
	c, ok := r.stampChain()
	if !ok {
		return nil
	}
	var comments []string
	for _, l := range c.rules {
		comments = append(comments, comment(l.text))
	}
	s, err := redirect.ParseStamp(comments)
	if err != nil {
		return nil // altered: as good as none
	}
	return &s
}
