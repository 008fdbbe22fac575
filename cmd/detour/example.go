package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/detour-cni/detour/demo/proxy"
	"github.com/detour-cni/detour/inspect/words"
)

// exampleCommand is an app and a proxy for a first pod (deploy/examples/first-pod.yaml), so that it needs no
// image but detour's own.
func exampleCommand() *cobra.Command {
	c := &cobra.Command{Use: "example", Short: "An app and a proxy for a first pod", Hidden: true, Args: cobra.NoArgs}
	c.AddCommand(
		&cobra.Command{Use: "app", Short: "Answer on 8080, and call the API server's port now and then", Args: cobra.NoArgs,
			RunE: func(c *cobra.Command, _ []string) error { return exampleApp(c.Context(), c.OutOrStdout()) }},
		&cobra.Command{Use: "proxy", Short: "Pass on what is redirected to 15001 and 15006, and say it", Args: cobra.NoArgs,
			RunE: func(c *cobra.Command, _ []string) error { return exampleProxy(c.Context(), c.OutOrStdout()) }},
	)
	return c
}

// callPause is between the app's calls.
const callPause = 10 * time.Second

func exampleApp(ctx context.Context, out io.Writer) error {
	log := slog.New(slog.NewTextHandler(out, nil))
	server := &http.Server{Addr: ":8080", ReadHeaderTimeout: callPause, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		words.Fprintf(w, "the app was called by %s\n", r.RemoteAddr)
	})}
	go func() {
		to := net.JoinHostPort(os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT"))
		for ctx.Err() == nil {
			c, err := net.DialTimeout("tcp", to, callPause)
			if err != nil {
				log.Warn("call", "to", to, "err", err)
			} else {
				log.Info("call", "to", to)
				_ = c.Close() // nothing was said
			}
			select {
			case <-ctx.Done():
			case <-time.After(callPause):
			}
		}
		_ = server.Close() // it ends with the process
	}()
	if err := server.ListenAndServe(); ctx.Err() == nil {
		return err
	}
	return nil
}

func exampleProxy(ctx context.Context, out io.Writer) error {
	log := slog.New(slog.NewTextHandler(out, nil))
	p := proxy.Proxy{
		OutboundPort: 15001, InboundPort: 15006, AppSources: []netip.Addr{netip.MustParseAddr("127.0.0.6"), netip.MustParseAddr("::6")},
		Report: func(s proxy.Seen) { log.Info(string(s.Side), "from", s.Client, "to", s.Original, "err", s.Err) },
	}
	if err := p.Listen(); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}
