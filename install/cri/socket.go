package cri

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// patience bounds one question. A runtime that is well answers within milliseconds; the
// kubelet's own limit is two minutes, which nobody here can wait for.
const patience = 2 * time.Second

// maxAnswer is the kubelet's own limit of a message, in bytes: 16 MiB. grpc's is 4 MiB, which
// the sandboxes of a large node can exceed.
const maxAnswer = 16 << 20

// A Socket is the path where a runtime answers. Each question has a connection of its own: one that is
// kept would have to be mended after each restart of the runtime, and gRPC waits before it does.
type Socket string

// ask asks one thing of the runtime, and names the socket in its error.
func ask[Q, A any](ctx context.Context, s Socket, what func(runtime.RuntimeServiceClient, context.Context, Q, ...grpc.CallOption) (A, error), question Q) (answer A, err error) {
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	conn, err := grpc.NewClient("unix:"+string(s),
		grpc.WithTransportCredentials(insecure.NewCredentials()), // the file's mode guards it
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)))
	if err != nil {
		return answer, fmt.Errorf("CRI socket %s: %w", s, err)
	}
	defer conn.Close()
	answer, err = what(runtime.NewRuntimeServiceClient(conn), ctx, question)
	if err != nil {
		return answer, fmt.Errorf("CRI socket %s: %w", s, plain(err))
	}
	return answer, nil
}

// plain takes gRPC's words off an error, and leaves what the kernel or the runtime said.
func plain(err error) error {
	text := status.Convert(err).Message()
	if _, dial, ok := strings.Cut(text, "dial unix "); ok {
		_, text, _ = strings.Cut(strings.TrimSuffix(dial, `"`), ": ")
	}
	return errors.New(text)
}

// Version gives the runtime as the kubelet writes it into status.nodeInfo.containerRuntimeVersion:
// containerd://2.1.4.
func (s Socket) Version(ctx context.Context) (string, error) {
	v, err := ask(ctx, s, runtime.RuntimeServiceClient.Version, &runtime.VersionRequest{})
	if err != nil {
		return "", err
	}
	return v.RuntimeName + "://" + v.RuntimeVersion, nil
}

// Loaded is what a runtime has in memory of its CNI configuration.
type Loaded struct {
	// ConfDir and BinDirs are where it looks.
	ConfDir string
	BinDirs []string
	Chains  []Chain
}

// A Chain is a network that the runtime has in memory.
type Chain struct {
	Network string
	Plugins []string // their types, drop-ins included
}

// ErrNotTold says that this runtime does not tell what it has loaded.
var ErrNotTold = errors.New("it does not tell which chain it has loaded (containerd does)")

// Loaded asks for the chain in memory: Status(verbose), info.cniconfig. It is ErrNotTold where
// the runtime keeps that to itself.
func (s Socket) Loaded(ctx context.Context) (Loaded, error) {
	answer, err := ask(ctx, s, runtime.RuntimeServiceClient.Status, &runtime.StatusRequest{Verbose: true})
	if err != nil {
		return Loaded{}, err
	}
	text, told := answer.Info["cniconfig"]
	if !told {
		return Loaded{}, fmt.Errorf("CRI socket %s: %w", s, ErrNotTold)
	}
	loaded, err := parseLoaded([]byte(text))
	if err != nil {
		return Loaded{}, fmt.Errorf("CRI socket %s: info.cniconfig: %w", s, err)
	}
	return loaded, nil
}

// parseLoaded reads go-cni's ConfigResult as containerd 1.6 and 2 print it.
func parseLoaded(text []byte) (Loaded, error) {
	var raw struct {
		PluginDirs    []string
		PluginConfDir string
		Networks      []struct {
			Config struct {
				Name    string
				Plugins []struct {
					Network struct {
						Type string `json:"type"`
					}
				}
			}
		}
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		return Loaded{}, err
	}
	loaded := Loaded{ConfDir: raw.PluginConfDir, BinDirs: raw.PluginDirs}
	for _, n := range raw.Networks {
		var types []string
		for _, p := range n.Config.Plugins {
			types = append(types, p.Network.Type)
		}
		loaded.Chains = append(loaded.Chains, Chain{n.Config.Name, types})
	}
	return loaded, nil
}
