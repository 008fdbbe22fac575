package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// krew itself installs the plugin from the manifest and the archive of this platform. The other
// platforms' sums stand for archives that are not built here.
func TestKrewInstallsIt(t *testing.T) {
	pack := exec.Command("../hack/krew.sh", "0.0.1", "linux/amd64")
	if out, err := pack.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile("../bin/krew/detour.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, platform := range []string{"linux_arm64", "darwin_amd64", "darwin_arm64"} {
		text = []byte(strings.ReplaceAll(string(text), "$SHA256_"+platform, strings.Repeat("0a", 32)))
	}
	if strings.Contains(string(text), "$") {
		t.Fatalf("the manifest is not filled in:\n%s", text)
	}
	dir := t.TempDir()
	manifest := filepath.Join(dir, "detour.yaml")
	if err := os.WriteFile(manifest, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tool := range []string{"krew", "validate-krew-manifest"} {
		build := exec.Command("go", "-C", "../tools/krew", "build", "-o", dir+"/", "sigs.k8s.io/krew/cmd/"+tool)
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	run := func(name string, args ...string) string {
		c := exec.Command(name, args...)
		c.Env = append(os.Environ(), "KREW_ROOT="+filepath.Join(dir, "krew-root"), "KREW_NO_UPGRADE_CHECK=1")
		out, err := c.CombinedOutput()
		if err != nil {
			t.Errorf("%s %v: %v: %s", filepath.Base(name), args, err, out)
		}
		return string(out)
	}
	run(filepath.Join(dir, "validate-krew-manifest"), "-manifest", manifest, "-skip-install")
	run(filepath.Join(dir, "krew"), "install", "--manifest", manifest, "--archive", "../bin/krew/detour-linux-amd64.tar.gz")
	installed := filepath.Join(dir, "krew-root", "bin", "kubectl-detour")
	if out := run(installed, "--version"); !strings.Contains(out, "0.0.1") {
		t.Errorf("what krew installed says %q", out)
	}
}
