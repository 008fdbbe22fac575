package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/detour-cni/detour/inspect/words"
	"github.com/detour-cni/detour/install"
	"github.com/detour-cni/detour/plugin"
)

func statusCommand() *cobra.Command {
	var (
		flags  nodeFlags
		output string
	)
	c := &cobra.Command{
		Use:   "status",
		Short: "Say whether this node is in the chain, and what would happen to a pod now",
		Long: `Say whether this node is in the chain, and what would happen to a pod now.

Exit code 0: what the runtime loads contains us. 1: it does not, or not as wanted. 2: usage. 3: could not tell.`,
		Example: `  detour status
  detour status --conf-dir /etc/cni/net.d --runtime containerd://2.1.4
  detour status -o json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if output != "table" && output != "json" {
				return exit{exitUsage, fmt.Errorf("--output: %q (want table or json)", output)}
			}
			node, err := flags.node()
			if err != nil {
				return err
			}
			_, report, err := node.Look()
			if err != nil && (!report.Seen || errors.Is(err, fs.ErrPermission)) {
				return exit{exitUnknown, err}
			}
			s := newStatus(node, report, err)
			if err := s.print(c.OutOrStdout(), output); err != nil {
				return err
			}
			if err != nil || report.Changed() || s.unloaded {
				return exit{code: exitFindings}
			}
			return nil
		},
	}
	flags.register(c)
	flags.registerCRI(c)
	c.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return c
}

// status answers an operator's questions about a node.
type status struct {
	Schema   string       `json:"schema"`
	Runtime  string       `json:"runtime"`
	Loaded   string       `json:"loaded"` // by the runtime, as it says
	unloaded bool         // it says that we are not in it
	Binary   binaryStatus `json:"binary"`
	NoNet    string       `json:"noNetwork,omitempty"` // why there is none
	Problem  string       `json:"problem,omitempty"`   // why else the node cannot be as wanted
	problem  error
	Network  string   `json:"network,omitempty"`
	Primary  string   `json:"primary,omitempty"`
	Mode     string   `json:"mode,omitempty"`
	Why      string   `json:"why,omitempty"` // of the mode
	Entry    string   `json:"entry,omitempty"`
	InChain  bool     `json:"inChain"`
	absent   bool     // nothing of ours is anywhere in the chain
	ToDo     []toDo   `json:"toDo"`
	PodNow   string   `json:"podNow"`
	Kernel   string   `json:"kernel"`
	Warnings []string `json:"warnings"`
}

type binaryStatus struct {
	State     string `json:"state"`
	Installed string `json:"installed"` // version; "" for none of ours
	Wanted    string `json:"wanted"`
	Dir       string `json:"dir"`
}

type toDo struct {
	File  string `json:"file"`
	Found string `json:"found"`
	Would string `json:"would"`
}

// newStatus is of a node that was looked at; the error is why it cannot be as wanted.
func newStatus(node install.Node, r install.Report, err error) status {
	s := status{
		Schema: "detour-cni.dev/status/v1", Runtime: r.Runtime.String(), ToDo: []toDo{}, Warnings: append([]string{}, r.Plan.Warnings...), problem: err,
		Binary: binaryStatus{State: string(r.Binary), Installed: install.Version(filepath.Join(node.BinDir, install.PluginType)), Wanted: install.Version(node.Plugin), Dir: node.BinDir},
		Kernel: "not asked (needs a look into a network namespace: detour doctor)",
	}
	s.Loaded, s.unloaded = loaded(node, r.Plan.Network)
	switch {
	case err != nil && r.Plan.Network == "" && errors.Is(err, install.ErrNoPrimary):
		s.NoNet = err.Error()
	case err != nil:
		s.Problem = err.Error()
	}
	s.Network, s.Primary, s.Mode, s.Why, s.Entry = r.Plan.Network, r.Plan.Primary, string(r.Plan.Mode), r.Plan.Why, r.Plan.Joined
	s.InChain = r.Plan.Joined != "" && !slices.ContainsFunc(r.Plan.Steps, func(step install.Step) bool { return step.Path == r.Plan.Joined })
	for _, step := range r.Plan.Steps {
		s.ToDo = append(s.ToDo, toDo{step.Path, step.Found(), step.What()})
	}
	s.absent = !r.Stands && !s.InChain
	s.PodNow = s.podNow(r)
	return s
}

func (s status) print(w io.Writer, output string) error {
	if output == "json" {
		text, err := indented(s)
		if err == nil {
			_, err = io.WriteString(w, text)
		}
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(key, format string, args ...any) { words.Fprintf(t, "%s\t%s\n", key, fmt.Sprintf(format, args...)) }
	line("runtime", "%s", s.Runtime)
	line("binary", "%s", s.Binary)
	if s.NoNet != "" {
		line("network", "none: %s", s.NoNet)
	}
	if s.Problem != "" {
		line("problem", "%s", s.Problem)
	}
	s.printChain(line)
	for _, d := range s.ToDo {
		line("to do", "%s would be %s (found: %s)", d.File, d.Would, d.Found)
	}
	line("a pod now", "%s", s.PodNow)
	line("kernel", "%s", s.Kernel)
	for _, warning := range s.Warnings {
		line("warning", "%s", warning)
	}
	return t.Flush()
}

// printChain is the network, and our place in it, where they are known.
func (s status) printChain(line func(key, format string, args ...any)) {
	if s.Network == "" {
		return
	}
	line("network", "%s, from %s", s.Network, s.Primary)
	line("mode", "%s (%s)", s.Mode, s.Why)
	_, badConfig := errors.AsType[install.ConfigError](s.problem)
	switch {
	case s.Entry == "":
		line("entry", "none is to be there")
	case s.absent:
		line("entry", "none, it is to be in %s", s.Entry)
	case !s.InChain:
		line("entry", "not as wanted in %s", s.Entry)
	case badConfig:
		line("entry", "in %s, with the options of before", s.Entry)
	default:
		line("entry", "in %s, as wanted", s.Entry)
	}
	line("loaded", "%s", s.Loaded)
}

// loaded is what the runtime says that it has in memory, and whether we are missing there.
func loaded(node install.Node, network string) (says string, unloaded bool) {
	if node.CRI == nil {
		return "not asked (--cri-socket)", false
	}
	if network == "" {
		return "not asked: of which network is not known", false
	}
	loaded, err := node.AskLoaded()
	if err != nil {
		return "not told: " + err.Error(), false
	}
	if err := install.HasUs(loaded, network); err != nil {
		return err.Error(), true
	}
	return "yes, with us in it", false
}

// String says which build is there, and which one is to be.
func (b binaryStatus) String() string {
	return fmt.Sprintf("%s in %s (installed %s, wanted %s)", binaryWords(install.BinaryState(b.State)), b.Dir, orNone(b.Installed), orNone(b.Wanted))
}

func orNone(version string) string {
	if version == "" {
		return "none"
	}
	return version
}

func binaryWords(s install.BinaryState) string {
	switch s {
	case install.BinaryCurrent:
		return "current"
	case install.BinaryOther:
		return "another build of ours"
	case install.BinaryForeign:
		return "not ours, or half written,"
	case install.BinaryAbsent:
		return "absent"
	case install.BinaryInert:
		return "current, but not executable,"
	}
	panic("detour: binary state " + string(s))
}

// podNow is what would happen to a pod that starts now.
func (s status) podNow(r install.Report) string {
	_, unspoken := errors.AsType[install.VersionError](s.problem)
	switch {
	case s.unloaded:
		return "starts without a redirect: the runtime has not loaded us"
	case !r.Stands && errors.Is(s.problem, install.ErrNoPrimary):
		return "does not start: the node has no network"
	case r.Broken:
		return "does not start: the file that the runtime would load is broken"
	case !r.Stands:
		return "starts without a redirect"
	case r.Binary == install.BinaryAbsent:
		return "does not start: the chain names a binary that is not there"
	case r.Binary == install.BinaryInert:
		return "does not start: the chain names a binary that is not executable"
	case r.Binary == install.BinaryForeign:
		return "does not start, or not with our redirect: the chain names a binary that is not ours, or half written"
	case !s.InChain && r.Refused && r.Binary == install.BinaryCurrent:
		return "does not start: the plugin that is there cannot read the entry that is in the chain"
	case errors.Is(s.problem, install.ErrNoPrimary):
		return "goes through our copy of a network configuration that is gone"
	case unspoken:
		return "does not start: the network's cniVersion is none that the plugin speaks"
	case !s.InChain:
		return "goes through an entry of ours that is not as wanted"
	case r.Entry.Options.Pods == plugin.PodsAll:
		return "is redirected, mesh or not"
	}
	return "is redirected if one of these claims it: " + strings.Join(r.Entry.Options.Meshes, ", ")
}
