package main

import (
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"github.com/detour-cni/detour/inspect/words"
)

func listenFlag(c *cobra.Command, listen *string) {
	c.Flags().StringVar(listen, "listen", "127.0.0.1:9464", "address for /healthz, /readyz and /metrics; empty for none")
}

// serve answers liveness, readiness and metrics at an address until close. ended is called
// if it stops by itself. No address, nothing served.
func serve(listen string, ready func() error, metrics prometheus.Gatherer, ended func(error)) (closeServer func() error, err error) {
	if listen == "" {
		return func() error { return nil }, nil
	}
	if _, _, err := net.SplitHostPort(listen); err != nil {
		return nil, exit{exitUsage, fmt.Errorf("--listen: %q (want ADDRESS:PORT)", listen)}
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("--listen: %w (want an address that is free on this node; in the chart metrics.bind)", err)
	}
	server := &http.Server{Handler: routes(ready, metrics), ReadHeaderTimeout: time.Second}
	go func() { ended(server.Serve(l)) }()
	return server.Close, nil
}

func routes(ready func() error, metrics prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { words.Fprintf(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		words.Fprintf(w, "ok\n")
	})
	return mux
}
