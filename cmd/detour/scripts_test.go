package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/detour-cni/detour/install/cri/critest"
)

// TestMain lets scripts run this very program as `detour`.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"detour": main, "named": named})
}

// TestScripts runs the commands that need no kernel: testdata/detour/*.txtar.
func TestScripts(t *testing.T) {
	plugin := build(t, t.TempDir(), "detour-cni")
	old := build(t, t.TempDir(), "detour-cni", "-X", "main.buildVersion=v0.0.1")
	testscript.Run(t, testscript.Params{
		Setup: func(e *testscript.Env) error {
			e.Setenv("PLUGIN", plugin)
			e.Setenv("OLDPLUGIN", old)
			e.Setenv("DETOUR_CRI_SOCKET", "none") // this machine may have a runtime
			return nil
		},
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"schema": schema, "runtime": runtime},
		Dir:                 "../../testdata/detour",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("DETOUR_UPDATE") == "1",
	})
}

// schema holds a script's stdout against docs/schemas: schema explain.
func schema(ts *testscript.TestScript, _ bool, args []string) {
	rules, err := jsonschema.NewCompiler().Compile("../../docs/schemas/" + args[0] + ".v1.json")
	ts.Check(err)
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(ts.ReadFile("stdout")))
	ts.Check(err)
	ts.Check(rules.Validate(document))
}

// runtime answers at a socket, to the script's end, what a file says: runtime cri.sock runtime.json.
func runtime(ts *testscript.TestScript, _ bool, args []string) {
	r := &critest.Runtime{}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), r))
	stop, err := r.Serve(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Defer(stop)
}

// build makes a program of cmd/ in dir, stripped as a release is.
func build(t *testing.T, dir, name string, ldflags ...string) (path string) {
	t.Helper()
	path = filepath.Join(dir, name)
	if out, err := exec.Command("go", "build", "-ldflags", strings.Join(append(ldflags, "-s", "-w"), " "), "-o", path, "../"+name).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}
