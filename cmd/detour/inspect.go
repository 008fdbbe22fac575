package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/detour-cni/detour/inspect"
	"github.com/detour-cni/detour/inspect/words"
	"github.com/detour-cni/detour/install"
	"github.com/detour-cni/detour/install/cri"
	"github.com/detour-cni/detour/plugin"
	"github.com/detour-cni/detour/plugin/mesh"
	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/live"
	"github.com/detour-cni/detour/redirect/netfilter"
)

// looker looks into pods of this node.
type looker struct{ cache, confDir, config, cri string }

func (l *looker) register(c *cobra.Command) {
	c.Flags().StringVar(&l.cache, "cache", "/var/lib/cni/results", "the runtime's cache of CNI results: it knows pods' names, namespaces and annotations")
	c.Flags().StringVar(&l.confDir, "conf-dir", "/etc/cni/net.d", "the runtime's directory of network configurations, for our entry's options")
	criSocketFlag(c, &l.cri)
}

func (l *looker) finder() (finder, error) {
	return finder{l.cache, sync.OnceValue(func() cri.Socket { return runtimeSocket(l.cri) })}, checkSocket(l.cri)
}

func inspectCommand() *cobra.Command {
	var (
		look   looker
		output string
		all    bool
		watch  bool
	)
	c := &cobra.Command{
		Use:   "inspect TARGET | --all",
		Short: "Show where a live pod's packets go, who listens there, and what is wrong",
		Long: `Show where a live pod's packets go, who listens there, and what is wrong, whoever wrote the rules.

TARGET is the path of a network namespace, a pid, a container id, or NAMESPACE/POD on this node. It asks no API server,
needs no iptables or nft, and only reads: as root, on the node.

Exit code 0: nothing is wrong. 1: something is, and said. 2: usage. 3: nobody can say.`,
		Example: `  detour inspect shop/cart-0
  detour inspect 4242 -o wide
  detour inspect /var/run/netns/cni-0b1c -o html > cart.html
  detour inspect shop/cart-0 --watch
  detour inspect --all -o json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if all != (len(args) == 0) {
				return exit{exitUsage, errNoTarget}
			}
			if err := inspectOutput(output, all); err != nil {
				return exit{exitUsage, err}
			}
			if watch {
				if err := checkWatch(raw(c.OutOrStdout()), output, all); err != nil {
					return exit{exitUsage, err}
				}
			}
			targets, unfound := look.targets(c.Context(), args)
			if len(targets) == 0 && unfound != nil {
				return unfound
			}
			if len(targets) == 0 && (output == "table" || output == "wide") {
				_, err := io.WriteString(c.OutOrStdout(), "no pods: none in the CNI result cache, and no runtime names one\n")
				return err
			}
			if watch {
				return look.watch(c.Context(), raw(c.OutOrStdout()), targets[0], output)
			}
			reports, gone := look.reports(targets)
			if err := show(c.OutOrStdout(), reports, output); err != nil {
				return err
			}
			return verdict(reports, errors.Join(unfound, gone))
		},
	}
	look.register(c)
	c.Flags().StringVar(&look.config, "config", "", "file with the node's options (default: our entry in --conf-dir)")
	c.Flags().StringVarP(&output, "output", "o", "table", "table, wide, json, yaml, svg or html")
	c.Flags().BoolVar(&all, "all", false, "every pod of the node")
	c.Flags().BoolVarP(&watch, "watch", "w", false, "again each second, with packets a second, until Ctrl-C")
	return c
}

func inspectOutput(output string, all bool) error {
	switch output {
	case "table", "wide", "json", "yaml":
		return nil
	case "svg", "html":
		if all {
			return fmt.Errorf("--output: %s is of one pod (want table, wide, json or yaml with --all)", output)
		}
		return nil
	}
	return fmt.Errorf("--output: %q (want table, wide, json, yaml, svg or html)", output)
}

func (l looker) targets(ctx context.Context, args []string) ([]target, error) {
	find, err := l.finder()
	if err != nil {
		return nil, err
	}
	if len(args) == 0 {
		return find.all(ctx)
	}
	t, err := find.one(ctx, args[0])
	if err != nil {
		return nil, err
	}
	return []target{t}, nil
}

// reports looks into each; what cannot be looked into is an error of its own.
func (l looker) reports(targets []target) (reports []inspect.Report, failed error) {
	options, err := l.options()
	failed = err
	var paths []string
	for _, t := range targets {
		paths = append(paths, t.netns)
	}
	for i, seen := range inspect.LookAll(paths) {
		if seen.Err != nil {
			failed = errors.Join(failed, lookError(seen.Err))
			continue
		}
		t := targets[i]
		reports = append(reports, inspect.NewReport(t.name, t.found, t.netns, seen.Pod, wanted(t, options, seen.Pod.Rules)))
	}
	return reports, failed
}

func lookError(err error) error {
	if errors.Is(err, netfilter.ErrHostNamespace) {
		return fmt.Errorf("%w: detour redirects nothing there", err)
	}
	return err
}

// options are those of our entry; nil where the node has none.
func (l looker) options() (*plugin.Options, error) {
	if l.config != "" {
		text, err := os.ReadFile(l.config)
		if err != nil {
			return nil, err
		}
		o, err := nodeOptions(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", l.config, err)
		}
		return &o, nil
	}
	for _, pattern := range []string{"*.conflist", "*/*.conf"} {
		files, _ := filepath.Glob(filepath.Join(l.confDir, pattern)) // only a bad pattern is an error
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil || !strings.Contains(string(text), `"`+install.PluginType+`"`) {
				continue
			}
			o, err := nodeOptions(text)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f, err)
			}
			return &o, nil
		}
	}
	return nil, nil
}

// wanted is what ADD would decide for the pod today, held against its namespace.
func wanted(t target, o *plugin.Options, there live.Rules) inspect.Wanted {
	if t.pod == nil {
		return inspect.Wanted{}
	}
	if o == nil { // silence here would read as "nothing is to be there"
		return inspect.Wanted{Why: "not compared: no entry of detour's is in the conf dir (--config says the node's options)", Unasked: true}
	}
	d, err := plugin.Decide(*o, *t.pod, mesh.All())
	if err != nil {
		return inspect.Wanted{Why: err.Error()}
	}
	w := inspect.Wanted{Why: d.Why, Redirect: d.Redirect}
	if !d.Redirect {
		w.Moved = slices.ContainsFunc(there.Chains, live.Chain.Ours)
		return w
	}
	rs, err := redirect.Compile(d.Spec)
	if err != nil {
		return inspect.Wanted{Why: err.Error()}
	}
	w.Moved, w.Drift = netfilter.Verify(t.netns, rs, o.Backend)
	return w
}

// show writes the reports in one form.
func show(w io.Writer, reports []inspect.Report, output string) error {
	var text string
	var err error
	switch output {
	case "json", "yaml":
		if text, err = indented(inspect.NewDocument(reports)); err == nil && output == "yaml" {
			var y []byte
			y, err = yaml.JSONToYAML([]byte(text))
			text = words.Text(string(y)) // it has escapes for all but what turns the direction of text
		}
	case "svg", "html":
		draw := map[string]func(inspect.Report) (string, error){"svg": inspect.SVG, "html": inspect.HTML}[output]
		for _, r := range reports { // one at most
			text, err = draw(r)
		}
	default:
		var all []string
		for _, r := range reports {
			all = append(all, inspect.Table(r, output == "wide"))
		}
		text = strings.Join(all, "\n")
	}
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, text)
	return err
}

// verdict is the exit code.
func verdict(reports []inspect.Report, failed error) error {
	if failed != nil {
		return exit{exitUnknown, failed}
	}
	code := 0
	for _, r := range reports {
		switch {
		case r.Wrong():
			return exit{code: exitFindings}
		case len(r.Findings) > 0:
			code = exitUnknown
		}
	}
	if code != 0 {
		return exit{code: code}
	}
	return nil
}
