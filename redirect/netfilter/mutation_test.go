package netfilter_test

import (
	"os"
	"slices"
	"testing"

	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/netfilter"
	"github.com/detour-cni/detour/redirect/redirecttest"
)

// TestMutationKernel takes each rule of the defaults out in turn, and the kernel
// must do something else with a packet that Trace says would notice: a table whose
// rows the judge cannot tell apart would prove nothing.
func TestMutationKernel(t *testing.T) {
	if os.Getenv("DETOUR_MUTATION") == "" {
		t.Skip("DETOUR_MUTATION is not set (make test-mutation)")
	}
	redirecttest.NeedsKernel(t)
	c := redirecttest.CaseOf(t, "envoy-defaults")
	rs, err := redirect.Compile(c.Spec)
	if err != nil {
		t.Fatal(err)
	}
	for m := range redirecttest.Mutants(rs) {
		t.Run(m.Lost.Why, func(t *testing.T) {
			t.Parallel()
			i := slices.IndexFunc(c.Rows, func(r redirecttest.Row) bool {
				return !redirect.Trace(m.RuleSet, r.Packet).Same(redirect.Trace(rs, r.Packet))
			})
			if i < 0 {
				t.Fatalf("no row notices the loss of %v", m)
			}
			row := c.Rows[i]
			for _, of := range []struct {
				rs   redirect.RuleSet
				lost bool
			}{{rs, false}, {m.RuleSet, true}} {
				pod := redirecttest.NewPod(t)
				if err := commit(netfilter.NFTables)(pod.Path, of.rs); err != nil {
					t.Fatal(err)
				}
				if err := pod.Try(c.Spec, row, row.Outcome(c.Spec)); (err != nil) != of.lost {
					t.Errorf("%v, rule lost %t: %v", row, of.lost, err)
				}
			}
		})
	}
}
