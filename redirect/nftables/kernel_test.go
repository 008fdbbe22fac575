package nftables

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/detour-cni/detour/redirect"
)

func TestListGivesWhatWantSaid(t *testing.T) {
	for name, json := range specs {
		t.Run(name, func(t *testing.T) {
			inNetns(t, func() { wantEqualsList(t, overlay(t, json)) })
		})
	}
	const rounds = 100
	t.Run("random", func(t *testing.T) {
		for seed := range uint64(rounds) {
			rs, err := redirect.Compile(randomSpec(rand.New(rand.NewPCG(seed, 0))))
			if err != nil {
				continue
			}
			inNetns(t, func() { wantEqualsList(t, rs) })
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
	})
}

func wantEqualsList(t *testing.T, rs redirect.RuleSet) {
	t.Helper()
	commit(t, rs, redirect.Installed)
	got, stamp, err := Backend{}.List()
	if err != nil || stamp == nil {
		t.Errorf("list: stamp %v, %v", stamp, err)
		return
	}
	want := Backend{}.Want(rs)
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("what Commit left (-want +got):\n%s", diff)
	}
	if stamp.Digest != want.Digest() || !stamp.Is(owner) {
		t.Errorf("stamp %+v (want digest %s of %v)", stamp, want.Digest(), owner)
	}
	if err := check(t, rs); err != nil {
		t.Errorf("check: %v", err)
	}
	commit(t, rs, redirect.Unchanged)
}

func TestASecondCommitSendsNothing(t *testing.T) {
	inNetns(t, func() {
		rs := overlay(t, specs["interfaces"])
		commit(t, rs, redirect.Installed)
		rules, gen := run(t, "nft", "-a", "list", "ruleset"), generation(t)
		commit(t, rs, redirect.Unchanged)
		if again := run(t, "nft", "-a", "list", "ruleset"); again != rules {
			t.Errorf("rules, with their handles:\n%s", gocmp.Diff(rules, again))
		}
		if now := generation(t); now != gen {
			t.Errorf("generation %d (want %d)", now, gen)
		}
	})
}

func TestAnotherSpecFamilyOrAttachmentReplacesInOneStep(t *testing.T) {
	inNetns(t, func() {
		run(t, "nft", "add table ip6 detour2; add chain ip6 detour2 c; add rule ip6 detour2 c counter")
		commit(t, overlay(t, `{}`), redirect.Installed)
		for _, json := range []string{specs["dns"], specs["ipv4"], specs["ipv6"], specs["tproxy"]} {
			gen := generation(t)
			rs := overlay(t, json)
			commit(t, rs, redirect.Replaced)
			if now := generation(t); now != gen+1 {
				t.Errorf("%s: generation %d (want %d)", json, now, gen+1)
			}
			if err := check(t, rs); err != nil {
				t.Errorf("%s: %v", json, err)
			}
			if tables := run(t, "nft", "list", "tables"); strings.Count(tables, "detour\n") != 1 || !strings.Contains(tables, "detour2") {
				t.Errorf("%s: tables\n%s", json, tables)
			}
		}
	})
}

func TestAnotherStampReplaces(t *testing.T) {
	inNetns(t, func() {
		rs := overlay(t, specs["tproxy"])
		commit(t, rs, redirect.Installed)
		other := redirect.Attachment{ContainerID: "decaf", IfName: "eth0"}
		marks := redirect.Extras{LocalMark: redirect.LocalMark{Mark: 1337, Table: 133}, MarkV4: true}
		for _, step := range []struct {
			owner  redirect.Attachment
			extras redirect.Extras
		}{{other, redirect.Extras{}}, {other, marks}, {owner, marks}} {
			for _, want := range []redirect.Change{redirect.Replaced, redirect.Unchanged} {
				if change, err := (Backend{}).Commit(rs, step.owner, step.extras); change != want || err != nil {
					t.Errorf("%+v: %q, %v (want %q)", step, change, err, want)
				}
			}
			stamp, err := Backend{}.Stamp()
			if err != nil || stamp == nil || !stamp.Is(step.owner) || stamp.Extras.String() != step.extras.String() {
				t.Errorf("stamp %+v, %v (want %+v)", stamp, err, step)
			}
		}
	})
}

