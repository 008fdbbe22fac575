package main

import (
	"strings"

	"github.com/detour-cni/detour/demo/proxy"
)

// linkerdUID is the user that Linkerd's proxy runs as.
const linkerdUID = 2102

// meshes are the pods of the second act: one of Istio, one of Linkerd, one of nobody.
type meshes struct {
	*screen
	*node
	istio, linkerd, plain *pod
}

func actTwo(s *screen, n *node) error {
	m := &meshes{screen: s, node: n}
	for _, step := range []func() error{m.start, m.across, m.users, m.loopback, m.end} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (m *meshes) start() error {
	m.step("Second act: two meshes and a bystander on one node, with one configuration")
	m.say(`The configuration only says "pods": "meshed". Which pod is whose, detour-cni reads from what the ` +
		"mesh's own injector has written on the pod; the runtime hands that over with ADD.")
	if err := writeNetwork("meshed", map[string]any{"pods": "meshed", "backend": "nftables"}); err != nil {
		return err
	}
	for _, p := range []struct {
		into        **pod
		name        string
		annotations map[string]string
		uid         uint32
		out, in     int
		sources     string
	}{
		{&m.istio, "checkout", map[string]string{
			"sidecar.istio.io/status": `{"initContainers":["istio-validation"],"containers":["istio-proxy"],"revision":"default"}`,
		}, proxyUID, 15001, 15006, "127.0.0.6,::6"},
		{&m.linkerd, "stock", map[string]string{
			"linkerd.io/proxy-version": "edge-26.8.1",
		}, linkerdUID, 4140, 4143, ""},
		{&m.plain, "batch", map[string]string{}, 0, 0, 0, ""},
	} {
		made, err := m.startPod(p.name, p.annotations)
		if err != nil {
			return err
		}
		*p.into = made
		if p.uid == 0 {
			continue
		}
		m.saw("its proxy", "is user %d, takes outgoing calls on %d and incoming ones on %d", p.uid, p.out, p.in)
		if err := m.startProxy(made, p.uid, p.out, p.in, p.sources); err != nil {
			return err
		}
	}
	return nil
}

// startPod adds a pod and says what became of it.
func (m *meshes) startPod(name string, annotations map[string]string) (*pod, error) {
	p, err := newPod(name, "meshed")
	if err != nil {
		return nil, err
	}
	p.annotations = annotations
	m.ran("cnitool add meshed " + p.netns)
	added, err := add(p)
	if err != nil {
		return nil, err
	}
	for key := range annotations {
		m.saw(name, "carries %s", key)
	}
	m.saw("detour-cni", "%s", added.field("why"))
	if len(annotations) > 0 {
		m.check(added.field("rules") == "installed", name+" got its redirect", added.log)
		return p, m.startApp(p)
	}
	left, err := nft(p.netns, "list", "ruleset")
	if err != nil {
		return nil, err
	}
	m.check(left == "", name+" carries nothing of a mesh, and got no rule", left)
	return p, m.startApp(p)
}

// across calls from the one mesh to the other, and back.
func (m *meshes) across() error {
	m.step("One call through both: from the app in the one mesh to the app in the other, and back")
	for _, c := range []struct {
		from, to             *pod
		family               string
		fromProxy, intoProxy string
	}{
		{m.istio, m.linkerd, "v4", "Istio's proxy", "Linkerd's proxy"},
		{m.linkerd, m.istio, "v6", "Linkerd's proxy", "Istio's proxy"},
	} {
		to := c.to.addr(c.family, appPort).String()
		got, out, err := c.from.watch(c.from.netns, appUID, to)
		if err != nil {
			return err
		}
		in, err := c.to.proxy.seen()
		if err != nil {
			return err
		}
		m.saw(c.from.name+"'s app", "calls %s in %s", to, c.to.name)
		m.took(c.fromProxy, out)
		m.took(c.intoProxy, in)
		m.answered("app", got)
		m.check(one(out, proxy.Outbound, got.Local, to), c.fromProxy+" took the call on its way out", out, got.Err)
		m.check(one(in, proxy.Inbound, "", to), c.intoProxy+" took it on its way in", in)
		m.check(got.Name == c.to.name+"'s app", c.to.name+"'s app answered", got)
	}
	return nil
}

// users shows that a uid means something only in its mesh.
func (m *meshes) users() error {
	m.step("Who is the proxy depends on the mesh")
	m.say("User 1337 is the proxy in Istio's pod. In Linkerd's pod it is a user like any other, and batch, " +
		"which belongs to no mesh, keeps its calls to itself.")
	to := serviceAt("v4")
	got, seen, err := m.istio.watch(m.istio.netns, proxyUID, to)
	if err != nil {
		return err
	}
	m.told("checkout, 1337", "calls "+to, seen, got)
	m.check(len(seen) == 0 && got.Caller == got.Local, "Istio's pod lets user 1337 through", seen, got)
	if got, seen, err = m.linkerd.watch(m.linkerd.netns, proxyUID, to); err != nil {
		return err
	}
	m.told("stock, 1337", "calls "+to, seen, got)
	m.check(one(seen, proxy.Outbound, got.Local, to), "Linkerd's pod sends it to the proxy", seen, got)
	if got, err = callFrom(m.plain.netns, appUID, to); err != nil {
		return err
	}
	m.saw("batch", "calls %s, from port %d", to, port(got.Local))
	m.answered("batch", got)
	m.check(got.Err == "" && got.Caller == got.Local, "batch reached the service directly", got)
	return nil
}

// loopback shows that the meshes disagree about what stays inside a pod.
func (m *meshes) loopback() error {
	m.step("What a proxy's call to its own pod means depends on the mesh, too")
	m.say("Istio's Envoy may be both ends of a call, so its call to the pod's own address is an incoming one like " +
		"any other. Linkerd wants everything inside the pod left alone.")
	to := m.istio.addr("v4", appPort).String()
	got, seen, err := m.istio.watch(m.istio.netns, proxyUID, to)
	if err != nil {
		return err
	}
	m.told("checkout, 1337", "calls "+to+", itself", seen, got)
	m.check(one(seen, proxy.Inbound, got.Local, to) && got.Name == "checkout's app", "Istio's pod takes it for an incoming call", seen, got)
	to = m.linkerd.addr("v4", appPort).String()
	if got, seen, err = m.linkerd.watch(m.linkerd.netns, linkerdUID, to); err != nil {
		return err
	}
	m.told("stock, 2102", "calls "+to+", itself", seen, got)
	m.check(len(seen) == 0 && got.Name == "stock's app" && got.Caller == got.Local, "Linkerd's pod leaves it alone", seen, got)
	return nil
}

func (m *meshes) end() error {
	m.step("They end")
	var names []string
	for _, p := range []*pod{m.istio, m.linkerd, m.plain} {
		names = append(names, p.netns)
	}
	m.ran("cnitool del meshed {" + strings.Join(names, ",") + "}")
	for _, p := range []*pod{m.istio, m.linkerd, m.plain} {
		if err := m.remove(p); err != nil {
			return err
		}
	}
	return nil
}
