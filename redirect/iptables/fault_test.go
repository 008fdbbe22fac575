package iptables

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/detour-cni/detour/redirect"
)

// everyTable is a Spec with rules in raw, mangle and nat.
func everyTable(s *redirect.Spec) {
	s.InboundMode, s.DNSPort, s.ExcludeInterfaces = redirect.InboundTProxy, 15053, []redirect.Iface{"net1"}
}

// foreign are rules of somebody else: two of them stand before our jumps, one has
// a chain of its own, one is in a table that we never use.
const foreign = `*nat
:OTHERS - [0:0]
[5:300] -A OTHERS -d 192.0.2.9/32 -m comment --comment "not -j DETOUR_OUTPUT" -j RETURN
[6:360] -A OUTPUT -p tcp -m tcp --dport 9 -j OTHERS
[7:420] -A PREROUTING -p tcp -m tcp --dport 10 -j ACCEPT
COMMIT
*filter
[8:480] -A INPUT -s 192.0.2.9/32 -j DROP
COMMIT
`

func addForeign(t *testing.T, b *Backend) {
	t.Helper()
	sh(t, foreign, b.v4.restore, "--noflush", "--counters")
	sh(t, strings.ReplaceAll(foreign, "192.0.2.9/32", "2001:db8::9/128"), b.v6.restore, "--noflush", "--counters")
}

// impossible gives the rules with one more that the kernel refuses: a target
// in a table where it does not work, for packets of one family.
func impossible(rs redirect.RuleSet, table redirect.Table, v4 bool) redirect.RuleSet {
	match := redirect.Match{redirect.TCP{}, redirect.Src{Prefixes: prefixes("::/0")}}
	if v4 {
		match[1] = redirect.Src{Prefixes: prefixes("0.0.0.0/0")}
	}
	var target redirect.Target = redirect.TProxyTo{Port: 1, Mark: 1}
	if table == redirect.Mangle {
		target = redirect.RedirectTo{Port: 1}
	}
	rs.Chains = slices.Clone(rs.Chains)
	i := slices.IndexFunc(rs.Chains, func(c redirect.Chain) bool { return c.Table == table && c.Hook != redirect.NoHook })
	c := &rs.Chains[i]
	c.Rules = append(slices.Clone(c.Rules), redirect.Rule{Match: match, Target: target, Why: "impossible"})
	return rs
}

// pretend is a tool that does its work, and then fails.
func pretend(t *testing.T, path string) string {
	t.Helper()
	fake := filepath.Join(t.TempDir(), filepath.Base(path))
	script := "#!/bin/sh\n" + path + ` "$@"; echo "line 3: so it was, but no" >&2; exit 3` + "\n"
	if err := os.WriteFile(fake, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return fake
}

// faults are the ways in which a Commit fails, step by step.
func faults(t *testing.T, b *Backend, rs redirect.RuleSet) map[string]func() error {
	all := map[string]func() error{}
	try := func(b Backend, rs redirect.RuleSet) error {
		_, err := b.Commit(rs, redirect.Attachment{ContainerID: "other", IfName: "eth0"}, redirect.Extras{})
		return err
	}
	for _, table := range tableOrder {
		all[string(table)+" refused in IPv4"] = func() error { return try(*b, impossible(rs, table, true)) }
		all[string(table)+" refused in IPv6"] = func() error { return try(*b, impossible(rs, table, false)) }
	}
	no4, no6 := *b, *b
	no4.v4.restore, no6.v6.restore = "/bin/false", "/bin/false"
	all["the tool for IPv6 fails at once"] = func() error { return try(no6, rs) }
	if b.variant == NFT {
		all["the tool for IPv4 fails at once"] = func() error { return try(no4, rs) }
	}
	gone := *b
	gone.v6.restore = "/nonexistent"
	all["no tool for IPv6"] = func() error { return try(gone, rs) }
	return all
}

func TestFailureLeavesTheNamespaceAsItWas(t *testing.T) {
	rs := compile(t, everyTable)
	for _, start := range []struct {
		name string
		make func(*testing.T, *Backend)
	}{
		{"empty", func(*testing.T, *Backend) {}},
		{"with foreign rules", addForeign},
		{"with rules of an earlier ADD, used, and foreign ones before them", func(t *testing.T, b *Backend) {
			commit(t, b, compile(t, func(s *redirect.Spec) {
				everyTable(s)
				s.InboundPort, s.RerouteInterfaces = 16006, []redirect.Reroute{{Iface: "tap0"}}
			}))
			count(t, b)
			addForeign(t, b)
			sh(t, "", b.v4.rules, "-t", "nat", "-I", "PREROUTING", "-p", "tcp", "-m", "tcp", "--dport", "11", "-j", "ACCEPT")
			sh(t, "", b.v6.rules, "-t", "mangle", "-I", "OUTPUT", "-p", "tcp", "-m", "tcp", "--dport", "11", "-j", "ACCEPT")
		}},
	} {
		t.Run(start.name, func(t *testing.T) {
			for _, v := range []Variant{NFT, Legacy} {
				for name := range faults(t, &Backend{variant: v}, rs) {
					t.Run(string(v)+", "+name, func(t *testing.T) {
						newPod(t)
						b, err := Find(v)
						if err != nil {
							t.Fatal(err)
						}
						start.make(t, b)
						before := saved(t, b)
						err = faults(t, b, rs)[name]()
						if err == nil {
							t.Error("no error")
						} else if strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "putting back") {
							t.Error(err)
						}
						t.Log(err)
						if diff := cmp.Diff(before, saved(t, b)); diff != "" {
							t.Error(diff)
						}
					})
				}
			}
		})
	}
}

