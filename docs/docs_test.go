// Package docs_test holds the pages of docs/ against the code: what can drift is
// written by the test (go test ./docs -update) or compared with what the code says.
package docs_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/detour-cni/detour/inspect/words"
	"github.com/detour-cni/detour/plugin"
	"github.com/detour-cni/detour/plugin/mesh"
	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/iptables"
	"github.com/detour-cni/detour/redirect/nftables"
)

var update = flag.Bool("update", false, "write the generated blocks")

// block is what a page has generated: its kind, its arguments, its text.
//
//	<!-- gen: rules {"dnsPort": 15053} DETOUR_ZONE DETOUR_ZONE_QUERY -->
//	...
//	<!-- /gen -->
var block = regexp.MustCompile(`(?s)(<!-- gen: (\w+) ?(.*?) -->\n).*?(<!-- /gen -->)`)

func TestGeneratedBlocksAreTheCodes(t *testing.T) {
	kinds := map[string]func(string) (string, error){
		"rules": rulesTable, "nft": nftText, "iptables": iptablesText, "keys": keysTable,
		"walk": walkOf(t), "bench": benchTable(t),
		"defaults": meshDefaults, "rows": meshRows, "silences": meshSilences, "code": codeOf(t), "validate": validateTable, "help": helpOf(t), "golden": goldenOf,
	}
	for _, page := range pages(t) {
		was := read(t, page)
		now := block.ReplaceAllStringFunc(was, func(found string) string {
			m := block.FindStringSubmatch(found)
			generate, ok := kinds[m[2]]
			if !ok {
				t.Fatalf("%s: unknown kind of block %q", page, m[2])
			}
			text, err := generate(m[3])
			if err != nil {
				t.Fatalf("%s: %s %s: %v", page, m[2], m[3], err)
			}
			return m[1] + text + m[4]
		})
		if was == now {
			continue
		}
		if !*update {
			t.Errorf("%s is not what the code says (go test ./docs -update):\n%s", page, cmp.Diff(was, now))
			continue
		}
		write(t, page, now)
	}
}

