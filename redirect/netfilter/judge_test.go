package netfilter_test

import (
	"fmt"
	"os/exec"
	"strings"
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

// TestKernelJudgesForeignRules: the rules that a case says as a Spec, loaded as their
// own author wrote them, do the same to every packet.
func TestKernelJudgesForeignRules(t *testing.T) {
	redirecttest.NeedsKernel(t)
	judged := 0
	for _, c := range redirecttest.Cases(t) {
		rules := c.ForeignRules()
		if rules == "" {
			continue
		}
		judged++
		for _, tool := range []string{"iptables-nft-restore", "iptables-legacy-restore"} {
			t.Run(c.Name+"/"+tool, func(t *testing.T) {
				redirecttest.Judge(t, c, func(netns string, _ redirect.RuleSet) error {
					restore := exec.Command("nsenter", "--net="+netns, "--", tool)
					restore.Stdin = strings.NewReader(rules)
					if out, err := restore.CombinedOutput(); err != nil {
						return fmt.Errorf("%s: %w: %s", tool, err, out)
					}
					return nil
				})
			})
		}
	}
	if judged == 0 {
		t.Error("no case in testdata/rules has a section iptables-nat")
	}
}
