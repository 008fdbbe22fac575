package mesh

import (
	"fmt"
	"strings"

	"github.com/detour-cni/detour/plugin"
	"github.com/detour-cni/detour/redirect"
)

// osmPrefix begins the annotations of Open Service Mesh (docs.openservicemesh.io,
// "Sidecar injection" and "Traffic redirection").
const osmPrefix = "openservicemesh.io/"

// OSM is Open Service Mesh. Its injector leaves a label, osm-proxy-uuid, and no
// annotation: pods are known by the one with which they ask for the sidecar.
func OSM() plugin.Dialect {
	return plugin.Dialect{
		Name:  "osm",
		Claim: claimOSM,
		Defaults: func() redirect.Spec {
			s := redirect.EnvoyDefaults()
			s.ProxyUIDs, s.ProxyGIDs = ids(1500), nil
			s.InboundPort, s.OutboundPort, s.TunnelPort = 15003, 15001, 0
			s.ExcludeInboundPorts = append(ports(15010), redirect.PortRange{First: 15901, Last: 15904})
			s.ExcludeOutboundPorts = nil
			s.PassthroughSource = nil
			return s
		},
		Rows: osmRows,
		Silent: []plugin.Silence{
			{Fact: "injection by the namespace's label or annotation: all that the injector leaves is a label, osm-proxy-uuid. Annotate the pods (openservicemesh.io/sidecar-injection: enabled), or give OSM nodes of its own, where every pod is OSM's",
				Instead: `{"pods": "all", "redirect": {"proxyUIDs": [1500], "proxyGIDs": [], "inboundPort": 15003, "outboundPort": 15001, "tunnelPort": 0, "excludeInboundPorts": [15010, "15901-15904"], "excludeOutboundPorts": [], "passthroughSource": []}}`},
			{Fact: "the init container osm-init, which OSM's injector adds to every pod: patch it out of the injector's template, or leave OSM to it",
				Instead: `{"meshes": ["istio", "linkerd", "consul", "kuma", "appmesh", "detour"]}`},
			{Fact: "exclusions and inclusions of the MeshConfig (spec.traffic)",
				Instead: `{"meshOptions": {"osm": {"excludeInboundPorts": [9090], "excludeOutboundPorts": [6379], "excludeOutboundCIDRs": ["192.0.2.0/24"], "includeOutboundCIDRs": ["10.0.0.0/8"]}}}`},
		},
	}
}

func claimOSM(p plugin.Pod) (plugin.Claim, error) {
	const annotation = osmPrefix + "sidecar-injection"
	v, ok := p.Annotations[annotation]
	if !ok {
		return plugin.Claim{}, nil
	}
	switch strings.ToLower(v) {
	case "enabled", "yes", "true":
		return mine(annotation)
	case "disabled", "no", "false":
		return notMine("%s is %s", annotation, strings.ToLower(v))
	}
	return plugin.Claim{}, fmt.Errorf("annotation %s: %.64q: unknown (want enabled, yes, true, disabled, no or false)", annotation, v)
}

// osmRows: what a pod excludes comes on top of the MeshConfig's exclusions. OSM
// takes an empty list for none given, so an empty list of inclusions is all.
func osmRows() []plugin.Row {
	row := func(name, key string, mode plugin.RowMode, since, meaning string) plugin.Row {
		return plugin.Row{Annotation: osmPrefix + name, Key: key, Mode: mode, By: plugin.ByUser, Empty: plugin.EmptyUnset, Meaning: meaning, Since: since}
	}
	return []plugin.Row{
		row("inbound-port-exclusion-list", "excludeInboundPorts", plugin.Append, "0.9", "ports that reach the app directly"),
		row("outbound-port-exclusion-list", "excludeOutboundPorts", plugin.Append, "0.9", "ports that are called directly"),
		row("outbound-ip-range-exclusion-list", "excludeOutboundCIDRs", plugin.Append, "1.0", "destinations that are called directly"),
		row("outbound-ip-range-inclusion-list", "includeOutboundCIDRs", plugin.Replace, "1.0", "the only destinations that are captured"),
	}
}
