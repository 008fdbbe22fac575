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
	plugin := filepath.Join(t.TempDir(), "detour-cni")
	if out, err := exec.Command("go", "build", "-o", plugin, "../detour-cni").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
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
