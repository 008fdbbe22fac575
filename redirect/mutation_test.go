package redirect_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/redirecttest"
)

// TestMutationTrace removes each rule of each case in turn. Some packet must
// notice, or nothing says why the rule is there:
//
//   - of some file whose own rules have that very rule in that chain, so that a
//     table's wants pin it down;
//   - in each case, some packet of any table, so that it does not stand in a
//     rule set where others already do its work.
func TestMutationTrace(t *testing.T) {
	if os.Getenv("DETOUR_MUTATION") == "" {
		t.Skip("DETOUR_MUTATION is not set (make test-mutation)")
	}
	cases := redirecttest.Cases(t)
	var every []redirecttest.Row
	for _, c := range cases {
		every = append(every, c.Rows...)
	}
	pinned := map[string]bool{} // by a table of its own
	for _, c := range cases {
		rs, err := redirect.Compile(c.Spec)
		if err != nil {
			t.Fatalf("%s: %v", c.Name, err)
		}
		for m := range redirecttest.Mutants(rs) {
			pinned[m.Rule()] = pinned[m.Rule()] || notices(c.Rows, rs, m)
			if !notices(every, rs, m) {
				t.Errorf("%s: no packet of any table notices the loss of %v", c.Name, m)
			}
		}
	}
	for rule, ok := range pinned {
		if !ok {
			t.Errorf("no table of a case with it notices the loss of %s", rule)
		}
	}
}

// notices reports whether a packet ends otherwise, also if the case's second
// interface were called as one that the rules name.
func notices(rows []redirecttest.Row, rs redirect.RuleSet, m redirecttest.Mutant) bool {
	names := ifacesOf(rs)
	return slices.ContainsFunc(rows, func(r redirecttest.Row) bool {
		return changes(rs, m, r.Packet) || r.Packet.In != "eth0" && slices.ContainsFunc(names, func(name string) bool {
			return changes(rs, m, through(name, r.Packet))
		})
	})
}

func changes(rs redirect.RuleSet, m redirecttest.Mutant, p redirect.Packet) bool {
	return !redirect.Trace(m.RuleSet, p).Same(redirect.Trace(rs, p))
}

// ifacesOf gives a name for each interface that the rules ask for, besides lo.
func ifacesOf(rs redirect.RuleSet) []string {
	var names []string
	for _, chain := range rs.Chains {
		for _, rule := range chain.Rules {
			for _, c := range rule.Match {
				var name redirect.Iface
				switch c := c.(type) {
				case redirect.InIface:
					name = c.Iface
				case redirect.OutIface:
					name = c.Iface
				}
				if text := strings.Replace(string(name), "+", "q7", 1); text != "" && text != "lo" && !slices.Contains(names, text) {
					names = append(names, text)
				}
			}
		}
	}
	return names
}

// through gives the packet as if the second interface were called so: a case has
// one such interface, and its rules may name several.
func through(name string, p redirect.Packet) redirect.Packet {
	if p.In != "" && p.In != "eth0" {
		p.In = name
	}
	if p.Out != "" && p.Out != "eth0" && p.Out != "lo" {
		p.Out = name
	}
	return p
}