func write(t *testing.T, page, text string) {
	t.Helper()
	if err := os.WriteFile(page, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func pages(t *testing.T) []string {
	t.Helper()
	found := []string{"../README.md"}
	for _, pattern := range []string{"*.md", "commands/*.md", "adr/*.md"} {
		more, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, more...)
	}
	return found
}

func read(t *testing.T, page string) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// specOf reads the JSON object at the beginning of a block's arguments.
func specOf(args string) (redirect.RuleSet, []string, error) {
	d := json.NewDecoder(strings.NewReader(args))
	var raw json.RawMessage
	if err := d.Decode(&raw); err != nil {
		return redirect.RuleSet{}, nil, err
	}
	spec, err := redirect.Overlay(redirect.EnvoyDefaults(), raw)
	if err != nil {
		return redirect.RuleSet{}, nil, err
	}
	rs, err := redirect.Compile(spec)
	return rs, strings.Fields(args[d.InputOffset():]), err
}

func rulesTable(args string) (string, error) {
	rs, chains, err := specOf(args)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, name := range chains {
		i := slices.IndexFunc(rs.Chains, func(c redirect.Chain) bool { return c.Name == name })
		if i < 0 {
			return "", fmt.Errorf("no chain %s", name)
		}
		c := rs.Chains[i]
		at := "only jumped to"
		if c.Hook != redirect.NoHook {
			at = fmt.Sprintf("%s %s", c.Table, c.Hook)
		}
		fmt.Fprintf(&b, "\n| # | `%s` (%s): when | then | because |\n|---|---|---|---|\n", name, at)
		for n, r := range c.Rules {
			fmt.Fprintf(&b, "| %d | %s | %s | %s |\n", n+1, words.Match(r.Match), words.Target(r.Target), r.Why)
		}
	}
	return b.String() + "\n", nil
}

func nftText(args string) (string, error) {
	rs, _, err := specOf(args)
	return "```\n" + nftables.Text(rs) + "```\n", err
}

func iptablesText(args string) (string, error) {
	rs, _, err := specOf(args)
	return "```\n" + iptables.Text(rs, true) + "```\n", err
}

func keysTable(string) (string, error) {
	annotations := map[string]string{}
	for _, row := range mesh.Detour().Rows() {
		annotations[row.Key] = row.Annotation
	}
	var b strings.Builder
	b.WriteString("\n| key | default | value | meaning | annotation |\n|---|---|---|---|---|\n")
	for _, k := range redirect.Keys() {
		annotation, ok := annotations[k.Name]
		if !ok {
			return "", fmt.Errorf("%s has no annotation", k.Name)
		}
		want := k.Want
		if k.Many && !strings.Contains(want, `"*"`) {
			want = "list: " + want
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s | `%s` |\n", k.Name, k.JSON(redirect.EnvoyDefaults()), want, k.Meaning, annotation)
	}
	return b.String() + "\n", nil
}

// TestOptionsTable: configuration.md has every option, and each default is what
// leaving the key out means.
func TestOptionsTable(t *testing.T) {
	_, err := plugin.ParseOptions(json.RawMessage(`{"nonsense": 1}`), mesh.All())
	_, list, ok := strings.Cut(fmt.Sprint(err), "(want ")
	if !ok {
		t.Fatalf("error of an unknown key lists none: %v", err)
	}
	known := strings.FieldsFunc(strings.TrimSuffix(list, ")"), func(r rune) bool { return r == ',' || r == ' ' })
	known = slices.DeleteFunc(known, func(w string) bool { return w == "or" })
	row := regexp.MustCompile("(?m)^\\| `(\\w+)` \\| `([^`]*)` \\|")
	_, section, _ := strings.Cut(read(t, "configuration.md"), "## The `detour` object")
	section, _, _ = strings.Cut(section, "\n## ")
	var written []string
	for _, m := range row.FindAllStringSubmatch(section, -1) {
		written = append(written, m[1])
		got, err := plugin.ParseOptions(json.RawMessage(fmt.Sprintf("{%q: %s}", m[1], m[2])), mesh.All())
		if err != nil {
			t.Errorf("%s: default %s: %v", m[1], m[2], err)
			continue
		}
		want := plugin.DefaultOptions(mesh.All())
		if len(got.MeshOptions) == 0 {
			got.MeshOptions = nil // {} and none are the same
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %s is not the default", m[1], m[2])
		}
	}
	slices.Sort(known)
	slices.Sort(written)
	if diff := cmp.Diff(known, written); diff != "" {
		t.Errorf("options in the code and in configuration.md:\n%s", diff)
	}
}

// TestConflistsWork: every conflist to copy is one that the plugin takes.
func TestConflistsWork(t *testing.T) {
	fence := regexp.MustCompile("(?s)```json\n(.*?)```")
	n := 0
	for _, page := range pages(t) {
		for _, m := range fence.FindAllStringSubmatch(read(t, page), -1) {
			var doc struct {
				Type    string
				Plugins []json.RawMessage
			}
			if err := json.Unmarshal([]byte(m[1]), &doc); err != nil {
				t.Errorf("%s: %v in\n%s", page, err, m[1])
				continue
			}
			if doc.Type == "detour-cni" {
				doc.Plugins = []json.RawMessage{json.RawMessage(m[1])}
			}
			for _, p := range doc.Plugins {
				if !strings.Contains(string(p), `"detour-cni"`) {
					continue
				}
				n++
				if _, err := plugin.ParseNetConf(p, mesh.All()); err != nil {
					t.Errorf("%s: %v in\n%s", page, err, p)
				}
			}
		}
	}
	if n == 0 {
		t.Error("no page has a conflist")
	}
}
