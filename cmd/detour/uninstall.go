package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/detour-cni/detour/inspect/words"
	"github.com/detour-cni/detour/install"
)

func uninstallCommand() *cobra.Command {
	var (
		flags nodeFlags
		grace time.Duration
		wait  time.Duration
		stay  bool

		listen string
	)
	c := &cobra.Command{
		Use:   "uninstall",
		Short: "Take the plugin out of this node's CNI chain, and its binary away",
		Long: `Take the plugin out of this node's CNI chain, and its binary away.

The entry goes first. The binary goes when no runtime calls it any more: after --grace, and
elsewhere than on containerd once no cached result of the runtime names it, which is when the
last pod of that time has gone. It stays while a configuration names it: of an install since, or
a copy in Multus' delegates. What has to stay is said, and the exit code is 1.`,
		Example: `  detour uninstall --runtime containerd://2.1.4
  detour uninstall --wait 10m`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			node, err := flags.node()
			if err != nil {
				return err
			}
			if stay {
				return leaveAndStay(c, node, grace, flags.cache, listen)
			}
			ctx, stop := context.WithTimeout(c.Context(), max(wait, grace+time.Second))
			defer stop()
			farewell, err := node.Uninstall(ctx, grace, flags.cache)
			if err != nil {
				return err
			}
			sayFarewell(c, farewell)
			if len(farewell.Left) > 0 {
				return exit{code: exitFindings}
			}
			return nil
		},
	}
	flags.register(c)
	flags.registerCRI(c)
	c.Flags().DurationVar(&grace, "grace", 5*time.Second, "how long the runtime has to read its configuration again and to end what it began, before the binary goes")
	c.Flags().DurationVar(&wait, "wait", 0, "how long to wait for the last pod that needs the binary, on CRI-O and unknown runtimes")
	listenFlag(c, &listen)
	c.Flags().BoolVar(&stay, "stay", false, "then idle, and be ready: what the chart's uninstall makes of the DaemonSet")
	return c
}

// leaveAndStay uninstalls as a pod of a DaemonSet does, and idles. It is ready when nothing is
// left to do: whoever waits for that ends this process, and the binary would stay. Where it has to
// wait for pods of that time, which may take days, it is ready after grace, with the entry out.
func leaveAndStay(c *cobra.Command, node install.Node, grace time.Duration, cache, listen string) error {
	ctx, stop := context.WithCancelCause(c.Context())
	defer stop(nil)
	var out atomic.Bool
	closeServer, err := serve(listen, func() error {
		if !out.Load() {
			return errors.New("still leaving")
		}
		return nil
	}, prometheus.NewRegistry(), stop)
	if err != nil {
		return err
	}
	defer closeServer() //nolint:errcheck // the process ends
	// The instance before us may still be ending, with its lock.
	farewell, err := node.LeaveChain(ctx)
	if err != nil {
		return err
	}
	sayFarewell(c, farewell)
	late := time.AfterFunc(grace+3*time.Second, func() { out.Store(true) })
	defer late.Stop()
	if farewell, err = node.Uninstall(ctx, grace, cache); err != nil {
		return err
	}
	out.Store(true)
	sayFarewell(c, farewell)
	<-ctx.Done()
	return nil
}

func sayFarewell(c *cobra.Command, f install.Farewell) {
	out := c.OutOrStdout()
	for _, s := range f.Steps {
		words.Fprintf(out, "%s %s\n", s.What(), s.Path)
	}
	if f.Binary {
		words.Fprintf(out, "removed the binary\n")
	}
	for _, left := range f.Left {
		words.Fprintf(out, "left %s\n", left)
	}
	if len(f.Steps) == 0 && !f.Binary && len(f.Left) == 0 {
		words.Fprintf(out, "nothing of ours was here\n")
	}
}
