// Command sing-box is sing-box with the protocols that the tests use and no others:
// redirect and tproxy in, direct out. All of what it does is upstream's own code; what
// is left out (VPNs, tunnels, web interfaces) takes two minutes to compile.
//
//	sing-box run -c FILE
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	box "github.com/sagernet/sing-box"
	"github.com/sagernet/sing-box/adapter/certificate"
	"github.com/sagernet/sing-box/adapter/endpoint"
	"github.com/sagernet/sing-box/adapter/inbound"
	"github.com/sagernet/sing-box/adapter/outbound"
	"github.com/sagernet/sing-box/adapter/service"
	"github.com/sagernet/sing-box/dns"
	"github.com/sagernet/sing-box/dns/transport/local"
	"github.com/sagernet/sing-box/option"
	"github.com/sagernet/sing-box/protocol/direct"
	"github.com/sagernet/sing-box/protocol/redirect"
	"github.com/sagernet/sing/common/json"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "sing-box:", err)
		os.Exit(1)
	}
}

// run is upstream's `run -c`: until SIGTERM or SIGINT.
func run(args []string) error {
	if len(args) != 3 || args[0] != "run" || args[1] != "-c" {
		return fmt.Errorf("arguments %q: want run -c FILE", args)
	}
	config, err := os.ReadFile(args[2])
	if err != nil {
		return err
	}
	ctx := protocols(context.Background())
	options, err := json.UnmarshalExtendedContext[option.Options](ctx, config)
	if err != nil {
		return fmt.Errorf("%s: %w", args[2], err)
	}
	options.Log.DisableColor = true // upstream's --disable-color: tests read it
	b, err := box.New(box.Options{Context: ctx, Options: options})
	if err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	if err := b.Start(); err != nil {
		return err
	}
	<-stop
	return b.Close()
}

func protocols(ctx context.Context) context.Context {
	in, out, resolvers := inbound.NewRegistry(), outbound.NewRegistry(), dns.NewTransportRegistry()
	redirect.RegisterRedirect(in)
	redirect.RegisterTProxy(in)
	direct.RegisterInbound(in)
	direct.RegisterOutbound(out)
	local.RegisterTransport(resolvers)
	return box.Context(ctx, in, out, endpoint.NewRegistry(), resolvers, service.NewRegistry(), certificate.NewRegistry())
}
