package nftables

import (
	"fmt"
	"testing"

	"github.com/detour-cni/detour/redirect"
)

func BenchmarkWant(b *testing.B) {
	for _, prefixes := range []int{0, 1000, 5000} {
		rs := withPrefixes(b, prefixes)
		b.Run(fmt.Sprintf("prefixes=%d", prefixes), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				stamped(rs, inet, owner, redirect.Extras{}, nil)
			}
		})
	}
}
func withPrefixes(t testing.TB, n int) redirect.RuleSet {
	s := redirect.EnvoyDefaults()
	for i := range n {
		p, _ := redirect.ParsePrefix(fmt.Sprintf("20.%d.%d.0/24", i>>7, i<<1&255))
		s.ExcludeOutboundCIDRs = append(s.ExcludeOutboundCIDRs, p)
	}
	return compile(t, s)
}
