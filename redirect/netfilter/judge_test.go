package netfilter_test

import (
	"testing"

	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/netfilter"
	"github.com/detour-cni/detour/redirect/redirecttest"
)

var backends = []netfilter.Backend{netfilter.NFTables, netfilter.IPTablesNFT, netfilter.IPTablesLegacy}

func commit(b netfilter.Backend) redirecttest.Install {
	return func(netns string, rs redirect.RuleSet) error {
		_, err := netfilter.Commit(netns, rs, netfilter.Options{Backend: b, Owner: redirect.Attachment{ContainerID: "case", IfName: "eth0"}})
		return err
	}
}

// TestKernelJudgesCases asks the kernel about every packet of every rule case,
// by every backend: who answers, and what they see.
func TestKernelJudgesCases(t *testing.T) {
	redirecttest.NeedsKernel(t)
	for _, b := range backends {
		t.Run(string(b), func(t *testing.T) {
			for _, c := range redirecttest.Cases(t) {
				t.Run(c.Name, func(t *testing.T) {
					t.Parallel()
					redirecttest.Judge(t, c, commit(b))
				})
			}
		})
	}
}
