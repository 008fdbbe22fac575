package nftables

import (
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/detour-cni/detour/redirect"
)

func TestEveryDriftIsNoticed(t *testing.T) {
	const out = "inet detour DETOUR_OUTPUT"
	for _, tc := range []struct {
		name, nft string // %H is the handle of the rule with a set, %R replaces that
		err       string
	}{
		{"nothing", `add table inet other`, ""},
		{"deleted rule", `delete rule inet detour DETOUR_INBOUND handle %H`, "chain DETOUR_INBOUND: rule 2 is missing"},
		{"changed rule", `%Rtcp dport { 15020-15021, 15091 } counter return comment "detour: excluded port: reaches its own listener"`, "rule 2 was changed"},
		{"changed comment", `%Rmeta l4proto tcp tcp dport { 15020-15021, 15090 } counter return comment "else"`, "rule 2 was changed"},
		{"replaced by the same", `%Rmeta l4proto tcp tcp dport { 15020-15021, 15090 } counter return comment "detour: excluded port: reaches its own listener"`, ""},
		{"smaller set", `%Rmeta l4proto tcp tcp dport { 15020-15021, 15089 } counter return comment "detour: excluded port: reaches its own listener"`, "rule 2 was changed"},
		{"no counter", `%Rmeta l4proto tcp tcp dport { 15020-15021, 15090 } return comment "detour: excluded port: reaches its own listener"`, "rule 2 was changed"},
		{"negated", `%Rmeta l4proto tcp tcp dport != { 15020-15021, 15090 } counter return comment "detour: excluded port: reaches its own listener"`, "rule 2 was changed"},
		{"rule added at the end", "add rule " + out + " counter accept", "is not one that ADD installed"},
		{"rule added in front", "insert rule " + out + " meta skuid 99 return", "DETOUR_OUTPUT: rule"},
		{"foreign expression", "insert rule " + out + " limit rate 1/second return", "DETOUR_OUTPUT: rule"},
		{"flushed", "flush chain " + out, "chain DETOUR_OUTPUT: rule 1 is missing"},
		{"chain deleted", "flush chain " + out + "; delete chain " + out, "chain DETOUR_OUTPUT is missing"},
		{"chain added", "add chain inet detour MINE", "chain MINE is not one"},
		{"base chain added", "add chain inet detour MINE { type filter hook output priority 0; }", "chain MINE is not one"},
		{"policy", "chain " + out + " { policy drop; }", "chain DETOUR_OUTPUT hangs on"},
		{"dormant", "add table inet detour { flags dormant; }", "dormant"},
		{"named set", "add set inet detour mine { type ipv4_addr; }", "chain (set mine) is not one"},
		{"named object", "add counter inet detour mine", "chain (1 objects or flowtables) is not one"},
		{"second table", "add table ip detour", "chain (table ip detour) is not one"},
		{"stamp gone", "flush chain inet detour DETOUR_STAMP", "chain DETOUR_STAMP is missing or altered"},
		{"stamp with another rule", "add rule inet detour DETOUR_STAMP accept", "chain DETOUR_STAMP is missing or altered"},
		{"table deleted", "delete table inet detour", "no rules of detour"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inNetns(t, func() {
				rs := overlay(t, `{}`)
				commit(t, rs, redirect.Installed)
				run(t, "nft", withHandle(tc.nft, handleOfSet(t)))
				err := check(t, rs)
				if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
					t.Errorf("check: %v (want %q)", err, tc.err)
				}
			})
		})
	}
}

// A stamp whose rules are on every packet's way ends it there.
func TestAStampOnAHookIsNone(t *testing.T) {
	inNetns(t, func() {
		rs := overlay(t, `{}`)
		commit(t, rs, redirect.Installed)
		stamp := redirect.Stamp{Version: redirect.RulesVersion, Digest: Backend{}.Want(rs).Digest(), Owner: owner}.Chain().Rules
		const chain = "inet detour DETOUR_STAMP"
		run(t, "nft", fmt.Sprintf("flush chain %[1]s; delete chain %[1]s; add chain %[1]s { type filter hook output priority 0; }; "+
			"add rule %[1]s return comment %[2]q; add rule %[1]s return comment %[3]q", chain, stamp[0].Comment(), stamp[1].Comment()))
		if err := check(t, rs); err == nil || !strings.Contains(err.Error(), "missing or altered") {
			t.Errorf("check: %v", err)
		}
	})
}

// withHandle says "replace" in two commands: nft 1.0.6 aborts on one with a set.
func withHandle(command, handle string) string {
	const rule = "rule inet detour DETOUR_INBOUND handle "
	if with, ok := strings.CutPrefix(command, "%R"); ok {
		return "add " + rule + handle + " " + with + "; delete " + rule + handle
	}
	return strings.Replace(command, "%H", handle, 1)
}

// handleOfSet gives the handle of the one rule with a set.
func handleOfSet(t *testing.T) string {
	m := regexp.MustCompile(`dport \{.*# handle (\d+)`).FindStringSubmatch(run(t, "nft", "-a", "list", "table", "inet", "detour"))
	if m == nil {
		t.Errorf("no rule with a set")
		return "0"
	}
	return m[1]
}

func TestEveryRuleThatIsMissingIsNoticed(t *testing.T) {
	handles := regexp.MustCompile(`# handle (\d+)`)
	chains := regexp.MustCompile(`chain (\S+) \{ # handle`)
	inNetns(t, func() {
		rs := overlay(t, specs["interfaces"])
		commit(t, rs, redirect.Installed)
		var deletions []string
		chain := ""
		for line := range strings.Lines(run(t, "nft", "-a", "list", "table", "inet", "detour")) {
			if m := chains.FindStringSubmatch(line); m != nil {
				chain = m[1]
			} else if m := handles.FindStringSubmatch(line); m != nil && chain != "" {
				deletions = append(deletions, fmt.Sprintf("delete rule inet detour %s handle %s", chain, m[1]))
			}
		}
		if len(deletions) < 30 {
			t.Errorf("%d rules", len(deletions))
		}
		for i := range deletions {
			removed, err := Backend{}.Remove()
			if !removed || err != nil {
				t.Errorf("remove: %v, %v", removed, err)
			}
			commit(t, rs, redirect.Installed)
			run(t, "nft", deletions[i])
			if err := check(t, rs); err == nil {
				t.Errorf("nobody noticed: %s", deletions[i])
			}
		}
	})
}

func TestASetOfOursCannotBeEdited(t *testing.T) {
	inNetns(t, func() {
		rs := overlay(t, `{}`)
		commit(t, rs, redirect.Installed)
		for _, verb := range []string{"add", "delete"} {
			if err := exec.Command("nft", verb, "element", "inet", "detour", "__set0", "{ 15090 }").Run(); err == nil {
				t.Errorf("%s element: accepted", verb)
			}
		}
		if err := check(t, rs); err != nil {
			t.Error(err)
		}
	})
}
