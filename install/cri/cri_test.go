package cri_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/detour-cni/detour/install/cri"
	"github.com/detour-cni/detour/install/cri/critest"
)

// cniConfig is what containerd prints, shortened: 2.2's has the drop-in in the chain.
const cniConfig = `{"PluginDirs":["/opt/cni/bin"],"PluginConfDir":"/etc/cni/net.d","PluginMaxConfNum":1,"Prefix":"eth","Networks":[
{"Config":{"Name":"cni-loopback","CNIVersion":"0.3.1","Plugins":[{"Network":{"type":"loopback","ipam":{},"dns":{}},"Source":"{\"type\":\"loopback\"}"}],"Source":"…"},"IFName":"lo"},
{"Config":{"Name":"cbr0","CNIVersion":"0.3.1","Plugins":[{"Network":{"type":"flannel"}},{"Network":{"type":"portmap","capabilities":{"portMappings":true}}},{"Network":{"type":"detour-cni"}}]},"IFName":"eth0"}]}`

func TestTheRuntimeIsAsked(t *testing.T) {
	r := &critest.Runtime{Name: "containerd", Release: "v2.1.4", CNIConfig: cniConfig}
	s := open(t, r)
	version, err := s.Version(t.Context())
	if err != nil || version != "containerd://v2.1.4" {
		t.Errorf("Version: %q, %v", version, err)
	}
	loaded, err := s.Loaded(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := cri.Loaded{ConfDir: "/etc/cni/net.d", BinDirs: []string{"/opt/cni/bin"}, Chains: []cri.Chain{
		{Network: "cni-loopback", Plugins: []string{"loopback"}},
		{Network: "cbr0", Plugins: []string{"flannel", "portmap", "detour-cni"}},
	}}
	if d := cmp.Diff(want, loaded); d != "" {
		t.Errorf("Loaded (-want +got):\n%s", d)
	}
}

func TestWhatARuntimeKeepsToItself(t *testing.T) {
	s := open(t, &critest.Runtime{Name: "cri-o", Release: "1.33.0"})
	if _, err := s.Loaded(t.Context()); !errors.Is(err, cri.ErrNotTold) {
		t.Errorf("Loaded: %v, want ErrNotTold", err)
	}
	s = open(t, &critest.Runtime{CNIConfig: "["})
	if _, err := s.Loaded(t.Context()); err == nil || !strings.Contains(err.Error(), "info.cniconfig") {
		t.Errorf("Loaded: %v, want an error that names info.cniconfig", err)
	}
}

func TestPodsAreFoundByTheRuntime(t *testing.T) {
	const byPath, byPid = `{"pid":7,"runtimeSpec":{"linux":{"namespaces":[{"type":"pid"},{"type":"network","path":"/run/netns/cni-1"}]}}}`, `{"pid":7}`
	s := open(t, &critest.Runtime{Pods: []critest.Pod{
		{ID: "aaa1", Namespace: "shop", Name: "cart", Info: byPath, Annotations: map[string]string{"a": "b"}},
		{ID: "bbb1", Namespace: "shop", Name: "db", Info: byPid},
		{ID: "ccc1", Namespace: "kube-system", Name: "proxy", HostNetwork: true},
		{ID: "ddd1", Namespace: "shop", Name: "odd", Info: `{}`},
	}})
	all, err := s.Sandboxes(t.Context())
	if err != nil || len(all) != 4 || all[0].Annotations["a"] != "b" {
		t.Fatalf("Sandboxes: %v, %v", all, err)
	}
	for _, tc := range []struct{ id, want, err string }{
		{id: "aaa1", want: "/run/netns/cni-1"},
		{id: "bbb1", want: "/proc/7/ns/net"},
		{id: "ccc1", want: ""},
		{id: "ddd1", err: "sandbox ddd1: neither a network namespace nor a pid is told"},
		{id: "eee1", err: "no such sandbox"},
	} {
		got, err := s.Netns(t.Context(), tc.id)
		if got != tc.want || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("Netns(%s): %q, %v, want %q, %q", tc.id, got, err, tc.want, tc.err)
		}
	}
	for id, want := range map[string]string{"aaa": "cart", "cbbb1": "db", "f00": ""} {
		found, err := s.SandboxOf(t.Context(), id)
		if err != nil || (len(found) == 1) != (want != "") || len(found) == 1 && found[0].Name != want {
			t.Errorf("SandboxOf(%s): %v, %v, want %q", id, found, err, want)
		}
	}
}

// A runtime that restarts is found again by the same Socket; while it is away the error names it.
func TestARuntimeThatRestarts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cri.sock")
	s := cri.Socket(path)
	for range 3 {
		if _, err := s.Version(t.Context()); err == nil || err.Error() != "CRI socket "+path+": connect: no such file or directory" {
			t.Fatalf("Version of nobody: %v, want one that names %s and the cause", err, path)
		}
		stop, err := (&critest.Runtime{Name: "containerd", Release: "2.2.0"}).Serve(path)
		if err != nil {
			t.Fatal(err)
		}
		if version, err := s.Version(t.Context()); err != nil || version != "containerd://2.2.0" {
			t.Fatalf("Version: %q, %v", version, err)
		}
		stop()
	}
}

func open(t *testing.T, r *critest.Runtime) cri.Socket {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cri.sock")
	stop, err := r.Serve(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return cri.Socket(path)
}
