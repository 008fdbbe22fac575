package tools

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/detour-cni/detour"

// TestImportTable lints a scratch module with one file per row below: .golangci.yml must
// complain of exactly those that DESIGN's import table forbids.
func TestImportTable(t *testing.T) {
	const forbidden, allowed = true, false
	rows := []struct {
		file, imports string
		want          bool
	}{
		{"redirect/a.go", "net/netip", allowed},
		{"redirect/b.go", module + "/plugin", forbidden},
		{"redirect/c.go", "golang.org/x/sys/unix", forbidden},
		{"redirect/d.go", module + "/redirect/netfilter", forbidden},
		{"redirect/e.go", "testing", forbidden},
		{"redirect/a_test.go", "github.com/google/go-cmp/cmp", allowed},
		{"redirect/b_test.go", module + "/redirect/redirecttest", allowed},
		{"redirect/c_test.go", "github.com/stretchr/testify/assert", forbidden},
		{"redirect/d_test.go", "k8s.io/api/core", forbidden},
		{"redirect/internal/netlink/a.go", "golang.org/x/sys/unix", allowed},
		{"redirect/internal/netlink/b.go", module + "/redirect/nftables", forbidden},

		{"redirect/nftables/a.go", "github.com/google/nftables/expr", allowed},
		{"redirect/nftables/b.go", module + "/redirect", allowed},
		{"redirect/nftables/c.go", module + "/redirect/internal/netlink", allowed},
		{"redirect/nftables/d.go", "github.com/coreos/go-iptables/iptables", forbidden},
		{"redirect/nftables/e.go", module + "/redirect/netfilter", forbidden},
		{"redirect/nftables/f.go", "github.com/vishvananda/netlink", forbidden},
		{"redirect/iptables/a.go", "github.com/coreos/go-iptables/iptables", allowed},
		{"redirect/iptables/b.go", "github.com/google/nftables", forbidden},
		{"redirect/iptables/c.go", module + "/redirect/nftables", forbidden},

		{"redirect/netfilter/a.go", "github.com/containernetworking/plugins/pkg/ns", allowed},
		{"redirect/netfilter/b.go", module + "/redirect/nftables", allowed},
		{"redirect/netfilter/c.go", module + "/redirect/iptables", allowed},
		{"redirect/netfilter/d.go", "github.com/vishvananda/netlink", allowed},
		{"redirect/netfilter/e.go", "github.com/containernetworking/cni/pkg/types", forbidden},
		{"redirect/netfilter/f.go", module + "/plugin", forbidden},
		{"redirect/netfilter/g.go", "github.com/containernetworking/plugins/pkg/ip", forbidden},
		{"redirect/redirecttest/a.go", "testing", allowed},
		{"redirect/redirecttest/b.go", module + "/plugin", forbidden},

		{"plugin/a.go", "github.com/containernetworking/cni/pkg/skel", allowed},
		{"plugin/b.go", module + "/redirect/netfilter", allowed},
		{"plugin/c.go", module + "/redirect/nftables", forbidden},
		{"plugin/d.go", module + "/plugin/mesh", forbidden},
		{"plugin/e.go", "k8s.io/api/core", forbidden},
		{"plugin/f.go", "github.com/containernetworking/plugins/pkg/ns", forbidden},
		{"plugin/g.go", module + "/redirect/redirecttest", forbidden},
		{"plugin/h.go", module + "/plugin/document", allowed},
		{"plugin/document/a.go", "strings", allowed},
		{"plugin/document/b.go", "sigs.k8s.io/yaml", forbidden},
		{"plugin/document/c.go", module + "/plugin", forbidden},
		{"plugin/mesh/a.go", module + "/plugin", allowed},
		{"plugin/mesh/b.go", module + "/redirect", allowed},
		{"plugin/mesh/c.go", module + "/redirect/netfilter", forbidden},
		{"plugin/mesh/d.go", "github.com/containernetworking/cni/pkg/types", forbidden},

		{"inspect/a.go", "github.com/prometheus/procfs", allowed},
		{"inspect/b.go", module + "/redirect/netfilter", allowed},
		{"inspect/c.go", module + "/plugin", forbidden},
		{"install/a.go", "github.com/containernetworking/cni/libcni", allowed},
		{"install/b.go", "github.com/prometheus/client_golang/prometheus", allowed},
		{"install/c.go", "k8s.io/cri-api/pkg/apis", allowed},
		{"install/f.go", "golang.org/x/sys/unix", allowed},
		{"install/g.go", "google.golang.org/grpc", allowed},
		{"install/d.go", "k8s.io/client-go/kubernetes", forbidden},
		{"install/e.go", module + "/redirect", forbidden},

		{"cmd/detour/a.go", "k8s.io/client-go/kubernetes", allowed},
		{"cmd/detour/b.go", module + "/install", allowed},
		{"cmd/detour-cni/a.go", module + "/plugin", allowed},
		{"cmd/detour-cni/b.go", "k8s.io/api/core", forbidden},
		{"cmd/detour-cni/c.go", "net/http", forbidden},
		{"cmd/detour-cni/d.go", "github.com/spf13/cobra", forbidden},
		{"cmd/detour-validate/a.go", "crypto/tls", forbidden},
		{"bench/a.go", module + "/redirect", allowed},
		{"elsewhere/a.go", module + "/redirect", forbidden},
		{"elsewhere/b.go", "strings", allowed},
	}

	dir := t.TempDir()
	var imports []string
	complain := 0
	for _, r := range rows {
		imports = append(imports, r.imports)
		writeFile(t, filepath.Join(dir, r.file), fmt.Sprintf("package p\n\nimport _ %q\n", r.imports))
		if r.want == forbidden {
			complain++
		}
	}
	scratchModule(t, dir, imports)
	got := complaints(t, dir)
	for _, r := range rows {
		if complained := slices.Contains(got, r.file); complained != r.want {
			t.Errorf("%s imports %q: the lint complained = %t, want %t", r.file, r.imports, complained, r.want)
		}
	}
	if len(got) != complain {
		t.Errorf("the lint complained of %d files, want %d:\n%s", len(got), complain, strings.Join(got, "\n"))
	}
}

