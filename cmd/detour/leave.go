package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/detour-cni/detour/inspect/words"
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

Each pod then takes detour out of its node ("detour uninstall --stay"). Nodes whose kubelet does
not act are not waited for. They and those that are not reached by the deadline are named, and keep
a working entry and binary. The exit code is 0 all the same: a cluster with a broken node must be
able to go on. So it is if a DaemonSet is gone already.`,
		Example: "  detour leave-cluster --namespace detour-system detour",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, names []string) error {
			a, err := inCluster()
			if err != nil {
				return err
			}
			ctx, stop := context.WithTimeout(c.Context(), deadline)
			defer stop()
			return leaveAll(ctx, c.OutOrStdout(), a, namespace, names)
		},
	}
	c.Flags().StringVar(&namespace, "namespace", "detour-system", "the DaemonSets'")
	c.Flags().DurationVar(&deadline, "deadline", 4*time.Minute, "how long to wait for the nodes")
	return c
}

func daemonSetPath(namespace, name string) string {
	return "/apis/apps/v1/namespaces/" + namespace + "/daemonsets/" + name
}

// leaveAll turns every DaemonSet first, then waits for all of them at once: one that cannot end must not take the
// others' time.
func leaveAll(ctx context.Context, out io.Writer, a api, namespace string, names []string) error {
	var turned []string
	for _, name := range names {
		err := turn(ctx, a, namespace, name)
		switch {
		case isGone(err):
			words.Fprintf(out, "%s: gone already. What it left on the nodes goes on working; \"detour uninstall\" there takes it out.\n", name)
		case err != nil:
			return err
		default:
			turned = append(turned, name)
		}
	}
	said, errs := make([]string, len(turned)), make([]error, len(turned))
	var all sync.WaitGroup
	for i, name := range turned {
		all.Go(func() { said[i], errs[i] = waitLeft(ctx, a, namespace, name) })
	}
	all.Wait()
	_, err := io.WriteString(out, strings.Join(said, ""))
	return errors.Join(append(errs, err)...)
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

// nodePod is what matters of a DaemonSet's pod.
type nodePod struct {
	Metadata struct {
		Deleted *time.Time `json:"deletionTimestamp"` // when it was to be gone
		Owners  []struct {
			Name string `json:"name"`
		} `json:"ownerReferences"`
	} `json:"metadata"`
	Spec struct {
		Node       string `json:"nodeName"`
		Containers []struct {
			Args []string `json:"args"`
		} `json:"containers"`
	} `json:"spec"`
	Status struct {
		Conditions []struct {
			Type   string `json:"type"`
			Status string `json:"status"`
		} `json:"conditions"`
	} `json:"status"`
}

// left reports whether the pod is an uninstaller that has done its work.
func (p nodePod) left() bool {
	ready := false
	for _, c := range p.Status.Conditions {
		ready = ready || c.Type == "Ready" && c.Status == "True"
	}
	return ready && p.Metadata.Deleted == nil && len(p.Spec.Containers) > 0 && slices.Contains(p.Spec.Containers[0].Args, "uninstall")
}

// kubeletPatience is how long after its time a pod may still be there, before its kubelet counts as dead.
const kubeletPatience = 30 * time.Second

// unreached are the nodes of a DaemonSet that detour has not left, by name: those to wait for, and those
// whose kubelet does not take its pod down.
func unreached(pods []nodePod, now time.Time) (waiting, dead []string) {
	left := map[string]bool{}
	for _, p := range pods {
		left[p.Spec.Node] = left[p.Spec.Node] || p.left()
	}
	for _, p := range pods {
		node := p.Spec.Node
		switch {
		case left[node] || slices.Contains(dead, node):
		case p.Metadata.Deleted != nil && now.Sub(*p.Metadata.Deleted) > kubeletPatience:
			dead = append(dead, node)
		case !slices.Contains(waiting, node):
			waiting = append(waiting, node)
		}
	}
	waiting = slices.DeleteFunc(waiting, func(node string) bool { return slices.Contains(dead, node) })
	slices.Sort(waiting)
	slices.Sort(dead)
	return waiting, dead
}

// podsOf lists the DaemonSet's pods, 500 at a time.
func podsOf(ctx context.Context, a api, namespace, name string) (all []nodePod, err error) {
	next := ""
	for {
		var list struct {
			Metadata struct {
				Continue string `json:"continue"`
			} `json:"metadata"`
			Items []nodePod `json:"items"`
		}
		query := url.Values{"labelSelector": {"app.kubernetes.io/name=detour,app.kubernetes.io/component=node"}, "limit": {"500"}, "continue": {next}}
		if err := a.do(ctx, "GET", "/api/v1/namespaces/"+namespace+"/pods?"+query.Encode(), "", nil, &list); err != nil {
			return all, err
		}
		for _, p := range list.Items {
			if len(p.Metadata.Owners) > 0 && p.Metadata.Owners[0].Name == name {
				all = append(all, p)
			}
		}
		if next = list.Metadata.Continue; next == "" {
			return all, nil
		}
	}
}

// waitLeft waits until every pod of the DaemonSet is an uninstaller and ready, but for those of nodes whose
// kubelet is dead. What it gives is a line to say, which names whom it did not reach.
func waitLeft(ctx context.Context, a api, namespace, name string) (string, error) {
	var (
		s    daemonSet
		pods []nodePod
		last error
	)
	for {
		err := a.do(ctx, "GET", daemonSetPath(namespace, name), "", nil, &s)
		if isGone(err) {
			return name + ": was deleted meanwhile\n", nil
		}
		if err == nil && s.Status.Observed >= s.Metadata.Generation && s.Status.Updated == s.Status.Desired && s.Status.Ready == s.Status.Desired {
			return fmt.Sprintf("%s: left all %d nodes\n", name, s.Status.Desired), nil
		}
		if err == nil {
			var now []nodePod
			if now, err = podsOf(ctx, a, namespace, name); err == nil {
				pods = now
			}
		}
		if ctx.Err() == nil {
			last = err
		}
		waiting, dead := unreached(pods, time.Now())
		if over := ctx.Err() != nil; over || len(pods) > 0 && len(waiting) == 0 && len(dead) > 0 {
			return sayUnreached(name, s.Status.Desired, append(dead, waiting...), last)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// sayUnreached names the nodes; the error is why nothing could be asked.
func sayUnreached(name string, of int, nodes []string, err error) (string, error) {
	switch {
	case len(nodes) > 0:
		return fmt.Sprintf("%s: %d of %d nodes were not reached: %s. They keep a working entry and binary; \"detour uninstall\" there takes them out.\n",
			name, len(nodes), of, strings.Join(nodes, ", ")), nil
	case err != nil:
		return "", err
	}
	return name + ": its controller did not act by the deadline, and which nodes have a pod of it is not known. They keep a working entry and binary.\n", nil
}
