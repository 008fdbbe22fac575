package mesh

import (
	"fmt"
	"slices"
	"strings"

	"github.com/detour-cni/detour/plugin"
	"github.com/detour-cni/detour/redirect"
)

// Linkerd's annotations (linkerd.io/2/reference/proxy-configuration). The injector
// copies those of the namespace that begin with config.linkerd.io to the pod.
const (
	linkerdVersion   = "linkerd.io/proxy-version"
	linkerdInject    = "linkerd.io/inject"
	linkerdCreatedBy = "linkerd.io/created-by"
	linkerdConfig    = "config.linkerd.io/"
)

// Where Linkerd's proxy listens besides: for its control plane, and for scrapers.
const (
	linkerdControlPort = 4190
	linkerdAdminPort   = 4191
)

// Linkerd is Linkerd 2 with its CNI mode on.
func Linkerd() plugin.Dialect {
	return plugin.Dialect{
		Name:  "linkerd",
		Claim: claimLinkerd,
		Defaults: func() redirect.Spec {
			s := redirect.EnvoyDefaults()
			s.ProxyUIDs, s.ProxyGIDs = ids(2102), nil
			s.InboundPort, s.OutboundPort, s.TunnelPort = 4143, 4140, 0
			s.ExcludeInboundPorts = ports(linkerdControlPort, linkerdAdminPort, 4567, 4568)
			s.ExcludeOutboundPorts = ports(4567, 4568)
			s.Loopback, s.PassthroughSource = redirect.Bypass, nil
			return s
		},
		Rows: func() []plugin.Row { return slices.Concat(linkerdProxy(), linkerdSkips()) },
		Silent: []plugin.Silence{
			{Fact: "that a pod is of the control plane, and calls the API server before its proxy is up, if `linkerd install` made it without Helm (it has a label, linkerd.io/control-plane-component). Better than this option, which frees the ports for every pod: give those pods the annotation config.linkerd.io/skip-outbound-ports",
				Instead: `{"meshOptions": {"linkerd": {"excludeOutboundPorts": [443, 4567, 4568, 6443]}}}`},
			{Fact: "the API server's ports, where they are not 443 and 6443: what Helm's pods of the control plane get is these two, on top of the node's",
				Instead: `{"meshOptions": {"linkerd": {"excludeOutboundPorts": [4567, 4568, 8443]}}}`},
			{Fact: "an init container linkerd-init, in pods injected while the CNI mode was off: until they are restarted, leave Linkerd to it",
				Instead: `{"meshes": ["istio", "consul", "kuma", "appmesh", "osm", "detour"]}`},
			{Fact: "a proxy uid or port set for the whole mesh (Helm: proxy.uid, proxy.ports)",
				Instead: `{"meshOptions": {"linkerd": {"proxyUIDs": [2103], "inboundPort": 4243, "outboundPort": 4240}}}`},
		},
	}
}

// claimLinkerd goes by the version of the proxy that the injector put in; it
// stamps linkerd.io/trust-root-sha256 along with it. Unlike Istio's, the annotation
// linkerd.io/inject is the last word: there is no label of that name, and neither webhook nor
// command line touches a pod whose own says disabled (disableByAnnotation in pkg/inject), so
// that a version beside it was copied.
func claimLinkerd(p plugin.Pod) (plugin.Claim, error) {
	if p.Annotations[linkerdVersion] == "" {
		return plugin.Claim{}, nil
	}
	if p.Annotations[linkerdInject] == "disabled" {
		return notMine("%s is disabled", linkerdInject)
	}
	return mine(linkerdVersion)
}

