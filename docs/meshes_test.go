package docs_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/detour-cni/detour/plugin"
	"github.com/detour-cni/detour/plugin/mesh"
	"github.com/detour-cni/detour/redirect"
)

// dialectNamed gives one of the dialects that ship.
func dialectNamed(name string) (plugin.Dialect, error) {
	for _, d := range mesh.All() {
		if d.Name == name {
			return d, nil
		}
	}
	return plugin.Dialect{}, fmt.Errorf("no dialect %q", name)
}

// meshDefaults has the keys in which a mesh's proxy is not Envoy as Istio runs it.
func meshDefaults(name string) (string, error) {
	d, err := dialectNamed(name)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, k := range redirect.Keys() {
		if v := k.JSON(d.Defaults()); string(v) != string(k.JSON(redirect.EnvoyDefaults())) {
			fmt.Fprintf(&b, "| `%s` | `%s` |\n", k.Name, v)
		}
	}
	if b.Len() == 0 {
		return "\nThe [Envoy defaults](configuration.md), unchanged.\n\n", nil
	}
	return "\n| key | default |\n|---|---|\n" + b.String() + "\n", nil
}

// meshRows has one table for the plain annotations of a mesh, and one for each
// that is a document.
func meshRows(name string) (string, error) {
	d, err := dialectNamed(name)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	last := "none"
	for _, r := range d.Rows() {
		if group := tableOf(r); group != last {
			last = group
			fmt.Fprintf(&b, "\n%s | meaning | key | default | a list | empty | written by | since |\n|---|---|---|---|---|---|---|---|\n", group)
		}
		line, err := meshRow(d, r)
		if err != nil {
			return "", err
		}
		b.WriteString(line)
	}
	return b.String() + "\n", nil
}

// tableOf is how the table of a row begins: what stands above it, and its first
// heading.
func tableOf(r plugin.Row) string {
	switch {
	case r.Doc == plugin.NoDoc:
		return "| annotation"
	case r.From == plugin.FromArgs:
		return fmt.Sprintf("`%s` in CNI_ARGS is %s:\n\n| field", r.Annotation, r.Doc)
	}
	return fmt.Sprintf("`%s` is %s:\n\n| field", r.Annotation, r.Doc)
}

func meshRow(d plugin.Dialect, r plugin.Row) (string, error) {
	k, ok := redirect.KeyOf(r.Key)
	if !ok || r.Meaning == "" || r.Since == "" {
		return "", fmt.Errorf("%s: %s: key %q, meaning %q, since %q: one of them is missing", d.Name, r.Name(), r.Key, r.Meaning, r.Since)
	}
	name, list, empty := r.Annotation, "-", map[plugin.EmptyMode]string{
		plugin.EmptyError: "an error", plugin.EmptyNone: "an empty list", plugin.EmptyUnset: "as if absent",
	}[r.Empty]
	if r.Doc != plugin.NoDoc {
		name, empty = r.Field, "as if absent"
	}
	if k.Many {
		list = map[plugin.RowMode]string{plugin.Append: "adds to the default", plugin.Replace: "replaces it"}[r.Mode]
	}
	return fmt.Sprintf("| `%s` | %s | `%s` | `%s` | %s | %s | %s | %s |\n",
		name, r.Meaning, r.Key, k.JSON(d.Defaults()), list, empty, r.By, r.Since), nil
}

// meshSilences is what annotations of a mesh cannot say, each with the options
// that say it.
func meshSilences(name string) (string, error) {
	d, err := dialectNamed(name)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, s := range d.Silent {
		var indented strings.Builder
		for line := range strings.Lines(s.Instead) {
			indented.WriteString("  " + line)
		}
		fmt.Fprintf(&b, "\n- %s:\n\n  ```json\n%s\n  ```\n", s.Fact, strings.TrimRight(indented.String(), "\n"))
	}
	return b.String() + "\n", nil
}

