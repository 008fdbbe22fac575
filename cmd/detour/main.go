// Command detour is what a person or a DaemonSet runs: it puts the CNI plugin on
// a node, keeps it there, and takes it out again.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/cmd/strict"
	"github.com/detour-cni/detour/inspect/words"
)

// buildVersion is set by the linker: -X main.buildVersion=v1.2.3.
var buildVersion = "devel"

// Exit codes: 0 fine, 1 findings or failed, 2 usage, 3 could not tell.
const (
	exitFindings = 1
	exitUsage    = 2
	exitUnknown  = 3
)

// exit is an error with an exit code of its own. What is to be said was said already
// if it wraps nothing.
type exit struct {
	code int
	err  error
}

func (e exit) Error() string { return fmt.Sprint(e.err) }
func (e exit) Unwrap() error { return e.err }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	code := run(ctx, &words.Stdout{File: os.Stdout}, os.Stderr, os.Args[1:])
	stop()
	os.Exit(code)
}

// run is the program, and gives its exit code. What could not be written nobody can read, whatever it was.
func run(ctx context.Context, out *words.Stdout, stderr io.Writer, args []string) (code int) {
	c := root(&words.Writer{To: out})
	c.SetErr(stderr)
	c.SetArgs(args)
	err := c.ExecuteContext(ctx)
	if err != nil {
		code = exitFindings
	}
	if e, ok := errors.AsType[exit](err); ok {
		code = e.code
		err = e.err
	}
	if out.Err != nil {
		code = exitUnknown
		if !errors.Is(err, out.Err) {
			err = errors.Join(err, out.Err)
		}
	}
	if err != nil {
		_, _ = io.WriteString(stderr, "detour: "+words.Text(err.Error())+"\n") // of several causes each has a line; there is nobody else to tell
	}
	return code
}

func root(out io.Writer) *cobra.Command {
	c := &cobra.Command{
		Use:           "detour",
		Short:         "Bend pods' traffic into their sidecar proxy, from the node",
		Version:       buildVersion,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
	}
	usage := func(err error) error { return exit{exitUsage, err} }
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	c.PersistentPreRunE = func(c *cobra.Command, _ []string) error { return fromEnvironment(c.Flags(), os.LookupEnv) }
	c.SetOut(out)
	c.AddCommand(installCommand(), uninstallCommand(), statusCommand(), renderCommand(), explainCommand(), inspectCommand(), doctorCommand(), bundleCommand(), manCommand(), leaveCommand(), untaintCommand(), pauseCommand(), exampleCommand())
	c.InitDefaultHelpCmd()
	c.InitDefaultCompletionCmd()
	strict.Commands(c, usage)
	return c
}

// fromEnvironment sets each flag that the command line does not from DETOUR_ and its name:
// --conf-dir from DETOUR_CONF_DIR.
func fromEnvironment(flags *pflag.FlagSet, lookup func(string) (string, bool)) (err error) {
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed || f.Name == "help" || f.Name == "version" || err != nil {
			return
		}
		name := "DETOUR_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if value, ok := lookup(name); ok && value != "" {
			if e := flags.Set(f.Name, value); e != nil {
				err = exit{exitUsage, fmt.Errorf("%s: %w", name, e)}
			}
		}
	})
	return err
}
