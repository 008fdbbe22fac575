package main

import (
	"os"
	"strings"
	"testing"
)

// TestTheAlertsAreThoseOfTheDocs: each expression of docs/metrics.md is a rule's, but for the pools and the namespace of the first.
func TestTheAlertsAreThoseOfTheDocs(t *testing.T) {
	texts, err := templates(deploy, object{"metrics": object{"prometheusRule": object{"enabled": true}}})
	if err != nil {
		t.Fatal(err)
	}
	docs, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(docs), "| alert on |")
	alerts := 0
	for line := range strings.Lines(table) {
		_, expr, ok := strings.Cut(line, "| `")
		if !ok {
			continue
		}
		alerts++
		expr, _, _ = strings.Cut(expr, "`")
		if !strings.HasPrefix(expr, "kube_") && !strings.Contains(texts["detour/templates/monitoring.yaml"], "expr: "+expr+"\n") {
			t.Errorf("no rule has %s", expr)
		}
	}
	if rules := strings.Count(texts["detour/templates/monitoring.yaml"], "- alert: "); rules != alerts || alerts == 0 {
		t.Errorf("%d rules, %d alerts in the docs", rules, alerts)
	}
}
