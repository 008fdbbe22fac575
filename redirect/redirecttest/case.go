package redirecttest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/detour-cni/detour/redirect"
)

// Case is one file of testdata/rules.
type Case struct {
	Name    string // the file's, without .txtar
	File    string
	Prose   string
	JSON    []byte // what the file lays over the Envoy defaults
	Spec    redirect.Spec
	Rows    []Row
	archive *txtar.Archive
}

// Cases reads every case of testdata/rules. A file that cannot be read as one
// ends the test.
func Cases(t testing.TB) []Case {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(moduleRoot(t), "testdata", "rules", "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("testdata/rules: %d cases, %v", len(files), err)
	}
	var cases []Case
	for _, file := range files {
		c, err := ReadCase(file)
		if err != nil {
			t.Fatal(err)
		}
		cases = append(cases, c)
	}
	return cases
}

// CaseOf gives the case with that name.
func CaseOf(t testing.TB, name string) Case {
	t.Helper()
	c, err := ReadCase(filepath.Join(moduleRoot(t), "testdata", "rules", name+".txtar"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// moduleRoot is the folder of go.mod, above the package under test.
func moduleRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
	}
	t.Fatal("no go.mod above the working directory")
	return ""
}

// ReadCase reads one file.
func ReadCase(file string) (Case, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return Case{}, err
	}
	c, err := parseCase(raw)
	c.File, c.Name = file, strings.TrimSuffix(filepath.Base(file), ".txtar")
	if err != nil {
		return c, fmt.Errorf("%s: %w", filepath.Base(file), err)
	}
	return c, nil
}

func parseCase(raw []byte) (Case, error) {
	a := txtar.Parse(raw)
	c := Case{archive: a, Prose: string(a.Comment)}
	if strings.TrimSpace(c.Prose) == "" {
		return c, fmt.Errorf("no prose: what does it show?")
	}
	var err error
	for _, f := range a.Files {
		switch f.Name {
		case "spec.json":
			c.JSON = f.Data
			if c.Spec, err = redirect.Overlay(redirect.EnvoyDefaults(), f.Data); err != nil {
				return c, fmt.Errorf("spec.json: %w", err)
			}
		case "packets":
			if c.Rows, err = parseRows(f.Data); err != nil {
				return c, fmt.Errorf("packets: %w", err)
			}
		case foreignRules:
		default:
			if !slices.Contains(foreignSections, f.Name) && !slices.Contains(goldens, f.Name) {
				return c, fmt.Errorf("section %q: unknown (want spec.json, packets, %s)", f.Name, strings.Join(goldens, ", "))
			}
		}
	}
	if c.JSON == nil || len(c.Rows) == 0 {
		return c, fmt.Errorf("no spec.json or no packets")
	}
	return c, nil
}

// goldens are the sections that -update writes, in their order.
var goldens = []string{"nftables", "iptables", "ip6tables"}

// foreignRules is the section with rules that are not ours (nat, for
// iptables-restore), of which the packet table must be true as well.
const foreignRules = "iptables-nat"

// ForeignRules gives the section iptables-nat; "" where the file has none.
func (c Case) ForeignRules() string {
	text, _ := c.Golden(foreignRules)
	return text
}

// Golden gives a section of rendered rules; false where the file has none yet.
func (c Case) Golden(section string) (string, bool) {
	for _, f := range c.archive.Files {
		if f.Name == section {
			return string(f.Data), true
		}
	}
	return "", false
}

// WithGolden gives the file's new content with the sections replaced; those
// that are empty are left out.
func (c Case) WithGolden(rendered map[string]string) []byte {
	a := &txtar.Archive{Comment: c.archive.Comment}
	for _, f := range c.archive.Files {
		if !slices.Contains(goldens, f.Name) {
			a.Files = append(a.Files, f)
		}
	}
	for _, name := range goldens {
		if rendered[name] != "" {
			a.Files = append(a.Files, txtar.File{Name: name, Data: []byte(rendered[name])})
		}
	}
	return txtar.Format(a)
}
