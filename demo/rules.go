package main

import (
	"fmt"
	"os/exec"
	"strings"

	"github.com/detour-cni/detour/inspect/words"
	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/nftables"
)

// counted is a rule as it is in the kernel, next to the one that was compiled.
type counted struct {
	chain   redirect.Chain
	rule    redirect.Rule
	packets uint64
	// same is whether the kernel's rule gives the reason of the compiled one.
	same bool
}

// countRules reads the pod's rules from the kernel, and lays them beside those of a Spec.
func countRules(p *pod, rs redirect.RuleSet) ([]counted, error) {
	var kernel []nftables.Count
	err := within(p.netns, func() (err error) {
		kernel, err = nftables.Backend{}.Observe()
		return err
	})
	if err != nil {
		return nil, err
	}
	origins := nftables.Origins(rs)
	var rules []counted
	for _, c := range rs.Chains {
		for _, k := range kernel {
			if k.Chain != c.Name || k.Index >= len(origins[c.Name]) {
				continue
			}
			rule := c.Rules[origins[c.Name][k.Index]]
			if n := len(rules); n > 0 && rules[n-1].chain.Name == c.Name && rules[n-1].rule.Why == rule.Why && words.Match(rules[n-1].rule.Match) == words.Match(rule.Match) {
				rules[n-1].packets += k.Packets // one rule, said once for each family
				continue
			}
			rules = append(rules, counted{c, rule, k.Packets, k.Comment == rule.Comment()})
		}
	}
	return rules, nil
}

// hookWords says what a chain's place means.
func hookWords(h redirect.Hook) string {
	switch h {
	case redirect.Output:
		return "what programs in the pod send"
	case redirect.Prerouting:
		return "what arrives from outside"
	}
	return "from other chains"
}

// showRules prints the table.
func (s *screen) showRules(rules []counted) {
	const row = "    %7s  %-25s %-9s  %s"
	chain := ""
	for _, r := range rules {
		if chain != r.chain.Name {
			chain = r.chain.Name
			s.print("")
			s.print("    %s  %s", s.paint(bold, chain), s.paint(faint, hookWords(r.chain.Hook)))
			s.print("%s", s.paint(faint, fmt.Sprintf(row, "times", "when it is", "then", "because")))
		}
		times := "-"
		if r.packets > 0 {
			times = fmt.Sprint(r.packets)
		}
		line := fmt.Sprintf(row, times, words.Match(r.rule.Match), words.Target(r.rule.Target), r.rule.Why)
		if r.packets == 0 {
			line = s.paint(faint, line)
		}
		s.print("%s", line)
	}
	s.print("")
}

// nft runs the standard tool in a namespace: what anybody with root would see or do.
func nft(netns string, args ...string) (string, error) {
	var out []byte
	err := within(netns, func() (err error) {
		out, err = exec.Command("nft", args...).CombinedOutput()
		return err
	})
	if err != nil {
		return "", fmt.Errorf("nft %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// handleOf finds the number by which nft deletes the rule with a reason.
func handleOf(listing, why string) string {
	for line := range strings.Lines(listing) {
		if strings.Contains(line, redirect.CommentPrefix+why) {
			_, handle, _ := strings.Cut(strings.TrimSpace(line), "# handle ")
			return handle
		}
	}
	return ""
}
