package redirect_test

import (
	"net/netip"
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
