package node

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A Flavour is a container runtime of the two that matter: one that reads no drop-ins and
// one that does.
type Flavour struct {
	Name string
	// Version is what the kubelet says in status.nodeInfo, without the scheme.
	Version string
	bin     string // folder with containerd, its shim, ctr and runc
}

// Flavours are both, with their parts in a folder.
func Flavours(parts string) []Flavour {
	return []Flavour{
		{Name: "containerd-1.6", Version: "1.6.20", bin: filepath.Join(parts, "debian")},
		{Name: "containerd-2", Version: "2.4.2", bin: filepath.Join(parts, "bin")},
	}
}

const (
	// Socket is the runtime's.
	Socket = "/run/containerd/containerd.sock"
	// PauseImage is the sandbox' image. It is never pulled.
	PauseImage = "detour.test/box:1"
)

// Directories of the runtime, the defaults of everybody.
const (
	ConfDir = "/etc/cni/net.d"
	BinDir  = "/opt/cni/bin"
	Cache   = "/var/lib/cni/results"
)

// Apart is a RuntimeClass' handler with a conf dir of its own, where detour is not.
const (
	Apart        = "apart"
	ApartConfDir = "/etc/cni/apart.d"
)

func startContainerd(ctx context.Context, f Flavour) (*Process, error) {
	config := fmt.Sprintf(`version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = %q
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = %q
    conf_dir = %q
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.%s]
    runtime_type = "io.containerd.runc.v2"
    cni_conf_dir = %q
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.%[5]s.options]
      SystemdCgroup = false
`, Socket, PauseImage, BinDir, ConfDir, Apart, ApartConfDir)
	if err := os.MkdirAll("/etc/containerd", 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile("/etc/containerd/detour-e2e.toml", []byte(config), 0o644); err != nil {
		return nil, err
	}
	path := "PATH=" + f.bin + ":" + os.Getenv("PATH")
	p, err := start("containerd", filepath.Join(f.bin, "containerd"), []string{path}, "--config", "/etc/containerd/detour-e2e.toml", "--log-level", "info")
	if err != nil {
		return nil, err
	}
	return p, await(ctx, "containerd", p, func() error { return (&Node{Flavour: f}).RuntimeReady() })
}

// RuntimeReady is nil when the runtime answers.
func (n *Node) RuntimeReady() error {
	out, err := ctr(n.Flavour, "version").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func ctr(f Flavour, args ...string) *exec.Cmd {
	return exec.Command(filepath.Join(f.bin, "ctr"), append([]string{"--address", Socket, "--namespace", "k8s.io"}, args...)...)
}

// Mount puts what an image holds at a directory, until the function that it gives is called.
func (n *Node) Mount(image, dir string) (unmount func() error, err error) {
	if out, err := ctr(n.Flavour, "images", "mount", image, dir).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("mount %s: %w: %s", image, err, out)
	}
	return func() error {
		out, err := ctr(n.Flavour, "images", "unmount", "--rm", dir).CombinedOutput()
		if err != nil {
			return fmt.Errorf("unmount %s: %w: %s", dir, err, out)
		}
		return nil
	}, nil
}

// Import gives the runtime an image from a docker archive.
func (n *Node) Import(archive string) error {
	out, err := ctr(n.Flavour, "images", "import", archive).CombinedOutput()
	if err != nil {
		return fmt.Errorf("import %s: %w: %s", archive, err, out)
	}
	return nil
}

// Netns gives the network namespace of a pod's sandbox with an address, from the runtime's
// result cache: a pod whose sandbox is made anew has two there for a moment. Without an
// address it is any of them.
func Netns(namespace, pod, ip string) (string, error) {
	files, err := filepath.Glob(Cache + "/*-eth0")
	if err != nil {
		return "", err
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue // gone meanwhile
		}
		if s := string(text); strings.Contains(s, `["K8S_POD_NAMESPACE","`+namespace+`"]`) && strings.Contains(s, `["K8S_POD_NAME","`+pod+`"]`) && (ip == "" || strings.Contains(s, `"`+ip+`/`)) {
			_, rest, found := strings.Cut(s, `"netns":"`)
			if !found { // the libcni of containerd 1.6 keeps it in the result only
				_, rest, _ = strings.Cut(s, `"sandbox":"`)
			}
			netns, _, _ := strings.Cut(rest, `"`)
			return netns, nil
		}
	}
	return "", fmt.Errorf("pod %s/%s: not in %s", namespace, pod, Cache)
}
