package netfilter

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/iptables"
	"github.com/detour-cni/detour/redirect/nftables"
)

// kernelBackends are those that a node can have.
var kernelBackends = []Backend{NFTables, IPTablesNFT, IPTablesLegacy}

func TestParseBackendKnowsItsNames(t *testing.T) {
	for _, tc := range []struct {
		in, err string
		want    Backend
	}{
		{in: "", want: Auto},
		{in: "auto", want: Auto},
		{in: "nftables", want: NFTables},
		{in: "iptables", want: IPTables},
		{in: "iptables-nft", want: IPTablesNFT},
		{in: "iptables-legacy", want: IPTablesLegacy},
		{in: "nft", err: `"nft": unknown (want auto, nftables, iptables, iptables-nft or iptables-legacy)`},
		{in: "Auto", err: `"Auto": unknown (want auto, nftables, iptables, iptables-nft or iptables-legacy)`},
	} {
		got, err := ParseBackend(tc.in)
		if got != tc.want || err != nil && err.Error() != tc.err || err == nil && tc.err != "" {
			t.Errorf("%q: %q, %v", tc.in, got, err)
		}
	}
}

// everyRule is what all backends hold, our chains only.
func everyRule(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, line := range []string{"nft list tables", "iptables-nft-save", "ip6tables-nft-save", "iptables-legacy-save", "ip6tables-legacy-save"} {
		for l := range strings.Lines(command(t, line)) {
			if strings.Contains(l, "DETOUR") || strings.Contains(l, "detour") {
				b.WriteString(line + ": " + l)
			}
		}
	}
	return b.String()
}

func TestEveryBackendInstallsVerifiesAndRemoves(t *testing.T) {
	for _, b := range kernelBackends {
		for name, lines := range worlds {
			t.Run(fmt.Sprintf("%s, %s", b, name), func(t *testing.T) {
				enterPod(t, lines...)
				rs := ruleSet(t, tproxy)
				if got := mustCommit(t, rs, b); got.Backend != b || got.Change != redirect.Installed {
					t.Errorf("first: %+v", got)
				}
				before := everyRule(t)
				if got := mustCommit(t, rs, b); got.Backend != b || got.Change != redirect.Unchanged {
					t.Errorf("second: %+v", got)
				}
				if diff := cmp.Diff(before, everyRule(t)); diff != "" {
					t.Errorf("a second ADD: -before +after:\n%s", diff)
				}
				for _, asked := range append(kernelBackends, Auto, IPTables) {
					if moved, err := verify(rs, asked); moved || err != nil {
						t.Errorf("verify, as configured %s: %v, %v", asked, moved, err)
					}
				}
				moved, err := verify(ruleSet(t, nil), b)
				if !moved || err != nil {
					t.Errorf("verify against another Spec: %v, %v (want it to have moved on, and no more)", moved, err)
				}
				if removed, err := remove(owner); !removed || err != nil {
					t.Errorf("remove: %v, %v", removed, err)
				}
				if left := everyRule(t); left != "" {
					t.Errorf("left behind:\n%s", left)
				}
			})
		}
	}
}

// version1 is what RulesVersion 1 had for tproxy: SYNs were taken for parts of connections.
func version1(rs redirect.RuleSet) redirect.RuleSet {
	rs.Chains = slices.Clone(rs.Chains)
	for i, c := range rs.Chains {
		rs.Chains[i].Rules = slices.Clone(c.Rules)
		for j, r := range c.Rules {
			var match redirect.Match
			for _, cond := range r.Match {
				if cond := any(cond); cond == any(redirect.CTReply{}) {
					match = append(match, redirect.CTState{States: redirect.CTEstablished | redirect.CTRelated})
				} else if cond != any(redirect.Not{Cond: redirect.SYN{}}) {
					match = append(match, cond.(redirect.Cond))
				}
			}
			rs.Chains[i].Rules[j].Match = match
		}
	}
	return rs
}

// TestAPodOfTheRulesBeforePassesCHECK: CHECK after an upgrade must not restart it. A
// second ADD is what mends its rules.
func TestAPodOfTheRulesBeforePassesCHECK(t *testing.T) {
	for _, b := range kernelBackends {
		t.Run(string(b), func(t *testing.T) {
			enterPod(t, dual()...)
			now := ruleSet(t, tproxy)
			before := version1(now)
			mustCommit(t, before, b)
			if moved, err := verify(now, b); !moved || err != nil {
				t.Errorf("verify: moved on %t, %v", moved, err)
			}
			if got := mustCommit(t, now, b); got.Change != redirect.Replaced {
				t.Errorf("a second ADD: %+v", got)
			}
			if moved, err := verify(now, b); moved || err != nil {
				t.Errorf("verify after a second ADD: moved on %t, %v", moved, err)
			}
		})
	}
}

// eachSwitch tries every backend after every other, each in a pod of its own.
func eachSwitch(t *testing.T, try func(t *testing.T, first, second Backend)) {
	for _, first := range kernelBackends {
		for _, second := range kernelBackends {
			if first == second {
				continue
			}
			t.Run(fmt.Sprintf("%s, then %s", first, second), func(t *testing.T) {
				enterPod(t, dual()...)
				try(t, first, second)
			})
		}
	}
}

func TestABackendSwitchedBetweenTwoADDsLeavesNothingOfTheFirst(t *testing.T) {
	eachSwitch(t, func(t *testing.T, first, second Backend) {
		rs := ruleSet(t, tproxy)
		mustCommit(t, rs, second)
		want := everyRule(t)
		if _, err := remove(owner); err != nil {
			t.Fatal(err)
		}
		mustCommit(t, rs, first)
		if got := mustCommit(t, rs, second); got.Backend != second || len(got.Warnings) > 0 {
			t.Errorf("got %+v", got)
		}
		if diff := cmp.Diff(want, everyRule(t)); diff != "" {
			t.Errorf("-%s alone +after %s:\n%s", second, first, diff)
		}
		if _, err := verify(rs, second); err != nil {
			t.Error(err)
		}
	})
}

