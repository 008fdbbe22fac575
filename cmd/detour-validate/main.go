// Command detour-validate proves from inside a pod, without any right, that the pod's packets
// are bent as they should be: as an init container, or as a startup probe.
//
//	detour-validate --as app --outbound-port 15001 --dns-port 15053
//
// It says one line. Exit codes: 0 all that can be proved is as it should be, 1 something is
// not, 2 usage, 3 could not tell.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"
)

const (
	exitBroken  = 1
	exitUsage   = 2
	exitUnknown = 3
)

// options are what should be so.
type options struct {
	as                             string
	outboundPort, inboundPort, dns uint
	hairpin, verbose               bool
	patience                       time.Duration
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, out, errs io.Writer) int {
	o, err := parse(args, errs)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(errs, "detour-validate:", err)
		return exitUsage
	}
	results := validate(o)
	code, line := verdict(results)
	if o.verbose {
		for _, r := range results {
			fmt.Fprintln(out, r)
		}
	}
	fmt.Fprintln(out, line)
	return code
}

func parse(args []string, errs io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("detour-validate", flag.ContinueOnError)
	flags.SetOutput(errs)
	flags.StringVar(&o.as, "as", "app", "whose user this runs as: app or proxy")
	flags.UintVar(&o.outboundPort, "outbound-port", 15001, "where the proxy takes outbound calls")
	flags.UintVar(&o.inboundPort, "inbound-port", 15006, "where the proxy takes inbound calls (--as proxy --hairpin)")
	flags.UintVar(&o.dns, "dns-port", 0, "where the proxy takes DNS queries; 0: they are not redirected")
	flags.BoolVar(&o.hairpin, "hairpin", true, "with --as proxy: a call to the pod's own address is an inbound call")
	flags.BoolVar(&o.verbose, "v", false, "a line for each check")
	flags.DurationVar(&o.patience, "patience", 400*time.Millisecond, "how long a call may take that nobody answers")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("%q: want no arguments, only flags", flags.Arg(0))
	case o.as != "app" && o.as != "proxy":
		return o, fmt.Errorf("--as: %q (want app or proxy)", o.as)
	}
	for name, port := range map[string]uint{"outbound-port": o.outboundPort, "inbound-port": o.inboundPort} {
		if port < 1 || port > 65535 {
			return o, fmt.Errorf("--%s: %d (want 1 to 65535)", name, port)
		}
	}
	if o.dns > 65535 {
		return o, fmt.Errorf("--dns-port: %d (want 0 to 65535)", o.dns)
	}
	return o, nil
}
