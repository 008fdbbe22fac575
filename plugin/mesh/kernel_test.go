package mesh_test

import (
	"testing"

	"github.com/detour-cni/detour/plugin"
	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/netfilter"
	"github.com/detour-cni/detour/redirect/redirecttest"
)

// TestKernelJudgesMeshes asks the kernel about the packets of every pod in
// testdata/meshes, with every backend: who answers, and what they see.
func TestKernelJudgesMeshes(t *testing.T) {
	redirecttest.NeedsKernel(t)
	for _, b := range []netfilter.Backend{netfilter.NFTables, netfilter.IPTablesNFT, netfilter.IPTablesLegacy} {
		install := func(netns string, rs redirect.RuleSet) error {
			_, err := netfilter.Commit(netns, rs, netfilter.Options{Backend: b, Owner: redirect.Attachment{ContainerID: "mesh", IfName: "eth0"}})
			return err
		}
		t.Run(string(b), func(t *testing.T) {
			for _, c := range allCases(t) {
				d, err := plugin.Decide(c.options, c.pod, c.dialects())
				if err != nil || !d.Redirect {
					continue
				}
				t.Run(c.name(), func(t *testing.T) {
					t.Parallel()
					redirecttest.Judge(t, c.packetCase(t, d.Spec), install)
				})
			}
		})
	}
}