// TestAnADDKilledBetweenTwoBackendsIsMadeGood by the next ADD, and by DEL: both backends
// hold rules of ours then, each with its stamp.
func TestAnADDKilledBetweenTwoBackendsIsMadeGood(t *testing.T) {
	eachSwitch(t, func(t *testing.T, first, second Backend) {
		rs, before := ruleSet(t, nil), ruleSet(t, tproxy)
		mustCommit(t, rs, second)
		want := everyRule(t)
		killed := func() {
			if _, err := remove(owner); err != nil {
				t.Fatal(err)
			}
			mustCommit(t, before, first)
			b, _, err := find(second)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := (namespace{route: routeSocket(t)}).install(b, rs, owner); err != nil {
				t.Fatal(err)
			}
		}
		killed()
		if got := mustCommit(t, rs, second); got.Change != redirect.Unchanged || len(got.Warnings) > 0 {
			t.Errorf("got %+v", got)
		}
		if diff := cmp.Diff(want, everyRule(t)); diff != "" {
			t.Errorf("-%s alone +after a killed one:\n%s", second, diff)
		}
		if rules := command(t, "ip rule") + command(t, "ip -6 rule"); strings.Contains(rules, "lookup 133") {
			t.Errorf("left: %s", rules)
		}
		killed()
		if removed, err := remove(owner); !removed || err != nil {
			t.Errorf("removed %t: %v", removed, err)
		}
		if left := everyRule(t); strings.Contains(left, "DETOUR") {
			t.Errorf("DEL leaves\n%s", left)
		}
	})
}

func TestAFaultLeavesNoBackendsTracesBehind(t *testing.T) {
	for _, b := range kernelBackends {
		t.Run(string(b), func(t *testing.T) {
			enterPod(t, dual()...)
			backend, _, err := find(b)
			if err != nil {
				t.Fatal(err)
			}
			before := snapshot(t)
			for at := 1; at <= 5; at++ { // ::6, and a rule and a route in each family
				route := &faulty{Socket: routeSocket(t), at: at}
				if _, _, err := (namespace{route: route}).install(backend, ruleSet(t, tproxy), owner); !errors.Is(err, errFault) {
					t.Fatalf("request %d: %v", at, err)
				}
				if diff := cmp.Diff(before, snapshot(t)); diff != "" {
					t.Errorf("request %d: -before +after:\n%s", at, diff)
				}
			}
		})
	}
}

func TestLookingForRulesTouchesNothing(t *testing.T) {
	enterPod(t, dual()...)
	before := legacyTables(t)
	for _, b := range append(kernelBackends, Auto, IPTables) {
		if got, err := installed(b); err != nil || got.stamp != nil {
			t.Errorf("%s: %+v, %v", b, got, err)
		}
		if err := Probe(b); err != nil {
			t.Errorf("probe %s: %v", b, err)
		}
		if _, err := verify(ruleSet(t, nil), b); err == nil || !strings.Contains(err.Error(), "no rules of detour") {
			t.Errorf("verify, %s: %v", b, err)
		}
	}
	if after := legacyTables(t); after != before {
		t.Errorf("legacy tables made: %q (were %q)", after, before)
	}
	if got := command(t, "nft list ruleset"); got != "" {
		t.Errorf("tables made:\n%s", got)
	}
}

// legacyTables are those that this namespace has.
func legacyTables(t *testing.T) string {
	t.Helper()
	return command(t, "sh -c cat</proc/thread-self/net/ip_tables_names;cat</proc/thread-self/net/ip6_tables_names")
}

func TestAutoFallsBackWhereTheKernelLacksSomething(t *testing.T) {
	for _, tc := range []struct {
		name    string
		asked   Backend
		refusal error
		want    Backend // "" for an error
	}{
		{"unsupported", Auto, nftables.ErrUnsupported, IPTablesNFT},
		{"refused", Auto, errFault, ""},
		{"nftables by name", NFTables, nftables.ErrUnsupported, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			enterPod(t, dual()...)
			before := snapshot(t)
			lacking := func(b Backend) (tool, Backend, error) {
				if b == Auto || b == NFTables {
					return refusing{err: tc.refusal}, NFTables, nil
				}
				return find(b)
			}
			_, _, got, err := namespace{route: routeSocket(t)}.choose(lacking, ruleSet(t, tproxy), Options{Backend: tc.asked, Owner: owner})
			if tc.want != "" {
				if got != tc.want || err != nil {
					t.Errorf("got %s, %v (want %s)", got, err, tc.want)
				}
				return
			}
			if !errors.Is(err, tc.refusal) {
				t.Errorf("got %v, want %v", err, tc.refusal)
			}
			if diff := cmp.Diff(before, snapshot(t)); diff != "" {
				t.Errorf("-before +after:\n%s", diff)
			}
		})
	}
	t.Run("no tools either", func(t *testing.T) {
		enterPod(t, dual()...)
		nothing := func(b Backend) (tool, Backend, error) {
			if b == Auto {
				return refusing{err: nftables.ErrUnsupported}, NFTables, nil
			}
			return nil, b, iptables.ErrNotFound
		}
		_, _, _, err := namespace{route: routeSocket(t)}.choose(nothing, ruleSet(t, nil), Options{Backend: Auto, Owner: owner})
		if !errors.Is(err, nftables.ErrUnsupported) || !errors.Is(err, iptables.ErrNotFound) {
			t.Errorf("got %v, want both reasons", err)
		}
	})
}
