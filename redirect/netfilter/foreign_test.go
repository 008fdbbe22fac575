package netfilter_test

import (
	"net/netip"
	"testing"

	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/redirecttest"
)

// TestForeignRulesAreExplained loads other tools' rules by their own tools, has the kernel judge every
// packet, and asks Trace over the rules that are read back: they agree, or Trace says that it cannot say.
func TestForeignRulesAreExplained(t *testing.T) {
	redirecttest.NeedsKernel(t)
	for _, f := range redirecttest.Foreigns(t) {
		for _, loader := range f.Loaders() {
			t.Run(f.Name+"/"+loader, func(t *testing.T) {
				t.Parallel()
				pod := redirecttest.Shape{Second: f.Rows[0].Second}.NewPod(t)
				f.Load(t, pod.NetNS, loader)
				rules := read(t, pod.Path).RuleSet()
				for _, row := range f.Rows {
					if err := pod.Try(f.Spec, row, row.Outcome(f.Spec)); err != nil {
						t.Errorf("%v\n\tthe kernel: %v", row, err)
					}
					if said, want := explained(rules, row), expected(row); said != want {
						t.Errorf("%v\n\texplain: %v, want %v", row, said, want)
					}
				}
			})
		}
	}
}

// said is an outcome as far as it shows from outside.
type said struct {
	verdict redirect.Verdict
	port    uint16
	to      netip.AddrPort
}

func explained(rs redirect.RuleSet, row redirecttest.Row) said {
	p := row.Packet
	if p.Src.Port() == 0 { // the kernel would pick one; none of the rules means this
		p.Src = netip.AddrPortFrom(p.Src.Addr(), 40000)
	}
	o := redirect.Trace(rs, p)
	return said{o.Verdict, o.Port, o.To}
}

func expected(row redirecttest.Row) said {
	if row.Opaque {
		return said{verdict: redirect.Unknown}
	}
	return said{row.Want.Verdict, row.Want.Port, row.Want.To}
}