func linkerdProxy() []plugin.Row {
	return []plugin.Row{
		{Annotation: linkerdConfig + "proxy-uid", Key: "proxyUIDs", By: plugin.ByEither, Empty: plugin.EmptyUnset, Mode: plugin.Replace,
			Meaning: "the user that the proxy runs as; 0 is one", Since: "2.3"},
		{Annotation: linkerdConfig + "proxy-gid", Key: "proxyGIDs", By: plugin.ByEither, Empty: plugin.EmptyUnset, Mode: plugin.Replace,
			Meaning: "the group that the proxy runs as", Since: "2.15"},
		{Annotation: linkerdConfig + "inbound-port", Key: "inboundPort", By: plugin.ByEither, Empty: plugin.EmptyUnset, Mode: plugin.Replace,
			Meaning: "where the proxy listens for calls from outside", Since: "2.3"},
		{Annotation: linkerdConfig + "outbound-port", Key: "outboundPort", By: plugin.ByEither, Empty: plugin.EmptyUnset, Mode: plugin.Replace,
			Meaning: "where the proxy listens for the app's calls", Since: "2.3"},
		{Annotation: linkerdConfig + "control-port", Key: "excludeInboundPorts", By: plugin.ByEither, Empty: plugin.EmptyUnset, Mode: plugin.Append,
			Apply: insteadOf(linkerdControlPort), Meaning: "the proxy's control port, exempt in place of 4190", Since: "2.3"},
		{Annotation: linkerdConfig + "admin-port", Key: "excludeInboundPorts", By: plugin.ByEither, Empty: plugin.EmptyUnset, Mode: plugin.Append,
			Apply: insteadOf(linkerdAdminPort), Meaning: "the proxy's metrics port, exempt in place of 4191", Since: "2.3"},
	}
}

func linkerdSkips() []plugin.Row {
	return []plugin.Row{
		{Annotation: linkerdConfig + "skip-inbound-ports", Key: "excludeInboundPorts", By: plugin.ByEither, Empty: plugin.EmptyUnset, Mode: plugin.Append,
			Meaning: "ports and ranges that reach the app directly", Since: "2.3"},
		{Annotation: linkerdConfig + "skip-outbound-ports", Key: "excludeOutboundPorts", By: plugin.ByEither, Empty: plugin.EmptyUnset, Mode: plugin.Replace,
			Meaning: "ports and ranges that are called directly, in place of 4567 and 4568", Since: "2.3"},
		{Annotation: linkerdConfig + "skip-subnets", Key: "excludeInboundCIDRs", By: plugin.ByEither, Empty: plugin.EmptyUnset, Mode: plugin.Replace,
			Meaning: "clients that reach the app directly", Since: "2.12"},
		{Annotation: linkerdCreatedBy, Key: "excludeOutboundPorts", By: plugin.ByInjector, Empty: plugin.EmptyUnset, Mode: plugin.Append,
			Parse: controlPlanePorts, Meaning: "`linkerd/helm …`: a pod of the control plane, which calls the API server (443, 6443) directly", Since: "2.3"},
	}
}

// insteadOf exempts one port in another's place.
func insteadOf(port uint16) func(*redirect.Spec, []string) error {
	return func(s *redirect.Spec, items []string) error {
		if len(items) != 1 {
			return fmt.Errorf("%d values (want a port, 1-65535)", len(items))
		}
		p, err := redirect.ParsePort(items[0])
		if err != nil {
			return err
		}
		s.ExcludeInboundPorts = redirect.Merge(append(without(s.ExcludeInboundPorts, port), ports(p)...))
		return nil
	}
}

// without gives the ranges less the one that is just this port.
func without(ranges []redirect.PortRange, port uint16) []redirect.PortRange {
	return slices.DeleteFunc(slices.Clone(ranges), func(r redirect.PortRange) bool { return r == ports(port)[0] })
}

// controlPlanePorts knows a pod of the control plane by who made it: the injector
// writes its own name over this annotation in every pod that it touches, so only
// what Helm rendered, proxy and all, says helm.
func controlPlanePorts(createdBy string) ([]string, error) {
	if !strings.HasPrefix(createdBy, "linkerd/helm") {
		return nil, nil
	}
	return []string{"443", "6443"}, nil
}
