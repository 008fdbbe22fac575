// Command kubectl-detour is `kubectl detour`: inspect, explain and doctor from a workstation.
//
//	kubectl detour inspect cart-0 -n shop ──API server──▶ a pod of detour's image on the node of cart-0
//	        ◀── its answer, word for word ───────────────  detour inspect shop/cart-0
//
// The DaemonSet has no capability, and so cannot look into a pod. As `kubectl debug node` does, this
// creates, with the user's own rights, a privileged pod on that node, runs the command in it, and
// deletes it again, whatever happens. The pod ends by itself if this process cannot.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/detour-cni/detour/cmd/strict"
	"github.com/detour-cni/detour/inspect/words"
)

// buildVersion is set by the linker: -X main.buildVersion=v1.2.3.
var buildVersion = "devel"

// Exit codes, as detour's: 0 fine, 1 findings, 2 usage, 3 could not tell. What the command on the
// node ends with is passed on.
const (
	exitUsage   = 2
	exitUnknown = 3
)

// exit is an error with an exit code of its own; without an error everything was said already.
type exit struct {
	code int
	err  error
}

func (e exit) Error() string { return fmt.Sprint(e.err) }
func (e exit) Unwrap() error { return e.err }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	code := run(ctx, &words.Stdout{File: os.Stdout}, &words.Writer{To: os.Stderr}, os.Args[1:])
	stop()
	os.Exit(code)
}

// run is the program, and gives its exit code. What could not be written nobody can read, whatever it was.
func run(ctx context.Context, out *words.Stdout, stderr io.Writer, args []string) (code int) {
	c := root(out, stderr)
	c.SetArgs(args)
	err := c.ExecuteContext(ctx)
	if err != nil {
		code = exitUnknown
	}
	if e, ok := errors.AsType[exit](err); ok {
		code, err = e.code, e.err
	}
	if out.Err != nil {
		code = exitUnknown
		if !errors.Is(err, out.Err) {
			err = errors.Join(err, out.Err)
		}
	}
	if err != nil {
		fmt.Fprintln(stderr, "kubectl detour:", err)
	}
	return code
}

func root(out *words.Stdout, stderr io.Writer) *cobra.Command {
	c := &cobra.Command{
		Use:   "kubectl-detour", // one word: help shows the name below in its place
		Short: "Say where a pod's packets go, from a workstation",
		Long: `Say where a pod's packets go, from a workstation: detour's own commands, run on the pod's node.

Each creates, with your own rights, a privileged pod of detour's image on that node for a few seconds,
and deletes it again. It needs: get pods in the pod's namespace; list pods, and create, get and delete
pods and create pods/exec, in detour's.

Flags of kubectl: -n, --namespace; --context; --kubeconfig. Of this: --image (default: that of
detour's DaemonSet) and --debug-namespace (default: the DaemonSet's). Every other flag is the
command's own: detour inspect --help, and so on.`,
		Version:       buildVersion,
		SilenceErrors: true,
		SilenceUsage:  true,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl detour"},
	}
	c.SetOut(out)
	c.SetErr(stderr)
	usage := func(err error) error { return exit{exitUsage, err} }
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	c.CompletionOptions.DisableDefaultCmd = true // kubectl asks kubectl_complete-detour
	c.AddCommand(
		lookCommand(out, stderr, "inspect", "Show where a pod's packets go, who listens there, and what is wrong",
			"  kubectl detour inspect cart-0 -n shop\n  kubectl detour inspect cart-0 -n shop -o html > cart.html\n  kubectl detour inspect cart-0 --watch"),
		lookCommand(out, stderr, "explain", "Say where a packet would end, and which of the pod's rules say so",
			"  kubectl detour explain cart-0 -n shop --from app --to 10.96.0.10:443"),
		lookCommand(out, stderr, "doctor", "Look for what is wrong on a node: node/NAME, or that of a pod",
			"  kubectl detour doctor node/worker-1\n  kubectl detour doctor cart-0 -n shop -o json"),
	)
	c.InitDefaultHelpCmd()
	strict.Commands(c, usage)
	return c
}

// lookCommand takes its arguments as they are: most of them are for detour itself.
func lookCommand(out *words.Stdout, stderr io.Writer, name, short, example string) *cobra.Command {
	use := name + " POD"
	if name == "doctor" {
		use = name + " POD|node/NAME"
	}
	return &cobra.Command{
		Use: use, Short: short, Example: example, DisableFlagParsing: true,
		RunE: func(c *cobra.Command, args []string) error {
			a, err := parse(name, args)
			if errors.Is(err, errHelp) {
				return c.Help()
			}
			if err != nil {
				return exit{exitUsage, err}
			}
			return look(c.Context(), a, out, stderr)
		},
		ValidArgsFunction: complete(name),
	}
}
