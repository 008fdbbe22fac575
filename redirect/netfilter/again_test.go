package netfilter_test

import (
	"fmt"
	"net/netip"
	"os"
	"testing"

	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/redirecttest"
)

// again gives the second calls from the port of a connection that the proxy closed first:
// its socket is in TIME_WAIT, or gone and conntrack has kept the connection.
func again(want redirect.Outcome) map[string]redirecttest.Row {
	rows := map[string]redirecttest.Row{}
	for i, ends := range [][2]string{{"10.9.0.1:4001", "10.9.0.2:80"}, {"[fd09::1]:4001", "[fd09::2]:80"}} {
		p := redirect.Packet{Hook: redirect.Prerouting, In: "eth0", Proto: redirect.TCPProto, ForeignSrc: true, SYN: true,
			Src: netip.MustParseAddrPort(ends[0]), Dst: netip.MustParseAddrPort(ends[1])}
		family := []string{"IPv4", "IPv6"}[i]
		p.State = redirect.CTEstablished
		rows["forgotten, "+family] = redirecttest.Row{Packet: p, Want: want}
		p.State, p.TransparentSocket = 0, true
		rows["in TIME_WAIT, "+family] = redirecttest.Row{Packet: p, Want: want}
	}
	return rows
}

// TestASecondCallFromTheSamePortReachesTheProxy when the proxy has closed the first one, and
// not the app: in both modes, by every backend.
func TestASecondCallFromTheSamePortReachesTheProxy(t *testing.T) {
	redirecttest.NeedsKernel(t)
	for _, b := range backends {
		for mode, want := range map[redirect.InboundMode]redirect.Outcome{
			redirect.InboundTProxy:   {Verdict: redirect.TProxied, Port: 15006},
			redirect.InboundRedirect: {Verdict: redirect.Redirected, Port: 15006},
		} {
			for name, row := range again(want) {
				t.Run(fmt.Sprintf("%s, %s, %s", b, mode, name), func(t *testing.T) {
					t.Parallel()
					s := redirect.EnvoyDefaults()
					s.InboundMode = mode
					rs, err := redirect.Compile(s)
					if err != nil {
						t.Fatal(err)
					}
					pod := redirecttest.NewPod(t)
					if err := commit(b)(pod.Path, rs); err != nil {
						t.Fatal(err)
					}
					if err := pod.Try(s, row, want); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
}

// TestMutationKernelSYN takes the condition on SYN from each rule that has it: some second
// call does not reach the proxy then, by every backend and in both families.
func TestMutationKernelSYN(t *testing.T) {
	if os.Getenv("DETOUR_MUTATION") == "" {
		t.Skip("DETOUR_MUTATION is not set (make test-mutation)")
	}
	redirecttest.NeedsKernel(t)
	c := redirecttest.CaseOf(t, "tproxy")
	rs, err := redirect.Compile(c.Spec)
	if err != nil {
		t.Fatal(err)
	}
	for m := range redirecttest.Mutants(rs) {
		if !m.SYN {
			continue
		}
		for _, b := range backends {
			t.Run(fmt.Sprintf("%s, %s", b, m.Lost.Why), func(t *testing.T) {
				t.Parallel()
				pod := redirecttest.NewPod(t)
				if err := commit(b)(pod.Path, m.RuleSet); err != nil {
					t.Fatal(err)
				}
				noticed := 0
				for _, row := range c.Rows {
					want := row.Outcome(c.Spec)
					if redirect.Trace(m.RuleSet, row.Packet).Same(want) {
						continue
					}
					noticed++
					if err := pod.Try(c.Spec, row, want); err == nil {
						t.Errorf("%v: as if nothing were lost", row)
					}
				}
				if noticed < 2 {
					t.Errorf("%d rows notice, want one of each family", noticed)
				}
			})
		}
	}
}
