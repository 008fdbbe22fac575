package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"sync"

	"github.com/detour-cni/detour/demo/proxy"
	"github.com/detour-cni/detour/redirect"
)

// event is a line that the proxy prints: a connection it took, or the answer to a mark.
type event struct {
	proxy.Seen
	// Mark says that everything the proxy had seen before it was asked stands above.
	Mark bool `json:"mark,omitempty"`
}

// beProxy runs the proxy. Each line on stdin is answered with a mark: a
// connection that went through the proxy was reported before its caller had an
// answer, so whoever asks for a mark afterwards knows that there was no other.
func beProxy(args []string) error {
	flags := flag.NewFlagSet("proxy", flag.ContinueOnError)
	outbound := flags.Uint("outbound", 15001, "port for the app's calls")
	inbound := flags.Uint("inbound", 15006, "port for calls to the app")
	sources := flags.String("from", "", "addresses from which to call the app")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var printing sync.Mutex
	out := json.NewEncoder(os.Stdout)
	say := func(e event) {
		printing.Lock()
		defer printing.Unlock()
		_ = out.Encode(e) // without a reader there is no demo
	}
	p := proxy.Proxy{
		OutboundPort: uint16(*outbound),
		InboundPort:  uint16(*inbound),
		Report:       func(s proxy.Seen) { say(event{Seen: s}) },
	}
	for _, text := range redirect.SplitList(*sources) {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return err
		}
		p.AppSources = append(p.AppSources, a)
	}
	if err := p.Listen(); err != nil {
		return err
	}
	say(event{Mark: true})
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		say(event{Mark: true})
	}
	return nil
}
