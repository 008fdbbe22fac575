package redirect_test

import (
	"net/netip"
	"runtime"
	"slices"
	"testing"

	"github.com/detour-cni/detour/redirect"
)

// TestNobodyGuessesWhereAnAddressIs: DNAT to an address of the pod's own goes round through lo. Where nobody
// has said which these are, the answer is only what both ways end in.
func TestNobodyGuessesWhereAnAddressIs(t *testing.T) {
	to := netip.MustParseAddrPort("10.9.0.9:53")
	rules := func(late ...redirect.Rule) redirect.RuleSet {
		return redirect.RuleSet{Chains: []redirect.Chain{
			{Name: "out", Table: redirect.NAT, Hook: redirect.Output, Rules: []redirect.Rule{{Target: redirect.DNATTo{To: to}}}},
			{Name: "late", Table: redirect.Mangle, Hook: redirect.Postrouting, Rules: late},
		}}
	}
	dropLo := redirect.Rule{Match: redirect.Match{redirect.OutIface{Iface: "lo"}}, Target: redirect.Drop{}}
	for _, tc := range []struct {
		name  string
		rules redirect.RuleSet
		own   []netip.Addr
		want  redirect.Verdict
	}{
		{"the address is the pod's", rules(dropLo), []netip.Addr{to.Addr()}, redirect.Dropped},
		{"it is not", rules(dropLo), []netip.Addr{netip.MustParseAddr("10.9.0.2")}, redirect.DNATed},
		{"nobody knows", rules(dropLo), nil, redirect.Unknown},
		{"nobody knows, and it is the same", rules(), nil, redirect.DNATed},
	} {
		p := redirect.Packet{Hook: redirect.Output, Out: "eth0", Proto: redirect.TCPProto, Own: tc.own,
			Src: netip.MustParseAddrPort("10.9.0.2:40000"), Dst: netip.MustParseAddrPort("10.20.0.9:53")}
		if got := redirect.Trace(tc.rules, p).Verdict; got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

// output are rules that every packet meets in OUTPUT.
func output(rules ...redirect.Rule) redirect.RuleSet {
	return redirect.RuleSet{Chains: []redirect.Chain{{Name: "out", Table: redirect.Mangle, Hook: redirect.Output, Rules: rules}}}
}

var opaque = redirect.Match{redirect.Opaque{Text: "limit"}}

// TestALogDoesNotDoubleTheWays: whether a rule that only logs matches does not matter, however many there are.
func TestALogDoesNotDoubleTheWays(t *testing.T) {
	log := redirect.Rule{Match: opaque, Target: redirect.Aside{Text: "LOG"}}
	o := redirect.Trace(output(slices.Repeat([]redirect.Rule{log}, 40)...), redirect.Packet{Hook: redirect.Output})
	if o.Verdict != redirect.Passed || len(o.Steps) != 40 {
		t.Errorf("%s after %d steps", o.Verdict, len(o.Steps))
	}
}

// TestOpaqueRulesCostWhatTheyAre: the memory of a walk grows with the rules, not with their square.
func TestOpaqueRulesCostWhatTheyAre(t *testing.T) {
	drop := redirect.Rule{Match: opaque, Target: redirect.Drop{}}
	rs := output(slices.Repeat([]redirect.Rule{drop}, 2000)...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	o := redirect.Trace(rs, redirect.Packet{Hook: redirect.Output})
	runtime.ReadMemStats(&after)
	if o.Verdict != redirect.Unknown || len(o.Steps) != 2000 {
		t.Errorf("%s after %d steps", o.Verdict, len(o.Steps))
	}
	if mb := (after.TotalAlloc - before.TotalAlloc) >> 20; mb > 40 {
		t.Errorf("%d MB for 2000 rules", mb)
	}
}
