package redirect_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/redirecttest"
)

// TestCasesTrace judges every packet of every rule case by Trace. The kernel
// judges the same rows in redirect/netfilter.
func TestCasesTrace(t *testing.T) {
	for _, c := range redirecttest.Cases(t) {
		t.Run(c.Name, func(t *testing.T) {
			rs, err := redirect.Compile(c.Spec)
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range c.Rows {
				got, want := redirect.Trace(rs, row.Packet), row.Outcome(c.Spec)
				if !got.Same(want) {
					t.Errorf("%v\n\tgot  %s\n\twant %s\n%s", row, outcome(got), outcome(want), steps(got))
				}
			}
		})
	}
}

func outcome(o redirect.Outcome) string {
	return fmt.Sprintf("%s port %d to %v mark %d saved %d zone %d", o.Verdict, o.Port, o.To, o.Mark, o.Saved, o.Zone)
}

func steps(o redirect.Outcome) string {
	var b strings.Builder
	for _, s := range o.Steps {
		fmt.Fprintf(&b, "\t\t%-8s %s %s[%d] %v\n", s.Matched, s.Table, s.Chain, s.Index, s.Rule)
	}
	return b.String()
}

// TestCasesCoverEveryKey wants each key of a Spec in some case, with a value
// other than the Envoy default.
func TestCasesCoverEveryKey(t *testing.T) {
	cases := redirecttest.Cases(t)
	for _, k := range redirect.Keys() {
		usual := k.Get(redirect.EnvoyDefaults())
		covered := slices.ContainsFunc(cases, func(c redirecttest.Case) bool { return !slices.Equal(k.Get(c.Spec), usual) })
		if !covered {
			t.Errorf("%s: no case in testdata/rules has it", k.Name)
		}
	}
}

// TestCasesDefaults wants the breadth that the defaults deserve.
func TestCasesDefaults(t *testing.T) {
	if n := len(redirecttest.CaseOf(t, "envoy-defaults").Rows); n < 90 {
		t.Errorf("envoy-defaults: %d rows (want at least 90)", n)
	}
}
