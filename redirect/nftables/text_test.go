package nftables

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/detour-cni/detour/redirect"
)

// What nft makes of Text is what Commit sends: read back raw, and as nft prints it.
func TestTextLoadsAsTheSameRules(t *testing.T) {
	for name, json := range specs {
		t.Run(name, func(t *testing.T) { textEqualsCommit(t, overlay(t, json)) })
	}
	const rounds = 50
	t.Run("random", func(t *testing.T) {
		for seed := range uint64(rounds) {
			rs, err := redirect.Compile(randomSpec(rand.New(rand.NewPCG(seed, 1))))
			if err != nil {
				continue
			}
			if textEqualsCommit(t, rs); t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
	})
}

func textEqualsCommit(t *testing.T, rs redirect.RuleSet) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rules.nft")
	if err := os.WriteFile(file, []byte(Text(rs)), 0o600); err != nil {
		t.Fatal(err)
	}
	want := Backend{}.Want(rs)
	var loaded, committed string
	inNetns(t, func() {
		run(t, "nft", "-f", file)
		got, _, err := Backend{}.List()
		if err != nil {
			t.Error(err)
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("what nft loads (-want +got):\n%s\n%s", diff, Text(rs))
		}
		loaded = run(t, "nft", "-nn", "list", "ruleset")
	})
	inNetns(t, func() {
		commit(t, rs, redirect.Installed)
		run(t, "nft", fmt.Sprintf("flush chain %[1]s detour DETOUR_STAMP; delete chain %[1]s detour DETOUR_STAMP", familyOf(rs)))
		committed = run(t, "nft", "-nn", "list", "ruleset")
	})
	if diff := gocmp.Diff(loaded, committed); diff != "" {
		t.Errorf("as nft prints them (-loaded +committed):\n%s", diff)
	}
}
