package mesh_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/detour-cni/detour/plugin"
	"github.com/detour-cni/detour/plugin/mesh"
	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/redirecttest"
)

var update = flag.Bool("update", false, "rewrite what is derived: decisions and Specs in testdata/meshes, and testdata/reasons")

// known are the dialects of testdata/meshes: ours, and docs/add-your-mesh.md's.
func known() []plugin.Dialect { return append(mesh.All(), mesh.NGINX()) }

// meshCase is one file of testdata/meshes: a pod, and what becomes of it.
//
//	-- pod.json --      namespace, name, annotations as the runtime hands them over, args of CNI_ARGS
//	-- options.json --  the "detour" object, where it is not empty
//	-- decision --      why, notes, or the error with its code (-update writes it)
//	-- spec.json --     what differs from the dialect's defaults (-update writes it)
//	-- packets --       a table as redirecttest reads it
type meshCase struct {
	file    string
	mesh    string // the folder
	archive *txtar.Archive
	pod     plugin.Pod
	options plugin.Options
}

func (c meshCase) name() string {
	return c.mesh + "/" + strings.TrimSuffix(filepath.Base(c.file), ".txtar")
}

// dialects are those that ship, for the pod of a mesh that does.
func (c meshCase) dialects() []plugin.Dialect {
	if c.mesh == mesh.NGINX().Name {
		return known()
	}
	return mesh.All()
}

func (c meshCase) section(name string) []byte {
	for _, f := range c.archive.Files {
		if f.Name == name {
			return f.Data
		}
	}
	return nil
}

func allCases(t testing.TB) []meshCase {
	t.Helper()
	files, err := filepath.Glob("../../testdata/meshes/*/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("testdata/meshes: %d cases, %v", len(files), err)
	}
	var cases []meshCase
	for _, file := range files {
		c, err := readCase(file)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		cases = append(cases, c)
	}
	return cases
}

func readCase(file string) (meshCase, error) {
	a, err := txtar.ParseFile(file)
	if err != nil {
		return meshCase{}, err
	}
	c := meshCase{file: file, mesh: filepath.Base(filepath.Dir(file)), archive: a}
	if len(bytes.TrimSpace(a.Comment)) == 0 {
		return c, errors.New("no prose: what does it show?")
	}
	var pod struct {
		Namespace, Name string
		Args            map[string]string
		Annotations     json.RawMessage
	}
	if err := json.Unmarshal(c.section("pod.json"), &pod); err != nil {
		return c, fmt.Errorf("pod.json: %w", err)
	}
	c.pod = plugin.Pod{
		Ref:    plugin.PodRef{Namespace: pod.Namespace, Name: pod.Name, Args: pod.Args},
		Handed: pod.Annotations != nil,
	}
	if c.pod.Handed {
		if err := json.Unmarshal(pod.Annotations, &c.pod.Annotations); err != nil {
			return c, fmt.Errorf("pod.json: annotations: %w", err)
		}
	}
	if c.options, err = plugin.ParseOptions(c.section("options.json"), c.dialects()); err != nil {
		return c, fmt.Errorf("options.json: %w", err)
	}
	return c, nil
}

// decided is a Decision as a case file says it.
func decided(d plugin.Decision, err error) (decision, spec string) {
	if err != nil {
		return fmt.Sprintf("error %d: %v\n", plugin.CNIError(err).Code, err), ""
	}
	decision = "why: " + d.Why + "\n"
	for _, n := range d.Notes {
		decision += "note: " + n + "\n"
	}
	if d.Redirect {
		spec = specDiff(defaultsOf(d.Dialect), d.Spec)
	}
	return decision, spec
}

func defaultsOf(name string) redirect.Spec {
	for _, d := range known() {
		if d.Name == name {
			return d.Defaults()
		}
	}
	return redirect.EnvoyDefaults()
}

