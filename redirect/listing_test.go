package redirect_test

import (
	"testing"

	"github.com/detour-cni/detour/redirect"
)

// TestAnotherVersionThatMakesTheSameRulesHasNotMoved: what a pod has is what ADD would give it.
func TestAnotherVersionThatMakesTheSameRulesHasNotMoved(t *testing.T) {
	rules := redirect.Listing{Chains: []redirect.ListedChain{{Name: "DETOUR_OUTPUT", Rules: []redirect.ListedRule{{Text: "return"}}}}}
	stamp := &redirect.Stamp{Version: redirect.RulesVersion - 1, Digest: rules.Digest()}
	if moved, err := redirect.Check(rules, rules, stamp); moved || err != nil {
		t.Errorf("moved on %t, %v", moved, err)
	}
	others := redirect.Listing{}
	if moved, err := redirect.Check(others, rules, stamp); !moved || err != nil {
		t.Errorf("for others: moved on %t, %v", moved, err)
	}
}
