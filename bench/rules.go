package main

import (
	"fmt"
	"os/exec"
	"strings"

	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/iptables"
	"github.com/detour-cni/detour/redirect/nftables"
)

// rules are those of the Envoy defaults in the words of other tools. They come
// from the same renderers as the plugin's, so that only the way differs in which
// they get into the kernel. The stamp is left out: nobody but detour keeps one.
type rules struct {
	nft                string // for nft -f
	restore4, restore6 string // for iptables-restore --noflush
	calls              []ruleCall
}

// ruleCall is one call of go-iptables: a new chain, or a rule at a chain's end.
type ruleCall struct {
	IPv6  bool     `json:"ipv6,omitempty"`
	Table string   `json:"table"`
	Chain string   `json:"chain"`
	Rule  []string `json:"rule,omitempty"`
}

func defaultRules() (rules, error) {
	rs, err := redirect.Compile(redirect.EnvoyDefaults())
	if err != nil {
		return rules{}, err
	}
	r := rules{nft: nftables.Text(rs), restore4: iptables.Text(rs, true), restore6: iptables.Text(rs, false)}
	for _, family := range []struct {
		text string
		v6   bool
	}{{r.restore4, false}, {r.restore6, true}} {
		calls, err := callsOf(family.text, family.v6)
		if err != nil {
			return rules{}, err
		}
		r.calls = append(r.calls, calls...)
	}
	return r, nil
}

// onNode puts rules into the caller's own namespace, for as long as the benchmark
// runs: a node has some (kube-proxy's), and the first hook of a kind on a machine
// has the kernel patch its own code, which no pod after it pays for.
func (r rules) onNode() error {
	for _, way := range []struct{ text, name, arg string }{
		{r.nft, "nft", "-f-"},
		{r.restore4, "iptables-nft-restore", "--noflush"},
		{r.restore6, "ip6tables-nft-restore", "--noflush"},
		{r.restore4, "iptables-legacy-restore", "--noflush"},
		{r.restore6, "ip6tables-legacy-restore", "--noflush"},
	} {
		cmd := exec.Command(way.name, way.arg)
		cmd.Stdin = strings.NewReader(way.text)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("rules on the node: %s: %w: %s", way.name, err, out)
		}
	}
	return nil
}

// callsOf says a text for iptables-restore call by call.
func callsOf(text string, v6 bool) ([]ruleCall, error) {
	var calls []ruleCall
	table := ""
	for line := range strings.Lines(text) {
		words := wordsOf(line)
		if len(words) == 0 || words[0] == "COMMIT" {
			continue
		}
		call := ruleCall{IPv6: v6, Table: table}
		switch first := words[0]; {
		case first[0] == '*':
			table = first[1:]
			continue
		case first[0] == ':':
			call.Chain = first[1:]
		case first == "-A":
			call.Chain, call.Rule = words[1], words[2:]
		case first == "-I": // into a chain that is empty: at its end is the same
			call.Chain, call.Rule = words[1], words[3:]
		default:
			return nil, fmt.Errorf("iptables-restore text: line %q: neither table, chain nor rule", line)
		}
		calls = append(calls, call)
	}
	return calls, nil
}

// wordsOf splits a line as iptables-restore does: at spaces outside double quotes.
func wordsOf(line string) []string {
	var words []string
	word, quoted, any := "", false, false
	for _, c := range strings.TrimSpace(line) {
		switch {
		case c == '"':
			quoted, any = !quoted, true
		case c == ' ' && !quoted:
			if any {
				words = append(words, word)
			}
			word, any = "", false
		default:
			word, any = word+string(c), true
		}
	}
	if any {
		words = append(words, word)
	}
	return words
}
