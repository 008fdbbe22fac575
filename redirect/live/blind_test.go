package live

import (
	"net/netip"
	"testing"

	"github.com/detour-cni/detour/redirect"
)

// TestNobodyGuessesPastAnUnreadTable: a legacy table that the kernel did not give may do anything to the
// packets of its family, and nothing to the other's.
func TestNobodyGuessesPastAnUnreadTable(t *testing.T) {
	rules := Rules{Chains: layouts[0].unreadable("legacy ip nat")}
	for _, tc := range []struct {
		dst  string
		hook redirect.Hook
		want redirect.Verdict
	}{
		{"10.20.0.9:80", redirect.Output, redirect.Unknown},
		{"10.9.0.2:80", redirect.Prerouting, redirect.Unknown},
		{"[fd20::9]:80", redirect.Output, redirect.Passed},
	} {
		p := redirect.Packet{Hook: tc.hook, Proto: redirect.TCPProto, Dst: netip.MustParseAddrPort(tc.dst)}
		if got := redirect.Trace(rules.RuleSet(), p).Verdict; got != tc.want {
			t.Errorf("%s at %s: %s, want %s", tc.dst, tc.hook, got, tc.want)
		}
	}
}
