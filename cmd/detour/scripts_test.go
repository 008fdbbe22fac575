package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets scripts run this very program as `detour`.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"detour": main})
}

// TestScripts runs the commands that need no kernel: testdata/detour/*.txtar.
func TestScripts(t *testing.T) {
	plugin := build(t, t.TempDir(), "detour-cni")
	testscript.Run(t, testscript.Params{
		Setup: func(e *testscript.Env) error {
			e.Setenv("PLUGIN", plugin)
			return nil
		},
		Dir:                 "../../testdata/detour",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("DETOUR_UPDATE") == "1",
	})
}

// build makes a program of cmd/ in dir, stripped as a release is.
func build(t *testing.T, dir, name string) (path string) {
	t.Helper()
	path = filepath.Join(dir, name)
	if out, err := exec.Command("go", "build", "-ldflags", "-s -w", "-o", path, "../"+name).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}
