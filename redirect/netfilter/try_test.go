package netfilter_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/netfilter"
	"github.com/detour-cni/detour/redirect/redirecttest"
)

// What can be committed can be tried, and nothing is seen of it afterwards; what cannot is an error.
func TestTryLeavesNothing(t *testing.T) {
	redirecttest.NeedsKernel(t)
	spec := redirect.EnvoyDefaults()
	spec.InboundMode, spec.DNSPort = redirect.InboundTProxy, 15053
	rs, err := redirect.Compile(spec)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range backends {
		if err := netfilter.Try(rs, b); err != nil {
			t.Errorf("%s: %v", b, err)
		}
	}
	if out, err := exec.Command("nft", "list", "ruleset").CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "" {
		t.Errorf("%v: %s", err, out)
	}
	rs.Chains[0].Rules = append(rs.Chains[0].Rules, redirect.Rule{Target: redirect.Jump{Chain: "NOWHERE"}, Why: "nobody has this chain"})
	if err := netfilter.Try(rs, netfilter.NFTables); err == nil {
		t.Error("a jump to nowhere is no error")
	}
}
