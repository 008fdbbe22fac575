package inspect_test

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/detour-cni/detour/inspect"
	"github.com/detour-cni/detour/inspect/words"
	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/live"
)

// hostile is a report whose every word from outside is odd.
func hostile() inspect.Report {
	const odd = "a\x00b\x1b[31m\nnothing wrong found\n\u009b\ufffe\u202e<&\"'"
	socket := inspect.Socket{UID: 1337, Process: inspect.Process{Name: odd}}
	chain := redirect.Chain{Name: odd, Table: odd, Hook: redirect.Output, Live: &redirect.Live{Scope: odd},
		Rules: []redirect.Rule{{Match: redirect.Match{redirect.OutIface{Iface: odd}, redirect.Opaque{Text: odd}}, Target: redirect.OpaqueTarget{Text: odd}, Why: odd}}}
	step := redirect.Step{Hook: redirect.Output, Table: odd, Chain: odd, Rule: chain.Rules[0], Matched: redirect.Yes, Scope: odd}
	way := inspect.Way{Name: "app-out", Title: odd, From: inspect.App, Meant: inspect.Wire, Ends: inspect.Proxy, Listener: &socket, Decided: &step,
		Outcome: redirect.Outcome{Verdict: redirect.Redirected, Port: 15001, Steps: []redirect.Step{step}}}
	return inspect.Report{Name: odd, Found: odd, Netns: odd, Wanted: inspect.Wanted{Why: odd, Redirect: true}, Ways: []inspect.Way{way},
		Findings: []inspect.Finding{{Wrong: true, What: odd, Do: odd}},
		Seen: inspect.Pod{Uplink: odd, Sockets: []inspect.Socket{socket}, Routing: []string{odd},
			Rules: live.Rules{Chains: []live.Chain{{Chain: chain, Counts: make([]live.Count, 1)}}, Unread: []string{odd}}}}
}

// TestNoWordOfAPodIsObeyed: by a terminal, in no form; a table's lines are ours, and a picture is well-formed.
func TestNoWordOfAPodIsObeyed(t *testing.T) {
	r := hostile()
	svg, err := inspect.SVG(r)
	if err != nil {
		t.Fatal(err)
	}
	page, err := inspect.HTML(r)
	if err != nil {
		t.Fatal(err)
	}
	table, wide := inspect.Table(r, false), inspect.Table(r, true)
	for form, text := range map[string]string{"svg": svg, "html": page, "table": table, "wide": wide} {
		if words.Text(text) != text || !strings.Contains(text, "�[31m") {
			t.Errorf("%s: %q", form, text)
		}
	}
	for _, text := range []string{table, wide} {
		if strings.Contains("\n"+text, "\nnothing wrong found") {
			t.Errorf("a line that is not ours: %s", text)
		}
	}
	d := xml.NewDecoder(strings.NewReader(svg))
	for err == nil {
		_, err = d.Token()
	}
	if !errors.Is(err, io.EOF) {
		t.Errorf("%v in %s", err, svg)
	}
}