// The IPv4 half of a RuleSet is not the RuleSet, where the kernel has both.
func TestIPv4OnlyIsNotBoth(t *testing.T) {
	inNetns(t, func() {
		commit(t, overlay(t, `{"ipFamilies": "ipv4"}`), redirect.Installed)
		both := overlay(t, `{}`)
		commit(t, both, redirect.Replaced)
		if err := check(t, both); err != nil {
			t.Error(err)
		}
	})
}

func TestACommitRepairsWhatWasDamaged(t *testing.T) {
	inNetns(t, func() {
		rs := overlay(t, `{}`)
		commit(t, rs, redirect.Installed)
		run(t, "nft", "flush", "chain", "inet", "detour", "DETOUR_OUTPUT")
		commit(t, rs, redirect.Replaced)
		run(t, "nft", "flush", "chain", "inet", "detour", redirect.ChainStamp)
		commit(t, rs, redirect.Replaced)
		if err := check(t, rs); err != nil {
			t.Error(err)
		}
	})
}

func TestRemoveLeavesOtherTables(t *testing.T) {
	inNetns(t, func() {
		if stamp, err := (Backend{}).Stamp(); stamp != nil || err != nil {
			t.Errorf("stamp in an empty namespace: %v, %v", stamp, err)
		}
		if got, stamp, err := (Backend{}).List(); len(got.Chains) != 0 || stamp != nil || err != nil {
			t.Errorf("list in an empty namespace: %v, %v, %v", got, stamp, err)
		}
		for _, table := range []string{"inet mine", "ip detour2", "ip6 detou", "arp detour"} {
			run(t, "nft", fmt.Sprintf("add table %[1]s; add chain %[1]s DETOUR_OUTPUT; add rule %[1]s DETOUR_OUTPUT counter", table))
		}
		before := run(t, "nft", "-a", "list", "ruleset")
		if removed, err := (Backend{}).Remove(); removed || err != nil {
			t.Errorf("remove of nothing: %v, %v", removed, err)
		}
		commit(t, overlay(t, specs["prefixes"]), redirect.Installed)
		run(t, "nft", "add table ip detour")
		if removed, err := (Backend{}).Remove(); !removed || err != nil {
			t.Errorf("remove: %v, %v", removed, err)
		}
		if after := run(t, "nft", "-a", "list", "ruleset"); after != before {
			t.Errorf("others' tables:\n%s", gocmp.Diff(before, after))
		}
	})
}

func TestLongListsAreTaken(t *testing.T) {
	var prefixes []netip.Prefix
	for i := range 10_000 {
		prefixes = append(prefixes,
			netip.PrefixFrom(netip.AddrFrom4([4]byte{20, byte(i >> 7), byte(i << 1), 0}), 24),
			netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, byte(i >> 7), byte(i << 1)}), 32))
	}
	s := redirect.EnvoyDefaults()
	s.ExcludeOutboundCIDRs = prefixes
	for i := range uint32(5000) {
		s.ExcludeOutboundUIDs = append(s.ExcludeOutboundUIDs, redirect.IDRange{First: 10 * i, Last: 10*i + i%2})
		s.ExcludeOutboundGIDs = append(s.ExcludeOutboundGIDs, redirect.IDRange{First: 10 * i, Last: 10 * i})
	}
	inNetns(t, func() { wantEqualsList(t, compile(t, s)) })
}

func TestInetWithoutIPv6IsIP(t *testing.T) {
	inNetns(t, func() {
		rs := overlay(t, specs["prefixes"])
		e, stamp := stamped(rs, ip4, owner, redirect.Extras{}, nil)
		c, err := open()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.close()
		if err := c.transact(e.Bytes()); err != nil {
			t.Error(err)
		}
		got, found, err := Backend{}.List()
		if err != nil || found == nil || found.Digest != stamp.Digest || got.Digest() != stamp.Digest {
			t.Errorf("list: stamp %+v, digest %s, %v (want digest %s)", found, got.Digest(), err, stamp.Digest)
		}
		if moved, err := redirect.Check(Backend{}.Want(rs), got, found); !moved || err != nil {
			t.Errorf("check: moved %v, %v", moved, err)
		}
	})
}
