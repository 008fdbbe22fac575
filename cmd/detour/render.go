package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/detour-cni/detour/inspect/words"
	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/iptables"
	"github.com/detour-cni/detour/redirect/nftables"
)

func renderCommand() *cobra.Command {
	var (
		source          source
		backend, family string
		output          string
	)
	c := &cobra.Command{
		Use:   "render",
		Short: "Print the rules that ADD would install",
		Long: `Print the rules that ADD would install, for a redirect or for a pod. Nothing is installed, and no node is looked at.

The text is what nft -f and iptables-restore --noflush take. A pod's manifest must be one from the cluster, after the
mesh's injector: that is where the annotations come from.`,
		Example: `  kubectl get pod cart-0 -o yaml | detour render --annotations -
  detour render --annotations cart.yaml --config 10-calico.conflist -o why
  detour render --spec redirect.json --backend iptables --family ipv6`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			decided, err := source.read(c.InOrStdin())
			if err != nil {
				return err
			}
			if !decided.Redirect {
				words.Fprintf(c.ErrOrStderr(), "no rules: %s\n", decided.Why)
			}
			rs, err := decided.rules()
			if err != nil {
				return err
			}
			text, err := rendered(decided, rs, output, backend, family)
			if err != nil {
				return exit{exitUsage, err}
			}
			for _, n := range besides(rs, output, backend, family) {
				words.Fprintf(c.ErrOrStderr(), "%s\n", n)
			}
			_, err = io.WriteString(c.OutOrStdout(), text)
			return err
		},
	}
	source.register(c.Flags())
	c.Flags().StringVar(&backend, "backend", "nftables", "whose language: nftables or iptables")
	c.Flags().StringVar(&family, "family", "ipv4", "whose half, with iptables: ipv4 or ipv6")
	c.Flags().StringVarP(&output, "output", "o", "text", "text, json, or why: the rules in words")
	return c
}

// rendered gives the rules as output says.
func rendered(d decided, rs redirect.RuleSet, output, backend, family string) (string, error) {
	if backend != "nftables" && backend != "iptables" {
		return "", fmt.Errorf("--backend: %q (want nftables or iptables)", backend)
	}
	if family != "ipv4" && family != "ipv6" {
		return "", fmt.Errorf("--family: %q (want ipv4 or ipv6)", family)
	}
	switch {
	case output == "json":
		return renderedJSON(d, rs)
	case output == "why":
		return prose(d, rs), nil
	case output != "text":
		return "", fmt.Errorf("--output: %q (want text, json or why)", output)
	case !d.Redirect:
		return "", nil
	case backend == "iptables":
		return iptables.Text(rs, family == "ipv4"), nil
	}
	return nftables.Text(rs), nil
}

// besides says what the text cannot hold, and goes to stderr.
func besides(rs redirect.RuleSet, output, backend, family string) []string {
	if output != "text" || len(rs.Chains) == 0 {
		return nil
	}
	var all []string
	if other := map[string]string{"ipv4": "ipv6", "ipv6": "ipv4"}[family]; backend == "iptables" && rs.V4() && rs.V6() {
		all = append(all, "the other half: --family "+other)
	}
	for _, e := range extras(rs) {
		all = append(all, "besides the rules: "+e)
	}
	return all
}

// extras are the commands that do what ADD does besides rules (ip-rule(8), ip-route(8)).
func extras(rs redirect.RuleSet) []string {
	var all []string
	for _, a := range rs.LoopbackAddrs {
		all = append(all, fmt.Sprintf("ip -6 addr add %s/128 dev lo", a))
	}
	if m := rs.LocalMark; m.Table != 0 {
		for _, f := range []struct {
			flag string
			on   bool
		}{{"-4", rs.V4()}, {"-6", rs.V6()}} {
			if f.on {
				all = append(all, fmt.Sprintf("ip %s rule add fwmark %d lookup %d priority %[3]d", f.flag, m.Mark, m.Table),
					fmt.Sprintf("ip %s route add local default dev lo table %d", f.flag, m.Table))
			}
		}
	}
	return all
}

// prose says the rules as a person would: a table a chain.
func prose(d decided, rs redirect.RuleSet) string {
	var b strings.Builder
	words.Fprintf(&b, "%s\n", d.Why)
	for _, n := range d.Notes {
		words.Fprintf(&b, "note: %s\n", n)
	}
	for _, c := range rs.Chains {
		at := "only jumped to"
		if c.Hook != redirect.NoHook {
			at = fmt.Sprintf("%s %s", c.Table, c.Hook)
		}
		words.Fprintf(&b, "\n%s, %s\n", c.Name, at)
		t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		for i, r := range c.Rules {
			words.Fprintf(t, "  %d\t%s\t%s\t%s\n", i+1, words.Match(r.Match), words.Target(r.Target), r.Why)
		}
		t.Flush() //nolint:errcheck // a strings.Builder takes everything
	}
	for _, e := range extras(rs) {
		words.Fprintf(&b, "\nbesides the rules: %s", e)
	}
	return strings.TrimSuffix(b.String(), "\n") + "\n"
}

// renderJSON is `detour render -o json`, of chains and their rules.
type (
	ruleJSON struct {
		Match string `json:"match"`
		Then  string `json:"then"`
		Why   string `json:"why"`
	}
	chainJSON struct {
		Name  string     `json:"name"`
		Table string     `json:"table"`
		Hook  string     `json:"hook,omitempty"`
		Rules []ruleJSON `json:"rules"`
	}
	renderJSON struct {
		Schema   string         `json:"schema"`
		Redirect bool           `json:"redirect"`
		Why      string         `json:"why"`
		Notes    []string       `json:"notes,omitempty"`
		Spec     *redirect.Spec `json:"spec,omitempty"`
		Chains   []chainJSON    `json:"chains"`
		Besides  []string       `json:"besides,omitempty"`
		NFTables string         `json:"nftables,omitempty"`
		IPTables string         `json:"iptables,omitempty"`
		IP6      string         `json:"ip6tables,omitempty"`
	}
)

func renderedJSON(d decided, rs redirect.RuleSet) (string, error) {
	out := renderJSON{Schema: "detour-cni.dev/render/v1", Redirect: d.Redirect, Why: d.Why, Notes: d.Notes,
		Chains: []chainJSON{}, Besides: extras(rs)}
	if d.Redirect {
		out.Spec = &d.Spec
		out.NFTables, out.IPTables, out.IP6 = nftables.Text(rs), iptables.Text(rs, true), iptables.Text(rs, false)
	}
	for _, c := range rs.Chains {
		chain := chainJSON{Name: c.Name, Table: string(c.Table), Hook: string(c.Hook), Rules: []ruleJSON{}}
		for _, r := range c.Rules {
			chain.Rules = append(chain.Rules, ruleJSON{words.Match(r.Match), words.Target(r.Target), r.Why})
		}
		out.Chains = append(out.Chains, chain)
	}
	return indented(out)
}

// indented is JSON for people and programs: two spaces, <>& as they are, and what a terminal obeys escaped.
func indented(v any) (string, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return words.JSON(b.String()), err
}

var errNoSource = errors.New("of whom? want --spec FILE or --annotations FILE")