// TestPluginStaysSmall looks where depguard does not: at what comes in through others.
func TestPluginStaysSmall(t *testing.T) {
	for _, program := range []string{"./cmd/detour-cni", "./cmd/detour-validate"} {
		if _, err := os.Stat(filepath.Join("..", program)); err != nil {
			continue // it is not written yet
		}
		list := exec.Command("go", "list", "-deps", program)
		list.Dir = ".."
		var stderr bytes.Buffer
		list.Stderr = &stderr
		out, err := list.Output()
		if err != nil {
			t.Fatalf("go list -deps %s: %v\n%s", program, err, &stderr)
		}
		for _, dep := range strings.Fields(string(out)) {
			if dep == "net/http" || dep == "crypto/tls" || strings.HasPrefix(dep, "k8s.io/") {
				t.Errorf("%s contains %s: small on purpose (go mod why -m, go list -deps)", program, dep)
			}
		}
	}
}

// scratchModule makes dir a module under the project's .golangci.yml. The linter loads
// what it reads, so every import exists: as an empty module of its own, where cycles
// cannot arise. Our own internal packages may be imported from below redirect only.
func scratchModule(t *testing.T, dir string, imports []string) {
	t.Helper()
	config, err := os.ReadFile("../.golangci.yml")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, ".golangci.yml"), string(config))
	gomod := "module " + module + "/redirect/scratch\n\ngo 1.26\n"
	slices.Sort(imports)
	for _, path := range slices.Compact(imports) {
		if host, _, _ := strings.Cut(path, "/"); !strings.Contains(host, ".") {
			continue // the standard library
		}
		stub := "stubs/" + strings.ReplaceAll(path, "/", "_")
		gomod += fmt.Sprintf("\nrequire %s v0.0.0\n\nreplace %[1]s => ./%s\n", path, stub)
		writeFile(t, filepath.Join(dir, stub, "go.mod"), "module "+path+"\n\ngo 1.26\n")
		writeFile(t, filepath.Join(dir, stub, "p.go"), "package p\n")
	}
	writeFile(t, filepath.Join(dir, "go.mod"), gomod)
}

func writeFile(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// complaints gives the files that depguard alone complains of.
func complaints(t *testing.T, dir string) []string {
	t.Helper()
	linter, err := filepath.Abs("../bin/golangci-lint")
	if err != nil {
		t.Fatal(err)
	}
	lint := exec.Command(linter, "run", "--enable-only", "depguard", "--allow-parallel-runners",
		"--output.json.path", "stdout", "--show-stats=false", "./...")
	lint.Dir = dir
	lint.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off")
	var stderr bytes.Buffer
	lint.Stderr = &stderr
	out, _ := lint.Output() // 1 when it complains, which is what we want of it
	var report struct {
		Issues []struct {
			FromLinter string
			Text       string
			Pos        struct{ Filename string }
		}
	}
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatalf("%s run (make lint-selftest builds it): %v\n%s%s", linter, err, out, &stderr)
	}
	var files []string
	for _, issue := range report.Issues {
		if issue.FromLinter != "depguard" {
			t.Fatalf("%s: %s: %s", issue.Pos.Filename, issue.FromLinter, issue.Text)
		}
		files = append(files, issue.Pos.Filename)
	}
	slices.Sort(files)
	return slices.Compact(files)
}
