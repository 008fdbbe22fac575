package iptables

import (
	"flag"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/detour-cni/detour/redirect"
)

var update = flag.Bool("update", false, "write golden files")

func TestTextIsGolden(t *testing.T) {
	for _, tc := range specs {
		t.Run(tc.name, func(t *testing.T) {
			rs := compile(t, tc.change)
			got := "# IPv4\n" + Text(rs, true) + "# IPv6\n" + Text(rs, false)
			file := filepath.Join("testdata", strings.NewReplacer(" ", "-", ",", "", "'", "").Replace(tc.name)+".rules")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAddressesAsIptablesSavePrintsThem(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.1":          "10.0.0.1",
		"::6":               "::6",
		"::ffff":            "::ffff",
		"::1:0":             "::0.1.0.0",
		"::102:304":         "::1.2.3.4",
		"::1:0:0":           "::1:0:0",
		"2001:db8:0:0:1::1": "2001:db8::1:0:0:1",
		"1:0:2:3:4:5:6:7":   "1:0:2:3:4:5:6:7",
	} {
		if got := addrText(netip.MustParseAddr(in)); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestPortsFitMultiport(t *testing.T) {
	var ports []redirect.PortRange
	for p := uint16(1); p < 100; p += 3 {
		ports = append(ports, redirect.PortRange{First: p, Last: p + p%2})
	}
	all := 0
	for chunk := range chunks(ports) {
		room := 0
		for _, r := range chunk {
			room += slots(r)
		}
		if room > maxMultiport || len(chunk) == 0 {
			t.Errorf("%d places: %v", room, chunk)
		}
		all += len(chunk)
	}
	if all != len(ports) {
		t.Errorf("%d of %d ranges", all, len(ports))
	}
}

func TestListsMultiply(t *testing.T) {
	r := redirect.Rule{Match: redirect.Match{
		redirect.TCP{},
		redirect.DstPort{Ports: slices.Repeat([]redirect.PortRange{{First: 1, Last: 2}}, 8)},
		redirect.UID{IDs: []redirect.IDRange{{First: 1, Last: 1}, {First: 3, Last: 4}}},
		redirect.Dst{Prefixes: prefixes("10.0.0.0/8", "192.0.2.1/32", "fd00::/8")},
	}, Target: redirect.Return{}, Why: "w"}
	if got := ruleTexts(r, true); len(got) != 2*2*2 {
		t.Errorf("IPv4: %q", got)
	}
	if got := ruleTexts(r, false); len(got) != 2*2 {
		t.Errorf("IPv6: %q", got)
	}
}

func TestToolErrorsAreOneLineAndNameTheRule(t *testing.T) {
	failure := exec.Command("sh", "-c", "exit 2").Run()
	const stdin = "*nat\n-A DETOUR_OUTPUT --uid-owner 7\nCOMMIT\n"
	for stderr, want := range map[string]string{
		"iptables-restore v1.8.9 (legacy): unknown option \"--uid-owner\"\nError occurred at line: 2\nTry `iptables-restore -h' or 'iptables-restore --help' for more information.\n": `line 2: unknown option "--uid-owner": -A DETOUR_OUTPUT --uid-owner 7`,
		"iptables-nft-restore v1.8.9 (nf_tables): \nline 2: RULE_INSERT failed (Invalid argument): rule in chain PREROUTING\n":                                                        "line 2: RULE_INSERT failed (Invalid argument): rule in chain PREROUTING: -A DETOUR_OUTPUT --uid-owner 7",
		"iptables-restore: line 3 failed\n": "line 3: failed: COMMIT",
		"line 99: beyond\n":                 "line 99: beyond",
		"line of something\n":               "line of something",
	} {
		if got, want := toolError("iptables-restore", failure, stderr, stdin).Error(), "iptables-restore: exit status 2: "+want; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	if got := toolError("iptables-restore", failure, "", stdin).Error(); got != "iptables-restore: exit status 2" {
		t.Error(got)
	}
}

// Nothing that a comment says can begin another word, or another line.
func FuzzCommentStaysOneWord(f *testing.F) {
	for _, seed := range []string{"it's", `a "b" \c`, "x\n-F\nCOMMIT", `\`, ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, why string) {
		texts := ruleTexts(redirect.Rule{Target: redirect.Drop{}, Why: why}, true)
		words := split(texts[0])
		if len(texts) != 1 || strings.ContainsAny(texts[0], "\n\r") || len(words) != 6 || words[5] != "DROP" {
			t.Errorf("%q: %q", why, words)
		}
		if !strings.ContainsFunc(why, func(c rune) bool { return c < ' ' || c == 0x7f }) && comment(texts[0]) != redirect.CommentPrefix+why {
			t.Errorf("%q: read back as %q", why, comment(texts[0]))
		}
	})
}

// Whatever iptables-save prints, it is read without a panic, and what is read is
// what restoreText writes.
func FuzzParseSave(f *testing.F) {
	f.Add("*nat\n:OUTPUT ACCEPT [0:0]\n:DETOUR_OUTPUT - [0:0]\n[0:0] -A OUTPUT -j DETOUR_OUTPUT\n[1:2] -A DETOUR_OUTPUT -j RETURN\nCOMMIT\n")
	f.Add("*nat\n:DETOUR_X\n[")
	f.Add("# Table `nat' is incompatible, use 'nft' tool.\n")
	f.Fuzz(func(t *testing.T, text string) {
		have, err := parseSave(text)
		if err != nil {
			return
		}
		if way := restoreText(have, have, table.samePlaces); way != "" {
			t.Errorf("from there to there: %q", way)
		}
		families{v4: have, v6: have}.listing().Digest()
		families{v4: have}.wholeStamp()
	})
}
