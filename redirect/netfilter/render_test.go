package netfilter_test

import (
	"strings"
	"testing"

	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/iptables"
	"github.com/detour-cni/detour/redirect/netfilter"
	"github.com/detour-cni/detour/redirect/redirecttest"
)

// TestRenderedIPTablesIsWhatADDInstalls loads what `detour render --backend iptables` prints,
// by iptables-restore, and compares the kernel's own listing with that of an ADD.
func TestRenderedIPTablesIsWhatADDInstalls(t *testing.T) {
	redirecttest.NeedsKernel(t)
	for _, c := range redirecttest.Cases(t) {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			rs, err := redirect.Compile(c.Spec)
			if err != nil {
				t.Fatal(err)
			}
			added, loaded := redirecttest.NewNetNS(t), redirecttest.NewNetNS(t)
			if err := commit(netfilter.IPTablesNFT)(added.Path, rs); err != nil {
				t.Fatal(err)
			}
			for tool, v4 := range map[string]bool{"iptables-nft": rs.V4(), "ip6tables-nft": rs.V6()} {
				if !v4 {
					continue
				}
				loaded.Run(t, iptables.Text(rs, tool == "iptables-nft"), tool+"-restore", "--noflush")
				want, got := saved(t, added, tool), saved(t, loaded, tool)
				if want != got || strings.Count(want, "\n-A") == 0 {
					t.Errorf("%s: rendered\n%s\nADD\n%s", tool, got, want)
				}
			}
		})
	}
}

// saved is iptables-save without dates, counters, and the stamp that only ADD sets.
func saved(t *testing.T, n *redirecttest.NetNS, tool string) string {
	t.Helper()
	var all strings.Builder
	for line := range strings.Lines(n.Run(t, "", tool+"-save")) {
		if strings.HasPrefix(line, "#") || strings.Contains(line, redirect.ChainStamp) {
			continue
		}
		if i := strings.Index(line, " ["); strings.HasPrefix(line, ":") && i > 0 {
			line = line[:i] + "\n"
		}
		all.WriteString(line)
	}
	return all.String()
}
