// Command detour-cni is the CNI plugin: it redirects a pod's traffic to its
// sidecar proxy. It is wiring only: package plugin does the work, this prints.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/detour-cni/detour/plugin"
	"github.com/detour-cni/detour/plugin/mesh"
)

// buildVersion is set by the linker: -X main.buildVersion=v1.2.3.
var buildVersion = "devel"

// memoryLimit is where the collector wakes up after all, whatever the input is: 20 times
// what an ADD with 5,000 prefixes takes.
const memoryLimit = 256 << 20

func main() {
	// All of this lasts milliseconds. A collection is a quarter of an ADD with 5,000
	// prefixes; the usual ADD ends before the first.
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(memoryLimit)
	// skel refuses bad input before a verb runs; a DEL must succeed all the same.
	if os.Getenv("CNI_COMMAND") == "DEL" {
		del()
		return
	}
	all := mesh.All()
	var result json.RawMessage
	err := skel.PluginMainFuncsWithError(skel.CNIFuncs{
		Add:    verb("ADD", plugin.Add, &result, all),
		Check:  verb("CHECK", plugin.Check, nil, all),
		Status: verb("STATUS", plugin.Status, nil, all),
		GC:     verb("GC", plugin.GC, nil, all),
	}, version.PluginSupports(plugin.CNIVersions()...),
		"detour-cni "+buildVersion+": redirects a pod's traffic to its sidecar proxy; chained CNI plugin for "+names(all))
	// skel looks at the namespace once more after ADD, also that of a pod which is
	// left alone: a runtime must not find a result and an error on one stdout.
	if err == nil {
		err = printResult(result)
	}
	if err != nil {
		if err := err.Print(); err != nil {
			fmt.Fprintln(os.Stderr, "print error:", err)
		}
		os.Exit(1)
	}
}

func printResult(result json.RawMessage) *types.Error {
	if _, err := os.Stdout.Write(result); err != nil {
		return plugin.CNIError(fmt.Errorf("print result: %w", err))
	}
	return nil
}

func names(dialects []plugin.Dialect) string {
	names := ""
	for i, d := range dialects {
		if i > 0 {
			names += ", "
		}
		names += d.Name
	}
	return names
}

// verb wraps a verb for skel: its outcome is logged, its result kept for printing,
// and its error becomes CNI's.
func verb(name string, run func(*skel.CmdArgs, []plugin.Dialect) (plugin.Outcome, error), result *json.RawMessage, dialects []plugin.Dialect) func(*skel.CmdArgs) error {
	return func(args *skel.CmdArgs) error {
		start := time.Now()
		outcome, err := run(args, dialects)
		logVerb(name, args.ContainerID, args.IfName, outcome, err, time.Since(start))
		if err != nil {
			return plugin.CNIError(err)
		}
		if result != nil {
			*result = outcome.Result
		}
		return nil
	}
}

// del answers DEL: whatever came, and whatever happens, it is a success.
func del() {
	start := time.Now()
	stdin, readErr := io.ReadAll(os.Stdin)
	conf, confErr := plugin.ParseNetConf(stdin, mesh.All())
	pod, argsErr := plugin.ParseArgs(os.Getenv("CNI_ARGS"))
	id, ifName := os.Getenv("CNI_CONTAINERID"), os.Getenv("CNI_IFNAME")
	outcome, err := plugin.Del(id, os.Getenv("CNI_NETNS"), ifName)
	outcome.Conf, outcome.Pod = conf, pod
	for _, e := range []error{readErr, confErr, argsErr} {
		if e != nil {
			outcome.Warnings = append(outcome.Warnings, e.Error())
		}
	}
	logVerb("DEL", id, ifName, outcome, err, time.Since(start))
}
