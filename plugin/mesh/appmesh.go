package mesh

import (
	"net/netip"

	"github.com/detour-cni/detour/plugin"
	"github.com/detour-cni/detour/redirect"
)

// appmeshPrefix begins App Mesh's annotations (aws-app-mesh-controller-for-k8s,
// docs/reference/injector.md).
const appmeshPrefix = "appmesh.k8s.aws/"

// metadataAddress is EC2's instance metadata, which no proxy may stand before.
var metadataAddress = netip.MustParsePrefix("169.254.169.254/32")

// AppMesh is AWS App Mesh. Its proxy serves the ports of the virtual node only.
func AppMesh() plugin.Dialect {
	return plugin.Dialect{
		Name:  "appmesh",
		Claim: claimAppMesh,
		Defaults: func() redirect.Spec {
			s := redirect.EnvoyDefaults()
			s.ProxyUIDs, s.ProxyGIDs = ids(1337), nil
			s.InboundPort, s.OutboundPort, s.TunnelPort = 15000, 15001, 0
			s.IncludeInboundPorts = redirect.PortSet{}
			s.ExcludeInboundPorts = nil
			s.ExcludeOutboundPorts = ports(22)
			s.ExcludeOutboundCIDRs = []netip.Prefix{metadataAddress}
			s.Loopback, s.PassthroughSource = redirect.Bypass, nil
			return s
		},
		Rows: appmeshRows,
		Silent: []plugin.Silence{
			{Fact: "the group that the proxy runs as, where the injector leaves ignoredGID out and apps share its user",
				Instead: `{"meshOptions": {"appmesh": {"proxyGIDs": [1337]}}}`},
			{Fact: "whether the init container proxyinit is there all the same: appmeshCNI says what was asked for. Where it is, leave App Mesh to it",
				Instead: `{"meshes": ["istio", "linkerd", "consul", "kuma", "osm", "detour"]}`},
			{Fact: "the address family of the mesh (spec.ipPreference), where the pod's annotation does not say ipv6: disabled",
				Instead: `{"meshOptions": {"appmesh": {"ipFamilies": "ipv4"}}}`},
		},
	}
}

func claimAppMesh(p plugin.Pod) (plugin.Claim, error) {
	const webhook, cni = appmeshPrefix + "sidecarInjectorWebhook", appmeshPrefix + "appmeshCNI"
	v, ok := p.Annotations[webhook]
	switch {
	case !ok:
		return plugin.Claim{}, nil
	case v != "enabled":
		return notMine("%s is %.64q", webhook, v)
	case p.Annotations[appmeshPrefix+"proxyEgressPort"] == "":
		return notMine("no %sproxyEgressPort", appmeshPrefix)
	case p.Annotations[cni] != "enabled":
		return left("its init container proxyinit does the job (%s is not enabled)", cni)
	}
	return mine(webhook)
}

func appmeshRows() []plugin.Row {
	row := func(name, key string, empty plugin.EmptyMode, meaning string) plugin.Row {
		return plugin.Row{Annotation: appmeshPrefix + name, Key: key, Mode: plugin.Replace, By: plugin.ByInjector, Empty: empty, Meaning: meaning, Since: "1.0"}
	}
	ipv6 := row("ipv6", "ipFamilies", plugin.EmptyUnset, "disabled: IPv6 is left alone")
	ipv6.Parse, ipv6.By, ipv6.Since = words("disabled", "ipv4", "enabled", "auto"), plugin.ByUser, "1.5"
	return []plugin.Row{
		row("ports", "includeInboundPorts", plugin.EmptyNone, "the ports that the proxy serves: those of the virtual node's listeners"),
		row("egressIgnoredIPs", "excludeOutboundCIDRs", plugin.EmptyNone, "destinations that are called directly, in place of 169.254.169.254"),
		row("egressIgnoredPorts", "excludeOutboundPorts", plugin.EmptyNone, "ports that are called directly, in place of 22"),
		row("ignoredUID", "proxyUIDs", plugin.EmptyUnset, "the user that the proxy runs as"),
		row("ignoredGID", "proxyGIDs", plugin.EmptyUnset, "the group that the proxy runs as"),
		row("proxyIngressPort", "inboundPort", plugin.EmptyUnset, "where the proxy listens for calls from outside"),
		row("proxyEgressPort", "outboundPort", plugin.EmptyError, "where the proxy listens for the app's calls"),
		ipv6,
	}
}
