package proxies

import (
	"encoding/json"
	"errors"
	"net/netip"
	"syscall"
	"testing"

	"github.com/containernetworking/cni/pkg/skel"

	"github.com/detour-cni/detour/plugin"
	"github.com/detour-cni/detour/plugin/mesh"
	"github.com/detour-cni/detour/redirect/redirecttest"
)

// injected is what Istio's injector writes on every pod.
const injected = `{"initContainers":["istio-validation"],"containers":["istio-proxy"],"revision":"default"}`

// sidecars are the proxies in their roles.
func sidecars() []setup {
	istio := map[string]string{"sidecar.istio.io/status": injected}
	tproxy := map[string]string{"sidecar.istio.io/status": injected, "sidecar.istio.io/interceptionMode": "TPROXY"}
	linkerd := map[string]string{"linkerd.io/proxy-version": "edge-26.8.1"}
	envoy := role{owner: redirecttest.Owner{UID: 1337, GID: 1337}, outbound: 15001, inbound: 15006, source4: "127.0.0.6", source6: "::6"}
	transparent, root := envoy, envoy
	transparent.tproxy, root.tproxy = true, true
	root.owner.UID = 0 // as Istio runs its proxy for TPROXY: known by its gid alone
	both, only4 := []string{"IPv4", "IPv6"}, []string{"IPv4"}
	passthrough := map[string]string{"IPv4": "127.0.0.6", "IPv6": "::6"}
	client := map[string]string{"IPv4": "10.9.0.1", "IPv6": "fd09::1"}
	pod := map[string]string{"IPv4": "10.9.0.2", "IPv6": "fd09::2"}
	return []setup{
		{"sing-box/istio/redirect", singBox, istio, envoy, both, both, passthrough},
		{"sing-box/istio/tproxy", singBox, tproxy, transparent, both, both, passthrough},
		{"sing-box/linkerd/redirect", singBox, linkerd, role{owner: redirecttest.Owner{UID: 2102, GID: 2102}, outbound: 4140, inbound: 4143}, both, both, pod},
		{"haproxy/istio/redirect", haproxy, istio, envoy, only4, only4, passthrough},
		{"haproxy/istio/tproxy", haproxy, tproxy, root, only4, both, client},
	}
}

// setup is one pod: whose it is, and what runs in it.
type setup struct {
	name              string
	software          func() software
	annotations       map[string]string
	role              role
	outbound, inbound []string          // the families that this proxy can do
	appSees           map[string]string // whom the app sees calling, through the proxy
}

// TestRealProxiesCarryCalls runs real proxies as the sidecars of annotated pods: each
// takes the calls of its pod, both ways, knows where they were going, and gets its own
// calls out. Without the redirect nobody comes by, and without the proxy nobody passes.
func TestRealProxiesCarryCalls(t *testing.T) {
	redirecttest.NeedsKernel(t)
	for _, backend := range []string{"nftables", "iptables-nft"} {
		for _, s := range sidecars() {
			t.Run(s.name+"/"+backend, func(t *testing.T) {
				t.Parallel()
				s.run(t, backend)
			})
		}
	}
}

func (s setup) run(t *testing.T, backend string) {
	pod := redirecttest.NewPod(t)
	serve(t, pod.Peer, redirecttest.Owner{}, "service", 80)
	serve(t, pod.NetNS, app, "app", 8080)
	for _, family := range s.inbound { // that the redirect is what does it
		direct(t, pod.NetNS, app, serviceAt[family], "service")
		direct(t, pod.Peer, app, podAt[family], "app")
	}
	s.add(t, pod, backend)
	proxy := s.software().start(t, pod.NetNS, s.role)
	for _, family := range s.outbound {
		t.Run("outbound "+family, func(t *testing.T) {
			to := serviceAt[family]
			a := mustCall(t, pod.NetNS, app, to)
			if a.by != "service" || a.dest != to || a.caller.Addr() != a.local.Addr() || a.caller == a.local {
				t.Fatalf("%v: want the service, called at %v by the proxy in the pod", a, to)
			}
			proxy.took(t, seen{"outbound", a.local, to})
			direct(t, pod.NetNS, s.role.owner, to, "service")
		})
	}
	for _, family := range s.inbound {
		t.Run("inbound "+family, func(t *testing.T) {
			to := podAt[family]
			a := mustCall(t, pod.Peer, app, to)
			// With usesrc clientip the address is the client's, the port is still HAProxy's.
			if a.by != "app" || a.dest != to || a.caller.Addr() != netip.MustParseAddr(s.appSees[family]) || a.caller == a.local {
				t.Fatalf("%v: want the app, called at %v from %s by the proxy", a, to, s.appSees[family])
			}
			proxy.took(t, seen{"inbound", a.local, to})
		})
	}
	proxy.stop()
	for _, family := range s.outbound {
		if a, err := call(pod.NetNS, app, serviceAt[family]); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("without a proxy: %v, %v: want the app's call refused", a, err)
		}
	}
}

// direct makes a call that nobody is to come in between of: the server sees the
// caller's very own port.
func direct(t *testing.T, n *redirecttest.NetNS, o redirecttest.Owner, to netip.AddrPort, by string) {
	t.Helper()
	if a := mustCall(t, n, o, to); a.by != by || a.caller != a.local || a.dest != to {
		t.Errorf("call %v as %d:%d: %v: want %s, called directly", to, o.UID, o.GID, a, by)
	}
}

// add puts the redirect in as a runtime would: all that it says is the pod's annotations.
func (s setup) add(t *testing.T, pod *redirecttest.Pod, backend string) {
	t.Helper()
	stdin, err := json.Marshal(map[string]any{
		"cniVersion": "1.0.0", "name": "pods", "type": "detour-cni",
		"detour":        map[string]any{"pods": "meshed", "backend": backend},
		"runtimeConfig": map[string]any{plugin.AnnotationsCapability: s.annotations},
		"prevResult":    map[string]any{"cniVersion": "1.0.0"},
	})
	if err != nil {
		t.Fatal(err)
	}
	args := &skel.CmdArgs{
		ContainerID: "proxies", Netns: pod.Path, IfName: "eth0", StdinData: stdin,
		Args: "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=cart",
	}
	if o, err := plugin.Add(args, mesh.All()); err != nil || !o.Decision.Redirect {
		t.Fatalf("ADD: %+v, %v: want a redirect", o.Decision, err)
	}
}
