package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/netfilter"
	"github.com/detour-cni/detour/redirect/redirecttest"
)

// TestScriptsOnPods runs the commands on real pods: testdata/detour/netns/*.txtar, with these besides:
//
//	pod NAME                       makes a pod; $NAME is the path of its network namespace
//	redirect NAME SPEC [BACKEND]   what ADD would do for a redirect
//	listen NAME UID PORT...        sockets of an owner, until the script ends
//	process NAME UID PORT COMM     a process that names itself so ("\x1b[2J"), and listens, until the script ends
//	printable stdout, xml          stdout has nothing that a terminal obeys; it is well-formed XML
//	decoded TEXT...                stdout's JSON has these texts, byte for byte
func TestScriptsOnPods(t *testing.T) {
	redirecttest.NeedsKernel(t)
	files, err := filepath.Glob("../../testdata/detour/netns/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d scripts, %v", len(files), err)
	}
	plugin := build(t, t.TempDir(), "detour-cni", "-X", "main.buildVersion=v0.1.0")
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			pods := map[string]*redirecttest.Pod{}
			testscript.Run(t, testscript.Params{
				Files: []string{file},
				Setup: func(e *testscript.Env) error {
					e.Setenv("DETOUR_CRI_SOCKET", "none") // this machine may have a runtime
					e.Setenv("PLUGIN", plugin)
					return nil
				},
				Cmds: map[string]func(*testscript.TestScript, bool, []string){
					"schema":    schema,
					"runtime":   runtime,
					"printable": printable, "xml": wellFormed, "decoded": decoded,
					"process": func(ts *testscript.TestScript, _ bool, args []string) { startNamed(ts, pods[args[0]], args[1:]) },
					"pod": func(ts *testscript.TestScript, _ bool, args []string) {
						pods[args[0]] = redirecttest.NewPod(t)
						ts.Setenv(args[0], pods[args[0]].Path)
					},
					"redirect": func(ts *testscript.TestScript, _ bool, args []string) {
						ts.Check(redirectPod(ts, pods[args[0]], args[1:]))
					},
					"listen": func(_ *testscript.TestScript, _ bool, args []string) {
						id, err := redirect.ParseID(args[1])
						if err != nil {
							t.Fatal(err)
						}
						for _, port := range args[2:] {
							pods[args[0]].Listen(t, redirecttest.Owner{UID: id, GID: id}, ":"+port)
						}
					},
				},
				RequireExplicitExec: true,
				UpdateScripts:       os.Getenv("DETOUR_UPDATE") == "1",
			})
		})
	}
}

func redirectPod(ts *testscript.TestScript, pod *redirecttest.Pod, args []string) error {
	spec, err := redirect.Overlay(redirect.EnvoyDefaults(), json.RawMessage(ts.ReadFile(args[0])))
	if err != nil {
		return err
	}
	rs, err := redirect.Compile(spec)
	if err != nil {
		return err
	}
	backend := netfilter.NFTables
	if len(args) > 1 {
		if backend, err = netfilter.ParseBackend(args[1]); err != nil {
			return err
		}
	}
	_, err = netfilter.Commit(pod.Path, rs, netfilter.Options{Backend: backend, Owner: redirect.Attachment{ContainerID: "c1", IfName: "eth0"}})
	return err
}