// codeOf is a file of the repository, as it stands there.
func codeOf(t *testing.T) func(string) (string, error) {
	return func(file string) (string, error) {
		language := map[string]string{".go": "go"}[filepath.Ext(file)]
		return "```" + language + "\n" + strings.TrimRight(read(t, file), "\n") + "\n```\n", nil
	}
}

// TestMeshesHasEveryMesh: the page has the three blocks of each dialect.
func TestMeshesHasEveryMesh(t *testing.T) {
	page := read(t, "meshes.md")
	for _, d := range mesh.All() {
		if d.Name == plugin.OwnDialect {
			continue // its table is configuration.md's
		}
		for _, kind := range []string{"defaults", "rows", "silences"} {
			if !strings.Contains(page, "<!-- gen: "+kind+" "+d.Name+" -->") {
				t.Errorf("meshes.md: no block %q of %s", kind, d.Name)
			}
		}
	}
}

// TestMeshesSaysWhoIsClaimed: what Decide gives as a reason for a mesh's pods, the
// page has, too.
func TestMeshesSaysWhoIsClaimed(t *testing.T) {
	page := read(t, "meshes.md")
	annotation := regexp.MustCompile(`[a-z0-9.-]+\.[a-z]+/[A-Za-z-]+`)
	n := 0
	for line := range strings.Lines(read(t, "../plugin/mesh/testdata/reasons")) {
		if !strings.HasPrefix(line, "why: ") || strings.Contains(line, "nginx.com") {
			continue
		}
		for _, a := range annotation.FindAllString(line, -1) {
			if n++; !strings.Contains(page, "`"+a) {
				t.Errorf("meshes.md does not have %s, of which Decide says: %s", a, line)
			}
		}
	}
	if n == 0 {
		t.Error("no reason names an annotation")
	}
}

// TestSilencesAreOptions: what a page tells to write instead of an annotation is
// configuration that the plugin takes, and that changes something.
func TestSilencesAreOptions(t *testing.T) {
	for _, d := range mesh.All() {
		for _, s := range d.Silent {
			o, err := plugin.ParseOptions(json.RawMessage(s.Instead), mesh.All())
			if err != nil {
				t.Errorf("%s: %s: %v", d.Name, s.Fact, err)
				continue
			}
			if reflect.DeepEqual(o, plugin.DefaultOptions(mesh.All())) {
				t.Errorf("%s: %s: %s is the default", d.Name, s.Fact, s.Instead)
			}
			for name, raw := range o.MeshOptions {
				with, err := redirect.Overlay(d.Defaults(), raw)
				if err != nil || name != d.Name {
					t.Errorf("%s: meshOptions of %s, %v", d.Name, name, err)
				}
				for _, k := range meant(t, raw) {
					if string(k.JSON(with)) == string(k.JSON(d.Defaults())) {
						t.Errorf("%s: %s: %s is the dialect's default", d.Name, s.Fact, k.Name)
					}
				}
			}
		}
	}
}

// meant gives the keys that options set.
func meant(t *testing.T, raw json.RawMessage) []redirect.Key {
	t.Helper()
	members, err := redirect.Members(raw)
	if err != nil {
		t.Fatal(err)
	}
	var keys []redirect.Key
	for _, m := range members {
		k, ok := redirect.KeyOf(m.Name)
		if !ok {
			t.Fatalf("no key %s", m.Name)
		}
		keys = append(keys, k)
	}
	return keys
}

// TestOSMForEveryPod: the redirect that meshes.md gives for OSM's own nodes is the
// one that its dialect gives.
func TestOSMForEveryPod(t *testing.T) {
	d, err := dialectNamed("osm")
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(d.Silent, func(s plugin.Silence) bool { return strings.Contains(s.Instead, `"all"`) })
	o, err := plugin.ParseOptions(json.RawMessage(d.Silent[i].Instead), mesh.All())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range redirect.Keys() {
		if got, want := string(k.JSON(o.Redirect)), string(k.JSON(d.Defaults())); got != want {
			t.Errorf("%s: %s (want %s)", k.Name, got, want)
		}
	}
}
