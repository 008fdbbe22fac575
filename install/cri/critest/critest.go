// Package critest answers on a unix socket as a container runtime does, with what a test tells
// it to: real gRPC, no runtime. The runtimes themselves are asked in e2e.
package critest

import (
	"context"
	"errors"
	"net"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// A Runtime is what is answered.
type Runtime struct {
	Name, Release string
	// CNIConfig is Status' info.cniconfig; "" for a runtime that does not tell.
	CNIConfig string
	Pods      []Pod

	runtime.UnimplementedRuntimeServiceServer
}

// A Pod is a sandbox with one container, whose id is the sandbox's with a "c" before it.
type Pod struct {
	ID, Namespace, Name string
	Annotations         map[string]string
	// Info is the verbose answer; HostNetwork a pod in the node's own network.
	Info        string
	HostNetwork bool
}

// Serve answers at socket until stop is called.
func (r *Runtime) Serve(socket string) (stop func(), err error) {
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	s := grpc.NewServer()
	runtime.RegisterRuntimeServiceServer(s, r)
	go s.Serve(l) //nolint:errcheck // it ends by stop
	return s.Stop, nil
}

// Version implements the service.
func (r *Runtime) Version(context.Context, *runtime.VersionRequest) (*runtime.VersionResponse, error) {
	if r.Name == "" { // as Docker's containerd, which has the socket and no CRI
		return nil, status.Error(codes.Unimplemented, "unknown service runtime.v1.RuntimeService")
	}
	return &runtime.VersionResponse{RuntimeName: r.Name, RuntimeVersion: r.Release, RuntimeApiVersion: "v1"}, nil
}

// Status answers with CNIConfig where it is asked for all.
func (r *Runtime) Status(_ context.Context, q *runtime.StatusRequest) (*runtime.StatusResponse, error) {
	a := &runtime.StatusResponse{Status: &runtime.RuntimeStatus{}}
	if q.Verbose && r.CNIConfig != "" {
		a.Info = map[string]string{"cniconfig": r.CNIConfig}
	}
	return a, nil
}

// ListPodSandbox gives the pods, or those whose id begins as asked.
func (r *Runtime) ListPodSandbox(_ context.Context, q *runtime.ListPodSandboxRequest) (*runtime.ListPodSandboxResponse, error) {
	a := &runtime.ListPodSandboxResponse{}
	for _, p := range r.Pods {
		if strings.HasPrefix(p.ID, q.GetFilter().GetId()) {
			a.Items = append(a.Items, &runtime.PodSandbox{Id: p.ID, Annotations: p.Annotations,
				Metadata: &runtime.PodSandboxMetadata{Namespace: p.Namespace, Name: p.Name}})
		}
	}
	return a, nil
}

// ListContainers gives each pod's container, or those whose id begins as asked.
func (r *Runtime) ListContainers(_ context.Context, q *runtime.ListContainersRequest) (*runtime.ListContainersResponse, error) {
	a := &runtime.ListContainersResponse{}
	for _, p := range r.Pods {
		if strings.HasPrefix("c"+p.ID, q.GetFilter().GetId()) {
			a.Containers = append(a.Containers, &runtime.Container{Id: "c" + p.ID, PodSandboxId: p.ID})
		}
	}
	return a, nil
}

// PodSandboxStatus gives a pod's Info.
func (r *Runtime) PodSandboxStatus(_ context.Context, q *runtime.PodSandboxStatusRequest) (*runtime.PodSandboxStatusResponse, error) {
	for _, p := range r.Pods {
		if p.ID != q.PodSandboxId {
			continue
		}
		options := &runtime.NamespaceOption{}
		if p.HostNetwork {
			options.Network = runtime.NamespaceMode_NODE
		}
		return &runtime.PodSandboxStatusResponse{Info: map[string]string{"info": p.Info},
			Status: &runtime.PodSandboxStatus{Linux: &runtime.LinuxPodSandboxStatus{Namespaces: &runtime.Namespace{Options: options}}}}, nil
	}
	return nil, errors.New("no such sandbox")
}
