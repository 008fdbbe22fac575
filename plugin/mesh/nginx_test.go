package mesh

import (
	"github.com/detour-cni/detour/plugin"
	"github.com/detour-cni/detour/redirect"
)

// NGINX Service Mesh's annotations (docs.nginx.com/nginx-service-mesh, "Pod
// Annotations" and "Ignore Specific Ports").
const (
	nginxStatus = "injector.nsm.nginx.com/status"
	nginxConfig = "config.nsm.nginx.com/"
)

// NGINX is NGINX Service Mesh, as of 1.7.
func NGINX() plugin.Dialect {
	return plugin.Dialect{
		Name:  "nginx",
		Claim: claimNGINX,
		Defaults: func() redirect.Spec {
			s := redirect.EnvoyDefaults()
			// "Technical Specifications", Ports: what comes in goes to 8901, what
			// leaves to 8900; the rest that is bound on 0.0.0.0 is for others to call.
			s.InboundPort, s.OutboundPort, s.TunnelPort = 8901, 8900, 0
			s.ExcludeInboundPorts = ports(8886, 8887, 8895, 8896)
			s.ExcludeOutboundPorts = ports(53)
			s.Loopback, s.PassthroughSource = redirect.Bypass, nil
			return s
		},
		Rows: nginxRows,
		Silent: []plugin.Silence{
			{Fact: "the user that the sidecar runs as: see runAsUser of the container nginx-mesh-sidecar",
				Instead: `{"meshOptions": {"nginx": {"proxyUIDs": [2102], "proxyGIDs": []}}}`},
		},
	}
}

func nginxRows() []plugin.Row {
	return []plugin.Row{
		{Annotation: nginxConfig + "ignore-incoming-ports", Key: "excludeInboundPorts", By: plugin.ByUser, Empty: plugin.EmptyUnset, Mode: plugin.Append,
			Meaning: "ports that reach the app directly", Since: "0.6"},
		{Annotation: nginxConfig + "ignore-outgoing-ports", Key: "excludeOutboundPorts", By: plugin.ByUser, Empty: plugin.EmptyUnset, Mode: plugin.Append,
			Meaning: "ports that are called directly, beside 53", Since: "0.6"},
	}
}

// claimNGINX goes by what the injector writes once it has been there.
func claimNGINX(p plugin.Pod) (plugin.Claim, error) {
	status, ok := p.Annotations[nginxStatus]
	switch {
	case !ok:
		return plugin.Claim{}, nil
	case status != "injected":
		return notMine("%s is %.64q", nginxStatus, status)
	}
	return mine(nginxStatus)
}