// specDiff gives the keys in which a Spec differs from another, one a line.
func specDiff(from, to redirect.Spec) string {
	var lines []string
	for _, k := range redirect.Keys() {
		if v := k.JSON(to); !bytes.Equal(v, k.JSON(from)) {
			lines = append(lines, fmt.Sprintf("  %q: %s", k.Name, v))
		}
	}
	if len(lines) == 0 {
		return "{}\n"
	}
	return "{\n" + strings.Join(lines, ",\n") + "\n}\n"
}

// TestCasesDecide compares what every pod of testdata/meshes gets, and why.
func TestCasesDecide(t *testing.T) {
	for _, c := range allCases(t) {
		t.Run(c.name(), func(t *testing.T) {
			d, err := plugin.Decide(c.options, c.pod, c.dialects())
			decision, spec := decided(d, err)
			if *update {
				c.rewrite(t, decision, spec)
				return
			}
			if diff := cmp.Diff(string(c.section("decision")), decision); diff != "" {
				t.Errorf("decision (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(string(c.section("spec.json")), spec); diff != "" {
				t.Errorf("spec.json (-want +got):\n%s", diff)
			}
			if d.Redirect != (c.section("packets") != nil) {
				t.Errorf("redirected: %v, but packets: %v", d.Redirect, c.section("packets") != nil)
			}
		})
	}
}

func (c meshCase) rewrite(t *testing.T, decision, spec string) {
	t.Helper()
	a := &txtar.Archive{Comment: c.archive.Comment}
	for _, name := range []string{"pod.json", "options.json", "decision", "spec.json", "packets"} {
		data := c.section(name)
		switch name {
		case "decision":
			data = []byte(decision)
		case "spec.json":
			data = []byte(spec)
		}
		if len(data) > 0 {
			a.Files = append(a.Files, txtar.File{Name: name, Data: data})
		}
	}
	if err := os.WriteFile(c.file, txtar.Format(a), 0o644); err != nil {
		t.Fatal(err)
	}
}

// packetCase gives the case as one of redirecttest's: the whole Spec, and the packets.
func (c meshCase) packetCase(t *testing.T, s redirect.Spec) redirecttest.Case {
	t.Helper()
	spec, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	a := &txtar.Archive{Comment: c.archive.Comment, Files: []txtar.File{
		{Name: "spec.json", Data: append(spec, '\n')}, {Name: "packets", Data: c.section("packets")},
	}}
	file := filepath.Join(t.TempDir(), filepath.Base(c.file))
	if err := os.WriteFile(file, txtar.Format(a), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := redirecttest.ReadCase(file)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestCasesTrace judges the packets of every redirected pod by Trace. The kernel
// judges the same rows in kernel_test.go.
func TestCasesTrace(t *testing.T) {
	for _, c := range allCases(t) {
		d, err := plugin.Decide(c.options, c.pod, c.dialects())
		if err != nil || !d.Redirect {
			continue
		}
		t.Run(c.name(), func(t *testing.T) {
			for _, wrong := range misjudged(t, d.Spec, c.packetCase(t, d.Spec)) {
				t.Error(wrong)
			}
		})
	}
}

// misjudged gives the packets that the rules of a Spec treat otherwise than the case wants.
func misjudged(t *testing.T, s redirect.Spec, p redirecttest.Case) (wrong []string) {
	t.Helper()
	rs, err := redirect.Compile(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range p.Rows {
		got, want := redirect.Trace(rs, row.Packet), row.Outcome(p.Spec)
		if !got.Same(want) {
			got.Steps = nil
			wrong = append(wrong, fmt.Sprintf("%v\n\tgot  %+v\n\twant %+v", row, got, want))
		}
	}
	return wrong
}

// TestEnoughCases holds the folders to issue 4's numbers.
func TestEnoughCases(t *testing.T) {
	count := map[string]int{}
	for _, c := range allCases(t) {
		count[c.mesh]++
	}
	for name, least := range map[string]int{"istio": 25, "linkerd": 12, "kuma": 12, "consul": 12, "appmesh": 8, "osm": 8} {
		if count[name] < least {
			t.Errorf("%s: %d cases (want %d)", name, count[name], least)
		}
	}
}
