package docs_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/detour-cni/detour/inspect/words"
	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/redirecttest"
)

// TestRedirectHasEveryReason: each reason that the compiler can give stands in a
// table of redirect.md.
func TestRedirectHasEveryReason(t *testing.T) {
	page := read(t, "redirect.md")
	for why := range reasons(t) {
		if !strings.Contains(page, "| "+why+" |\n") {
			t.Errorf("redirect.md: no rule with the reason %q", why)
		}
	}
}

// TestReasonsAreLiterals: what rules say in any rule case is what the compiler's
// source has, so that the test above knows them all.
func TestReasonsAreLiterals(t *testing.T) {
	known := reasons(t)
	for _, c := range redirecttest.Cases(t) {
		rs, err := redirect.Compile(c.Spec)
		if err != nil {
			t.Fatal(err)
		}
		for _, chain := range rs.Chains {
			for _, r := range chain.Rules {
				if !known[r.Why] {
					t.Errorf("%s: %s: %q is in no source", c.Name, chain.Name, r.Why)
				}
			}
		}
	}
}

// reasons are the sentences in the compiler's source: a string with a space is one.
func reasons(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob("../redirect/compile*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files of the compiler, %v", len(files), err)
	}
	found := map[string]bool{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if s, err := strconv.Unquote(lit.Value); err == nil && strings.Contains(s, " ") {
					found[s] = true
				}
			}
			return true
		})
	}
	return found
}

// walkOf gives the way of a packet through the rules: a row of a case in
// testdata/rules, which Trace and the kernel judge, too.
//
//	<!-- gen: walk envoy-defaults OUTPUT 1000 10.9.0.2 10.9.0.1:80 -->
func walkOf(t *testing.T) func(string) (string, error) {
	return func(args string) (string, error) {
		name, text, _ := strings.Cut(args, " ")
		c := redirecttest.CaseOf(t, name)
		i := slices.IndexFunc(c.Rows, func(r redirecttest.Row) bool { return strings.HasPrefix(r.Text+" ", text+" ") })
		if i < 0 {
			return "", fmt.Errorf("testdata/rules/%s.txtar has no row %q", name, text)
		}
		rs, err := redirect.Compile(c.Spec)
		if err != nil {
			return "", err
		}
		var b strings.Builder
		b.WriteString("\n| chain, rule | then | because |\n|---|---|---|\n")
		outcome := redirect.Trace(rs, c.Rows[i].Packet)
		for _, s := range outcome.Steps {
			if s.Matched == redirect.Yes {
				fmt.Fprintf(&b, "| `%s` %d | %s | %s |\n", s.Chain, s.Index+1, words.Target(s.Rule.Target), s.Rule.Why)
			}
		}
		return b.String() + "\n", nil
	}
}
