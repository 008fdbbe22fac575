package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/detour-cni/detour/install"
	"github.com/detour-cni/detour/plugin"
)

func statusCommand() *cobra.Command {
	var flags nodeFlags
	c := &cobra.Command{
		Use:   "status",
		Short: "Say whether this node is in the chain, and what would happen to a pod now",
		Long: `Say whether this node is in the chain, and what would happen to a pod now.

Exit code 0: what the runtime loads contains us. 1: it does not, or not as wanted. 3: could not tell.`,
		Example: "  detour status\n  detour status --conf-dir /etc/cni/net.d --runtime containerd://2.1.4",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			node, err := flags.node()
			if err != nil {
				return err
			}
			dir, report, err := node.Look()
			if err != nil && !errors.Is(err, install.ErrNoPrimary) {
				return exit{exitUnknown, err}
			}
			if err := printStatus(c.OutOrStdout(), node, dir, report, err); err != nil {
				return err
			}
			if err != nil || report.Changed() {
				return exit{code: exitFindings}
			}
			return nil
		},
	}
	flags.register(c)
	return c
}

// printStatus says a line for each question that an operator has.
func printStatus(w io.Writer, node install.Node, dir install.Dir, r install.Report, noPrimary error) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(key, format string, args ...any) { fmt.Fprintf(t, "%s\t%s\n", key, fmt.Sprintf(format, args...)) }
	line("runtime", "%s", node.Runtime)
	line("binary", "%s in %s", binaryWords(r.Binary), node.BinDir)
	if noPrimary != nil {
		line("network", "none: %v", noPrimary)
		line("a pod now", "does not start: the node has no network")
		return t.Flush()
	}
	line("network", "%s, from %s", r.Plan.Network, r.Plan.Primary)
	line("mode", "%s (%s)", r.Plan.Mode, r.Plan.Why)
	inChain := true
	for _, s := range r.Plan.Steps {
		if s.Path == r.Plan.Joined {
			inChain = false
		}
	}
	switch {
	case inChain:
		line("entry", "in %s, as wanted", r.Plan.Joined)
	default:
		line("entry", "not as wanted in %s", r.Plan.Joined)
	}
	for _, s := range r.Plan.Steps {
		line("to do", "%s would be %s", s.Path, s.What())
	}
	line("a pod now", "%s", podNow(r, inChain))
	line("kernel", "not asked (needs a look into a network namespace: detour doctor)")
	for _, warning := range r.Plan.Warnings {
		line("warning", "%s", warning)
	}
	_ = dir
	return t.Flush()
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
	}
	panic("detour: binary state " + string(s))
}

// podNow is what would happen to a pod that starts now.
func podNow(r install.Report, inChain bool) string {
	switch {
	case !inChain:
		return "starts without a redirect, or with other options than wanted"
	case r.Binary == install.BinaryAbsent:
		return "does not start: the chain names a binary that is not there"
	case r.Entry.Options.Pods == plugin.PodsAll:
		return "is redirected, mesh or not"
	}
	return "is redirected if one of these claims it: " + strings.Join(r.Entry.Options.Meshes, ", ")
}
