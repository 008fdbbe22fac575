// Command detour-validate proves from inside a pod, without any right, that the pod's packets
// are bent as they should be: in an init container what goes out, and as a native sidecar with a
// startup probe what comes in.
//
//	detour-validate --as app --outbound-port 15001 --dns-port 15053
//	detour-validate probe --inbound-port 15006 --port 15777
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
	"slices"
	"strings"
	"time"
)

// patience is how long a call may take that nobody answers. All checks run side by side, and what is
// broken is tried once more, so the whole takes less than a second.
const patience = 400 * time.Millisecond

const (
	exitBroken  = 1
	exitUsage   = 2
	exitUnknown = 3
)

// options are what should be so.
type options struct {
	as                             string
	outboundPort, inboundPort, dns uint
	dnsProtocols                   []string
	loopback                       string
	verbose                        bool
}

// What `lo` does with calls inside the pod: the redirect's option "loopback" (docs/configuration.md).
const (
	hairpin       = "hairpin"
	bypass        = "bypass"
	localhostOnly = "localhost-only"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, out, errs io.Writer) int {
	if len(args) > 0 && args[0] == "probe" {
		return runProbe(args[1:], out, errs)
	}
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
	flags.UintVar(&o.inboundPort, "inbound-port", 15006, "where the proxy takes inbound calls (--as proxy --loopback hairpin)")
	flags.UintVar(&o.dns, "dns-port", 0, "where the proxy takes DNS queries; 0: they are not redirected")
	protocols := flags.String("dns-protocols", "udp,tcp", "which of them")
	flags.StringVar(&o.loopback, "loopback", hairpin, "what lo does: hairpin (Envoy's), bypass (Linkerd, App Mesh) or localhost-only (Consul)")
	flags.BoolVar(&o.verbose, "v", false, "a line for each check")
	flags.Usage = func() {
		fmt.Fprintf(errs, "usage: detour-validate [flags]\n       detour-validate probe [flags]  (detour-validate probe -h)\n\n")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("%q: want no arguments, only flags", flags.Arg(0))
	case o.as != "app" && o.as != "proxy":
		return o, fmt.Errorf("--as: %q (want app or proxy)", o.as)
	case !slices.Contains([]string{hairpin, bypass, localhostOnly}, o.loopback):
		return o, fmt.Errorf("--loopback: %q (want hairpin, bypass or localhost-only)", o.loopback)
	}
	o.dnsProtocols = strings.Split(*protocols, ",")
	for _, p := range o.dnsProtocols {
		if p != "udp" && p != "tcp" {
			return o, fmt.Errorf("--dns-protocols: %q (want udp, tcp or both)", *protocols)
		}
	}
	if err := wantPorts(map[string]uint{"outbound-port": o.outboundPort, "inbound-port": o.inboundPort}); err != nil {
		return o, err
	}
	if o.dns > 65535 {
		return o, fmt.Errorf("--dns-port: %d (want 0 to 65535)", o.dns)
	}
	return o, nil
}

func wantPorts(ports map[string]uint) error {
	for name, port := range ports {
		if port < 1 || port > 65535 {
			return fmt.Errorf("--%s: %d (want 1 to 65535)", name, port)
		}
	}
	return nil
}
