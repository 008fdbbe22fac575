package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/detour-cni/detour/inspect/words"
)

func untaintCommand() *cobra.Command {
	var node, key, ready string
	c := &cobra.Command{
		Use:   "untaint",
		Short: "Take the startup taint off this node once detour is ready here",
		Long: `Take the startup taint off this node once detour is ready here.

Nodes of an autoscaler's pool are born with the taint, so that nothing starts before the
chain has detour. It looks every two seconds until detour is ready and the taint gone, and then once a minute.`,
		Example: "  detour untaint --node $NODE_NAME",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if node == "" {
				return exit{exitUsage, errors.New("--node: want the name of this node")}
			}
			a, err := inCluster()
			if err != nil {
				return err
			}
			keepUntainted(c.Context(), 2*time.Second, c.ErrOrStderr(), func() error {
				done, err := untaint(c.Context(), a, node, key, ready)
				if done && err == nil {
					words.Fprintf(c.ErrOrStderr(), "untaint: took %s off %s\n", key, node)
				}
				return err
			})
			return nil
		},
	}
	c.Flags().StringVar(&node, "node", "", "name of this node")
	c.Flags().StringVar(&key, "key", "startup-taint.cluster-autoscaler.kubernetes.io/detour", "the taint's key")
	c.Flags().StringVar(&ready, "ready", "http://127.0.0.1:9464/readyz", "where detour says that it is ready on this node")
	return c
}

// keepUntainted looks until ctx ends: once a minute, and soon again after what keeps it from its end,
// which it says when it is another than before.
func keepUntainted(ctx context.Context, soon time.Duration, w io.Writer, look func() error) {
	said := ""
	for {
		now, pause := "", time.Minute
		if err := look(); err != nil {
			now, pause = err.Error(), soon
		}
		if now != "" && now != said {
			words.Fprintf(w, "untaint: %s\n", now)
		}
		said = now
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// untaint looks once. The error says what keeps the taint there. The API server, which all nodes ask, is
// asked last.
func untaint(ctx context.Context, a api, node, key, ready string) (done bool, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, ready, nil)
	if err != nil {
		return false, err
	}
	response, err := (&http.Client{Timeout: time.Second}).Do(r)
	if err != nil {
		return false, err
	}
	_ = response.Body.Close() // the code is all
	if response.StatusCode != http.StatusOK {
		return false, fmt.Errorf("detour is not ready on %s yet: %s", node, response.Status)
	}
	var n struct {
		Spec struct {
			Taints []map[string]any `json:"taints"`
		} `json:"spec"`
	}
	path := "/api/v1/nodes/" + node
	if err := a.do(ctx, "GET", path, "", nil, &n); err != nil {
		return false, err
	}
	// Only this taint, and only where it was seen; with each of its effects at once, as the policy wants it.
	// The last comes first: what is removed moves those behind it.
	var patch []map[string]any
	for i, t := range slices.Backward(n.Spec.Taints) {
		if t["key"] != key {
			continue
		}
		at := fmt.Sprintf("/spec/taints/%d", i)
		patch = append(patch, map[string]any{"op": "test", "path": at, "value": t}, map[string]any{"op": "remove", "path": at})
	}
	if len(patch) == 0 {
		return false, nil
	}
	return true, a.do(ctx, "PATCH", path, "application/json-patch+json", patch, &n)
}
