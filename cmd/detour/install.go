package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"github.com/detour-cni/detour/inspect/words"
	"github.com/detour-cni/detour/install"
)

func installCommand() *cobra.Command {
	var (
		flags        nodeFlags
		once, dryRun bool
		listen       string
	)
	c := &cobra.Command{
		Use:   "install",
		Short: "Put the plugin into this node's CNI chain, and keep it there",
		Long: `Put the plugin into this node's CNI chain, and keep it there.

The binary goes in first, then the entry: as a drop-in of the network, spliced into the
primary's list, or in a list of our own, as --mode says. Without --once the node is watched
from then on, and what somebody else undoes is put right. It stays in the chain when it
is stopped; "detour uninstall" takes it out.`,
		Example: `  detour install --once --dry-run
  detour install --once --config detour.json
  detour install --runtime containerd://2.1.4 --listen 127.0.0.1:9464`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			node, err := flags.node()
			if err != nil {
				return err
			}
			if dryRun {
				return showPlan(c.OutOrStdout(), node)
			}
			log := slog.New(slog.NewTextHandler(c.ErrOrStderr(), nil))
			registry := prometheus.NewRegistry()
			watched := install.NewWatched(node, flags.cache, log, registry)
			if once {
				report, err := node.Install()
				watched.RanOnce(report, err)
				return err
			}
			registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
			return keep(c.Context(), node, watched, registry, listen)
		},
	}
	flags.register(c)
	flags.registerCRI(c)
	c.Flags().BoolVar(&once, "once", false, "do it and return, do not watch")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "print what would change, and change nothing")
	listenFlag(c, &listen)
	return c
}

// keep installs and watches until ctx ends.
func keep(ctx context.Context, node install.Node, w *install.Watched, metrics prometheus.Gatherer, listen string) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	closeServer, err := serve(listen, w.Ready, metrics, stop)
	if err != nil {
		return err
	}
	defer closeServer() //nolint:errcheck // the process ends
	go w.WatchSlipped(ctx)
	node.Watch(ctx, w)
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	w.Log.Info("stopped: the node stays in the mesh, \"detour uninstall\" takes it out")
	return nil
}

// showPlan prints what an install would do, as a diff of files.
func showPlan(w io.Writer, node install.Node) error {
	_, report, err := node.Look()
	would := len(report.Plan.Steps) > 0 || install.Did(err) && report.Changed()
	if err != nil && !would {
		return err
	}
	if report.Plan.Mode != "" { // else nobody knows the options of before
		if _, bad := errors.AsType[install.ConfigError](err); bad {
			words.Fprintf(w, "# the options of --config cannot be used: with those of before\n")
		}
		words.Fprintf(w, "# mode %s: %s\n", report.Plan.Mode, report.Plan.Why)
	}
	if report.Binary != install.BinaryCurrent {
		words.Fprintf(w, "# %s/%s: %s, would be written\n", node.BinDir, install.PluginType, report.Binary)
	}
	for _, s := range report.Plan.Steps {
		old, now := s.Path, s.Path
		if s.Was == nil {
			old = os.DevNull
		}
		if s.Text == nil {
			now = os.DevNull
		}
		words.Fprintf(w, "# %s: found %s, would be %s\n", s.Path, s.Found(), s.What())
		if _, err := w.Write(diff.Diff(old, s.Was, now, s.Text)); err != nil {
			return err
		}
	}
	if !report.Changed() {
		words.Fprintf(w, "# nothing to change\n")
	}
	for _, warning := range report.Plan.Warnings {
		words.Fprintf(w, "# warning: %s\n", warning)
	}
	return err // of a node whose chain would be left, or of options that cannot be used
}
