package redirecttest

import (
	"path/filepath"
	"strings"
	"testing"
)

// foreignSections hold rules that are not ours, in the form that their author's tool prints:
// iptables-save, ip6tables-save, nft; setup has the lines for ip(8) that they need besides.
var foreignSections = []string{"iptables-save", "ip6tables-save", "nft", "setup"}

// A Foreign is one file of testdata/foreign: another tool's rules and a packet table. Its
// spec.json says only who the proxy is and where it listens.
type Foreign struct{ Case }

// Foreigns reads every file of testdata/foreign.
func Foreigns(t testing.TB) []Foreign {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(moduleRoot(t), "testdata", "foreign", "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("testdata/foreign: %d files, %v", len(files), err)
	}
	var all []Foreign
	for _, file := range files {
		c, err := ReadCase(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, Foreign{c})
	}
	return all
}

// Loaders are the tools that can load the file's rules.
func (f Foreign) Loaders() []string {
	if _, ok := f.Golden("nft"); ok {
		return []string{"nft"}
	}
	return []string{"iptables-nft", "iptables-legacy"}
}

// Load puts the rules into a namespace by one of the Loaders.
func (f Foreign) Load(t testing.TB, n *NetNS, loader string) {
	t.Helper()
	if lines, ok := f.Golden("setup"); ok {
		n.IP(t, strings.Split(strings.TrimSpace(lines), "\n")...)
	}
	if rules, ok := f.Golden("nft"); ok {
		n.Run(t, rules, "nft", "-f", "-")
		return
	}
	for _, section := range []string{"iptables-save", "ip6tables-save"} {
		if rules, ok := f.Golden(section); ok {
			family, _, _ := strings.Cut(section, "tables")
			tool := strings.Replace(loader, "ip", family, 1)
			n.Run(t, rules, tool+"-restore")
			isWhatItSaves(t, rules, n.Run(t, "", tool+"-save"))
		}
	}
}

// isWhatItSaves holds the file against the tool: these are the very lines that it prints of them.
func isWhatItSaves(t testing.TB, rules, saved string) {
	t.Helper()
	printed := map[string]bool{}
	for line := range strings.Lines(saved) {
		printed[strings.TrimSpace(line)] = true
	}
	for line := range strings.Lines(rules) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "-A") && !printed[line] {
			t.Errorf("not as iptables-save prints it: %s\n%s", line, saved)
		}
	}
}
