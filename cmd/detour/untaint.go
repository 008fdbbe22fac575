package main

import (
	"context"
	"errors"
	"fmt"
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
chain has detour. It looks every two seconds while the taint is there, and then once a minute.`,
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
			for {
				pause := time.Minute
				if done, err := untaint(c.Context(), a, node, key, ready); err != nil {
					words.Fprintf(c.ErrOrStderr(), "untaint: %v\n", err)
					pause = 2 * time.Second
				} else if done {
					words.Fprintf(c.ErrOrStderr(), "untaint: took %s off %s\n", key, node)
				}
				select {
				case <-c.Context().Done():
					return nil
				case <-time.After(pause):
				}
			}
		},
	}
	c.Flags().StringVar(&node, "node", "", "name of this node")
	c.Flags().StringVar(&key, "key", "startup-taint.cluster-autoscaler.kubernetes.io/detour", "the taint's key")
	c.Flags().StringVar(&ready, "ready", "http://127.0.0.1:9464/readyz", "where detour says that it is ready on this node")
	return c
}

// untaint looks once. The error says what keeps the taint there.
func untaint(ctx context.Context, a api, node, key, ready string) (done bool, err error) {
	var n struct {
		Spec struct {
			Taints []map[string]any `json:"taints"`
		} `json:"spec"`
	}
	path := "/api/v1/nodes/" + node
	if err := a.do(ctx, "GET", path, "", nil, &n); err != nil {
		return false, err
	}
	i := slices.IndexFunc(n.Spec.Taints, func(t map[string]any) bool { return t["key"] == key })
	if i < 0 {
		return false, nil
	}
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
	// Only this taint, and only if it is still where it was seen.
	at := fmt.Sprintf("/spec/taints/%d", i)
	patch := []map[string]any{
		{"op": "test", "path": at, "value": n.Spec.Taints[i]},
		{"op": "remove", "path": at},
	}
	return true, a.do(ctx, "PATCH", path, "application/json-patch+json", patch, &n)
}
