package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
)

// daemonSet is what matters of one.
type daemonSet struct {
	Metadata struct {
		Generation int64 `json:"generation"`
	} `json:"metadata"`
	Status struct {
		Observed int64 `json:"observedGeneration"`
		Desired  int   `json:"desiredNumberScheduled"`
		Updated  int   `json:"updatedNumberScheduled"`
		Ready    int   `json:"numberReady"`
	} `json:"status"`
}

func leaveCommand() *cobra.Command {
	var (
		namespace string
		deadline  time.Duration
	)
	c := &cobra.Command{
		Use:   "leave-cluster DAEMONSET...",
		Short: "Turn the DaemonSets into uninstallers, and wait for the nodes (the chart's pre-delete hook)",
		Long: `Turn the DaemonSets into uninstallers, and wait for the nodes.

Each pod then takes detour out of its node ("detour uninstall --stay"). Nodes that are not
reached by the deadline keep a working entry and binary. The exit code is 0 all the same:
a cluster with a broken node must be able to go on.`,
		Example: "  detour leave-cluster --namespace detour-system detour",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, names []string) error {
			a, err := inCluster()
			if err != nil {
				return err
			}
			ctx, stop := context.WithTimeout(c.Context(), deadline)
			defer stop()
			for _, name := range names {
				if err := turn(ctx, a, namespace, name); err != nil {
					return err
				}
			}
			for _, name := range names {
				if err := waitLeft(ctx, c.OutOrStdout(), a, namespace, name); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().StringVar(&namespace, "namespace", "detour-system", "the DaemonSets'")
	c.Flags().DurationVar(&deadline, "deadline", 5*time.Minute, "how long to wait for the nodes")
	return c
}

func daemonSetPath(namespace, name string) string {
	return "/apis/apps/v1/namespaces/" + namespace + "/daemonsets/" + name
}

// turn makes the DaemonSet's pods uninstall, all nodes at once.
func turn(ctx context.Context, a api, namespace, name string) error {
	patch := map[string]any{"spec": map[string]any{
		"updateStrategy": map[string]any{"type": "RollingUpdate", "rollingUpdate": map[string]any{"maxSurge": 0, "maxUnavailable": "100%"}},
		"template": map[string]any{"spec": map[string]any{"containers": []any{
			map[string]any{"name": "detour", "args": []string{"uninstall", "--stay"}},
		}}},
	}}
	var ds daemonSet
	return a.do(ctx, "PATCH", daemonSetPath(namespace, name), "application/strategic-merge-patch+json", patch, &ds)
}

// waitLeft waits until every pod of the DaemonSet is an uninstaller and ready. At the deadline
// it says how many are not, and how to see which.
func waitLeft(ctx context.Context, out io.Writer, a api, namespace, name string) error {
	var s daemonSet
	for {
		err := a.do(ctx, "GET", daemonSetPath(namespace, name), "", nil, &s)
		if err == nil && s.Status.Observed >= s.Metadata.Generation && s.Status.Updated == s.Status.Desired && s.Status.Ready == s.Status.Desired {
			fmt.Fprintf(out, "%s: left all %d nodes\n", name, s.Status.Desired)
			return nil
		}
		select {
		case <-ctx.Done():
			fmt.Fprintf(out, "%s: %d of %d nodes were not reached; they keep a working entry and binary, and \"detour uninstall\" there takes them out. Which: kubectl -n %s get pods -o wide -l app.kubernetes.io/name=detour\n",
				name, s.Status.Desired-min(s.Status.Ready, s.Status.Updated), s.Status.Desired, namespace)
			if s.Status.Desired == 0 {
				return err
			}
			return nil
		case <-time.After(time.Second):
		}
	}
}
