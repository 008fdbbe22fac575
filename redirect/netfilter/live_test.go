package netfilter_test

import (
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/live"
	"github.com/detour-cni/detour/redirect/netfilter"
	"github.com/detour-cni/detour/redirect/redirecttest"
)

// TestLiveRulesSayTheSame reads back what each backend installed for every rule case, as
// somebody else's rules are read, and asks Trace about every packet of the case: the kernel
// judges the same rows in TestKernelJudgesCases.
func TestLiveRulesSayTheSame(t *testing.T) {
	redirecttest.NeedsKernel(t)
	for _, b := range backends {
		t.Run(string(b), func(t *testing.T) {
			for _, c := range redirecttest.Cases(t) {
				t.Run(c.Name, func(t *testing.T) {
					t.Parallel()
					pod := redirecttest.NewNetNS(t)
					rs, err := redirect.Compile(c.Spec)
					if err != nil {
						t.Fatal(err)
					}
					if err := commit(b)(pod.Path, rs); err != nil {
						t.Fatal(err)
					}
					sameAnswers(t, c, rs, read(t, pod.Path))
				})
			}
		})
	}
}

func read(t *testing.T, path string) (r live.Rules) {
	t.Helper()
	err := netfilter.Look(path, func() (err error) {
		r, err = live.Read()
		return err
	})
	if err != nil || len(r.Unread) > 0 {
		t.Fatalf("%v; unread: %v", err, r.Unread)
	}
	return r
}

func sameAnswers(t *testing.T, c redirecttest.Case, rs redirect.RuleSet, r live.Rules) {
	t.Helper()
	for _, chain := range r.Chains {
		for i, rule := range chain.Rules {
			for _, cond := range rule.Match {
				if o, ok := cond.(redirect.Opaque); ok {
					t.Errorf("%s %d: opaque: %s", chain.Name, i+1, o.Text)
				}
			}
			if o, ok := rule.Target.(redirect.OpaqueTarget); ok {
				t.Errorf("%s %d: opaque target: %s", chain.Name, i+1, o.Text)
			}
		}
	}
	for _, row := range c.Rows {
		p := row.Packet
		if p.Src.Port() == 0 { // the kernel would pick one; none of the rules means this
			p.Src = netip.AddrPortFrom(p.Src.Addr(), 40000)
		}
		want, got := redirect.Trace(rs, p), redirect.Trace(r.RuleSet(), p)
		if !got.Same(want) {
			t.Errorf("%s: live %s :%d mark %d zone %d, compiled %s :%d mark %d zone %d", row, got.Verdict, got.Port, got.Mark, got.Zone, want.Verdict, want.Port, want.Mark, want.Zone)
		}
	}
}

// TestForeignRulesAreRead: the rules of the walkthrough, as their author loads them.
func TestForeignRulesAreRead(t *testing.T) {
	redirecttest.NeedsKernel(t)
	i := slices.IndexFunc(redirecttest.Cases(t), func(c redirecttest.Case) bool { return c.ForeignRules() != "" })
	c := redirecttest.Cases(t)[i]
	rs, err := redirect.Compile(c.Spec)
	if err != nil {
		t.Fatal(err)
	}
	for _, tool := range []string{"iptables-nft-restore", "iptables-legacy-restore"} {
		pod := redirecttest.NewNetNS(t)
		pod.Run(t, c.ForeignRules(), tool)
		r := read(t, pod.Path)
		if len(r.Chains) < 3 || r.Chains[0].Ours() {
			t.Fatalf("%s: %+v", tool, r.Chains)
		}
		sameAnswers(t, c, rs, r)
	}
}

// TestLookingMakesNothing: a namespace without rules has none afterwards, and no table.
func TestLookingMakesNothing(t *testing.T) {
	redirecttest.NeedsKernel(t)
	pod := redirecttest.NewNetNS(t)
	if r := read(t, pod.Path); len(r.Chains) != 0 {
		t.Errorf("%+v", r.Chains)
	}
	if tables := pod.Run(t, "", "nft", "list", "tables"); tables != "" {
		t.Error(tables)
	}
	err := netfilter.Look(pod.Path, func() error {
		for _, name := range []string{"ip_tables_names", "ip6_tables_names"} {
			if tables, _ := os.ReadFile("/proc/thread-self/net/" + name); len(tables) > 0 {
				t.Errorf("%s: %s", name, tables)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