// A tool that fails after its last COMMIT has changed everything.
func TestFailureAfterTheWorkIsUndone(t *testing.T) {
	rs := compile(t, everyTable)
	eachVariant(t, func(t *testing.T, b *Backend) {
		before := saved(t, b)
		real := b.v6.restore
		b.v6.restore = pretend(t, real)
		_, err := b.Commit(rs, owner, redirect.Extras{})
		if err == nil {
			t.Fatal("no error")
		}
		t.Log(err)
		// The pretender fails at undoing too, having undone.
		if diff := cmp.Diff(emptyTable.ReplaceAllString(before, ""), emptyTable.ReplaceAllString(saved(t, b), "")); diff != "" {
			t.Error(diff)
		}
	})
}

// count gives every rule a counter, as traffic would. ip6tables-nft 1.8.9 ignores
// --counters, and -c too: there they stay 0.
func count(t *testing.T, b *Backend) {
	t.Helper()
	for _, tool := range []tools{b.v4, b.v6} {
		all := sh(t, "", tool.save, "-c")
		sh(t, strings.ReplaceAll(all, "[0:0] -A", "[3:180] -A"), tool.restore, "--counters")
	}
}

func TestForeignRulesStay(t *testing.T) {
	eachVariant(t, func(t *testing.T, b *Backend) {
		addForeign(t, b)
		before := saved(t, b)
		commit(t, b, compile(t, everyTable))
		commit(t, b, compile(t, func(s *redirect.Spec) { s.OutboundPort = 15002 }))
		if removed, err := b.Remove(); !removed || err != nil {
			t.Fatal(removed, err)
		}
		after := saved(t, b)
		if b.variant == NFT { // the tables that Commit made stay, empty
			before, after = emptyTable.ReplaceAllString(before, ""), emptyTable.ReplaceAllString(after, "")
		}
		if diff := cmp.Diff(before, after); diff != "" {
			t.Error(diff)
		}
		if removed, err := b.Remove(); removed || err != nil {
			t.Errorf("second Remove: %v, %v", removed, err)
		}
	})
}

// What is left of ours after somebody deleted half of it goes as well.
func TestRemoveTakesRemains(t *testing.T) {
	eachVariant(t, func(t *testing.T, b *Backend) {
		commit(t, b, compile(t, everyTable))
		sh(t, "*nat\n-F DETOUR_STAMP\n-X DETOUR_STAMP\nCOMMIT\n", b.v4.restore, "--noflush")
		sh(t, "*nat\n-F\n-X\nCOMMIT\n*raw\n-F\n-X\nCOMMIT\n", b.v6.restore, "--noflush")
		sh(t, "", b.v4.rules, "-t", "nat", "-A", "OUTPUT", "-p", "tcp", "-g", "DETOUR_OUTPUT")
		if removed, err := b.Remove(); !removed || err != nil {
			t.Fatal(removed, err)
		}
		if left := saved(t, b); strings.Contains(left, "DETOUR") {
			t.Error(left)
		}
	})
}

func TestInterfaceNameCannotEscape(t *testing.T) {
	eachVariant(t, func(t *testing.T, b *Backend) {
		rs := compile(t, func(s *redirect.Spec) { s.ExcludeInterfaces = []redirect.Iface{`a"-jDROP`} })
		if _, err := b.Commit(rs, owner, redirect.Extras{}); err == nil || !strings.Contains(err.Error(), "double quote") {
			t.Errorf("error %v", err)
		}
		if have, err := b.current(); err != nil || !have.empty() {
			t.Errorf("%v, %v", have, err)
		}
	})
}

func TestTenThousandPrefixes(t *testing.T) {
	rs := compile(t, func(s *redirect.Spec) {
		s.ExcludeOutboundCIDRs = append(manyPrefixes(10_000), netip.MustParsePrefix("fd00::/8"))
	})
	eachVariant(t, func(t *testing.T, b *Backend) {
		commit(t, b, rs)
		if change := commit(t, b, rs); change != redirect.Unchanged {
			t.Error(change)
		}
		if removed, err := b.Remove(); !removed || err != nil {
			t.Error(removed, err)
		}
	})
}
