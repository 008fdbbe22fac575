package cri

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// A Sandbox is a pod that runs, as the runtime knows it.
type Sandbox struct {
	ID, Namespace, Name, UID string
	Annotations              map[string]string
}

// Sandboxes gives the pods that run on the node.
func (s Socket) Sandboxes(ctx context.Context) ([]Sandbox, error) {
	return s.sandboxes(ctx, &runtime.PodSandboxFilter{State: &runtime.PodSandboxStateValue{State: runtime.PodSandboxState_SANDBOX_READY}})
}

// SandboxOf gives the pod that a container, or a sandbox, belongs to; none for an id that the
// runtime does not know. An id may be shortened, as crictl prints it.
func (s Socket) SandboxOf(ctx context.Context, id string) ([]Sandbox, error) {
	answer, err := ask(ctx, s, runtime.RuntimeServiceClient.ListContainers, &runtime.ListContainersRequest{Filter: &runtime.ContainerFilter{Id: id}})
	if err != nil {
		return nil, err
	}
	if len(answer.Containers) == 1 {
		id = answer.Containers[0].PodSandboxId
	}
	return s.sandboxes(ctx, &runtime.PodSandboxFilter{Id: id})
}

func (s Socket) sandboxes(ctx context.Context, filter *runtime.PodSandboxFilter) ([]Sandbox, error) {
	answer, err := ask(ctx, s, runtime.RuntimeServiceClient.ListPodSandbox, &runtime.ListPodSandboxRequest{Filter: filter})
	if err != nil {
		return nil, err
	}
	var all []Sandbox
	for _, p := range answer.Items {
		m := p.GetMetadata()
		all = append(all, Sandbox{ID: p.Id, Namespace: m.GetNamespace(), Name: m.GetName(), UID: m.GetUid(), Annotations: p.Annotations})
	}
	return all, nil
}

// Netns gives the path of a sandbox's network namespace; "" for a pod in the node's own.
func (s Socket) Netns(ctx context.Context, id string) (string, error) {
	answer, err := ask(ctx, s, runtime.RuntimeServiceClient.PodSandboxStatus, &runtime.PodSandboxStatusRequest{PodSandboxId: id, Verbose: true})
	if err != nil {
		return "", err
	}
	if answer.GetStatus().GetLinux().GetNamespaces().GetOptions().GetNetwork() == runtime.NamespaceMode_NODE {
		return "", nil
	}
	netns, err := parseNetns([]byte(answer.Info["info"]))
	if err != nil {
		return "", fmt.Errorf("CRI socket %s: sandbox %s: %w", s, id, err)
	}
	return netns, nil
}

// parseNetns reads what containerd and CRI-O both tell of a sandbox: its runtime-spec, whose
// network namespace has a path, and the pid of its first process, where there is one.
func parseNetns(info []byte) (string, error) {
	var raw struct {
		Pid         int `json:"pid"`
		RuntimeSpec struct {
			Linux struct {
				Namespaces []struct {
					Type string `json:"type"`
					Path string `json:"path"`
				} `json:"namespaces"`
			} `json:"linux"`
		} `json:"runtimeSpec"`
	}
	if err := json.Unmarshal(info, &raw); err != nil {
		return "", err
	}
	for _, n := range raw.RuntimeSpec.Linux.Namespaces {
		if n.Type == "network" && n.Path != "" {
			return n.Path, nil
		}
	}
	if raw.Pid > 0 {
		return fmt.Sprintf("/proc/%d/ns/net", raw.Pid), nil
	}
	return "", errors.New("neither a network namespace nor a pid is told")
}
