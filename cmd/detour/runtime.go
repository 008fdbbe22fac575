package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/detour-cni/detour/install/cri"
	"github.com/detour-cni/detour/plugin"
)

// Instead of a socket's path: criAuto asks the runtime wherever one answers, criNone does not ask it.
const (
	criAuto = "auto"
	criNone = "none"
)

// runtimeSockets are where nodes have them: containerd, CRI-O, k3s and RKE2, MicroK8s, k0s, cri-dockerd.
func runtimeSockets() []string {
	return []string{
		"/run/containerd/containerd.sock", "/run/crio/crio.sock", "/run/k3s/containerd/containerd.sock",
		"/var/snap/microk8s/common/run/containerd.sock", "/run/k0s/containerd.sock", "/run/cri-dockerd.sock",
	}
}

func criSocketFlag(c *cobra.Command, socket *string) {
	c.Flags().StringVar(socket, "cri-socket", criAuto, `the runtime's CRI socket, for what is not in --cache: a path, auto or none`)
}

// checkSocket says why a value of --cri-socket cannot be used.
func checkSocket(path string) error {
	if path == criAuto || path == criNone || filepath.IsAbs(path) {
		return nil
	}
	return exit{exitUsage, fmt.Errorf("--cri-socket: %q (want a path such as %s, auto or none)", path, runtimeSockets()[0])}
}

// runtimeSocket is what a checked --cri-socket means: "" for none, and where auto finds none.
func runtimeSocket(path string) cri.Socket {
	switch path {
	case criNone:
		return ""
	case criAuto:
		for _, known := range runtimeSockets() {
			if _, err := os.Stat(known); err != nil {
				continue
			}
			// Docker's containerd has the socket and does not speak CRI.
			if _, err := cri.Socket(known).Version(context.Background()); err == nil {
				return cri.Socket(known)
			}
		}
		return ""
	}
	return cri.Socket(path)
}

// asked asks the runtime for a pod; without one it is a target without a namespace.
func (f finder) asked(ctx context.Context, name string) (target, error) {
	socket := f.cri()
	if socket == "" {
		return target{}, nil
	}
	all, err := socket.Sandboxes(ctx)
	if err != nil {
		return target{}, fmt.Errorf("not in the CNI result cache of this node, and %w", err)
	}
	for _, s := range all {
		if s.Namespace+"/"+s.Name == name {
			return f.sandbox(ctx, s)
		}
	}
	return target{}, nil
}

// askedContainer asks the runtime whose container that is. One that does not answer is no error:
// the cgroups may know.
func (f finder) askedContainer(ctx context.Context, id string) (target, error) {
	socket := f.cri()
	if socket == "" {
		return target{}, nil
	}
	all, err := socket.SandboxOf(ctx, id)
	if err != nil || len(all) != 1 {
		return target{}, nil //nolint:nilerr // see above
	}
	return f.sandbox(ctx, all[0])
}

// askedAll asks the runtime for the pods that have no name in known, and are not in the node's own network.
func (f finder) askedAll(ctx context.Context, known map[string]bool) ([]target, error) {
	socket := f.cri()
	if socket == "" {
		return nil, nil
	}
	all, err := socket.Sandboxes(ctx)
	if err != nil {
		return nil, err
	}
	var targets []target
	for _, s := range all {
		if known[s.Namespace+"/"+s.Name] {
			continue
		}
		netns, err := f.cri().Netns(ctx, s.ID)
		if err != nil {
			return targets, err
		}
		if netns != "" {
			targets = append(targets, f.told(s, netns))
		}
	}
	return targets, nil
}

func (f finder) sandbox(ctx context.Context, s cri.Sandbox) (target, error) {
	netns, err := f.cri().Netns(ctx, s.ID)
	if err == nil && netns == "" {
		err = errors.New("in the node's own network (hostNetwork): detour redirects nothing there")
	}
	return f.told(s, netns), err
}

// told is a target as the runtime told it, with the annotations that it would hand over.
func (f finder) told(s cri.Sandbox, netns string) target {
	pod := plugin.Pod{Ref: plugin.PodRef{Namespace: s.Namespace, Name: s.Name, UID: s.UID}, Annotations: s.Annotations, Handed: true}
	return target{pod.Ref.String(), netns, fmt.Sprintf("by the runtime (%s), as sandbox %.13s", f.cri(), s.ID), &pod}
}
