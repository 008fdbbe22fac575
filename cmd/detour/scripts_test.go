package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets scripts run this very program as `detour`.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"detour": main})
}

// TestScripts runs the commands that need no kernel: testdata/detour/*.txtar.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "../../testdata/detour",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("DETOUR_UPDATE") == "1",
	})
}
