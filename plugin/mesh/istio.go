package mesh

import (
	"fmt"
	"slices"
	"strings"

	"github.com/detour-cni/detour/plugin"
	"github.com/detour-cni/detour/redirect"
)

// Istio's annotations (istio.io/docs/reference/config/annotations).
const (
	istioStatus    = "sidecar.istio.io/status"
	istioInject    = "sidecar.istio.io/inject"
	istioTemplates = "inject.istio.io/templates"
	istioMode      = "sidecar.istio.io/interceptionMode"
	istioConfig    = "proxy.istio.io/config"
	istioReroute   = "istio.io/reroute-virtual-interfaces"
	istioTraffic   = "traffic.sidecar.istio.io/"
)

// istioDNSPort is where the agent answers queries, once it captures them.
const istioDNSPort = 15053

// Istio is the sidecar mode of Istio, REDIRECT and TPROXY. Its Spec is the Envoy
// defaults: they were made for it.
func Istio() plugin.Dialect {
	return plugin.Dialect{
		Name:     "istio",
		Claim:    claimIstio,
		Defaults: redirect.EnvoyDefaults,
		Rows:     func() []plugin.Row { return slices.Concat(istioLists(), istioInterfaces(), istioProxyConfig()) },
		Silent: []plugin.Silence{
			{Fact: "the proxy's uid and gid where they are not 1337: they stand in the pod's securityContext only. OpenShift takes them from the namespace's range, whose first id is the app's: name the proxy's one by one, never the range, or the app goes free",
				Instead: `{"meshOptions": {"istio": {"proxyUIDs": [1337, 1000700001, 1000710001], "proxyGIDs": [1337, 1000700001, 1000710001]}}}`},
			{Fact: "DNS capture for the whole mesh (meshConfig.defaultConfig.proxyMetadata): the annotation has only what the pod itself asks for",
				Instead: `{"meshOptions": {"istio": {"dnsPort": 15053}}}`},
			{Fact: "ISTIO_META_DNS_CAPTURE or INVALID_DROP as an environment variable of the injection template",
				Instead: `{"meshOptions": {"istio": {"dnsPort": 15053, "dropInvalid": true}}}`},
			{Fact: "the name servers of the pod's resolv.conf: every query to port 53 is captured, whomever it asks",
				Instead: `{"meshOptions": {"istio": {"dnsServers": ["10.96.0.10/32"]}}}`},
			{Fact: "where the proxy listens, if somebody changed the ports of the template",
				Instead: `{"meshOptions": {"istio": {"inboundPort": 15106, "outboundPort": 15101, "tunnelPort": 15108}}}`},
			{Fact: "that a status port other than 15020 comes from the mesh: the injector adds it to excludeInboundPorts, where it looks like the author's, and `overrides` may refuse it",
				Instead: `{"overrides": "deny", "meshOptions": {"istio": {"excludeInboundPorts": [15022]}}}`},
		},
	}
}

// claimIstio goes by the status that the injector leaves: what it has put into
// the pod. With its own plugin installed there is no istio-init among it.
//
// The annotation sidecar.istio.io/inject says no more than what somebody wished: the label
// of that name, which no runtime hands over, wins over it (injectRequired in Istio's
// pkg/kube/inject), and a pod with the label "true" and a "false" left over as an
// annotation has a proxy. Where the status names one, its pod is redirected.
func claimIstio(p plugin.Pod) (plugin.Claim, error) {
	status, ok := p.Annotations[istioStatus]
	if !ok {
		return plugin.Claim{}, nil
	}
	doc, err := plugin.ParseDocument(plugin.JSON, status)
	if err != nil {
		return plugin.Claim{}, fmt.Errorf("annotation %s: %w", istioStatus, err)
	}
	injected := map[string][]string{}
	for _, field := range []string{"containers", "initContainers"} {
		n, err := doc.At(field)
		if err == nil {
			injected[field], err = n.Texts()
		}
		if err != nil {
			return plugin.Claim{}, fmt.Errorf("annotation %s: %s: %w", istioStatus, field, err)
		}
	}
	inject := p.Annotations[istioInject]
	switch {
	case slices.Contains(injected["initContainers"], "istio-init"):
		return left("its init container istio-init does the job (%s)", istioStatus)
	case !slices.Contains(slices.Concat(injected["containers"], injected["initContainers"]), "istio-proxy"):
		if istioRefuses(inject) {
			return notMine("%s is %.64q", istioInject, inject)
		}
		return notMine("%s names no istio-proxy", istioStatus)
	}
	for _, template := range list(p.Annotations[istioTemplates]) {
		if template == "gateway" || template == "grpc-agent" {
			return left("%s is %s: nothing in the pod listens for redirected traffic", istioTemplates, template)
		}
	}
	if istioRefuses(inject) {
		return mine(fmt.Sprintf("%s, although %s is %.64q: the label of that name wins over the annotation", istioStatus, istioInject, inject))
	}
	return mine(istioStatus)
}

// istioRefuses reads sidecar.istio.io/inject as the injector does: what is not
// one of its words for yes is a no.
func istioRefuses(value string) bool {
	return value != "" && !slices.Contains([]string{"y", "yes", "true", "on"}, strings.ToLower(value))
}

func istioLists() []plugin.Row {
	return []plugin.Row{
		{Annotation: istioMode, Key: "inboundMode", By: plugin.ByEither, Empty: plugin.EmptyUnset, Mode: plugin.Replace, Off: "NONE",
			Parse:   words("REDIRECT", "redirect", "TPROXY", "tproxy", "NONE", "NONE"),
			Meaning: "REDIRECT, TPROXY (keeps the client's address), or NONE: nothing is redirected", Since: "1.0"},
		{Annotation: istioTraffic + "excludeInboundPorts", Key: "excludeInboundPorts", By: plugin.ByEither, Empty: plugin.EmptyNone, Mode: plugin.Append,
			Meaning: "ports that reach the app directly, beside 15020, 15021 and 15090", Since: "1.0"},
		{Annotation: istioTraffic + "includeInboundPorts", Key: "includeInboundPorts", By: plugin.ByEither, Empty: plugin.EmptyNone, Mode: plugin.Replace,
			Apply: istioIncludeInbound, Meaning: "`*`, or the only ports that are captured; with a list nothing is excluded", Since: "1.0"},
		{Annotation: istioTraffic + "includeOutboundIPRanges", Key: "includeOutboundCIDRs", By: plugin.ByEither, Empty: plugin.EmptyNone, Mode: plugin.Replace,
			Meaning: "`*`, or the only destinations that are captured", Since: "1.0"},
		{Annotation: istioTraffic + "excludeOutboundIPRanges", Key: "excludeOutboundCIDRs", By: plugin.ByUser, Empty: plugin.EmptyNone, Mode: plugin.Replace,
			Meaning: "destinations that are called directly", Since: "1.0"},
		{Annotation: istioTraffic + "includeOutboundPorts", Key: "includeOutboundPorts", By: plugin.ByUser, Empty: plugin.EmptyNone, Mode: plugin.Replace,
			Meaning: "ports that are captured whatever the address", Since: "1.6"},
		{Annotation: istioTraffic + "excludeOutboundPorts", Key: "excludeOutboundPorts", By: plugin.ByUser, Empty: plugin.EmptyNone, Mode: plugin.Replace,
			Meaning: "ports that are called directly, in place of 15020; 53 frees DNS as well", Since: "1.1"},
	}
}

// istioIncludeInbound: Istio's rules look at excluded ports only where all the
// others are captured; a list is the whole truth.
func istioIncludeInbound(s *redirect.Spec, items []string) error {
	if err := set(s, "includeInboundPorts", items...); err != nil {
		return err
	}
	if !s.IncludeInboundPorts.All {
		s.ExcludeInboundPorts = nil
	}
	return nil
}

func istioInterfaces() []plugin.Row {
	return []plugin.Row{
		{Annotation: istioTraffic + "excludeInterfaces", Key: "excludeInterfaces", By: plugin.ByUser, Empty: plugin.EmptyNone, Mode: plugin.Replace,
			Meaning: "interfaces that are left alone", Since: "1.10"},
		{Annotation: istioReroute, Key: "rerouteInterfaces", By: plugin.ByUser, Empty: plugin.EmptyNone, Mode: plugin.Replace,
			Meaning: "interfaces of virtual machines: what comes from there is outbound traffic", Since: "1.25"},
		{Annotation: istioTraffic + "kubevirtInterfaces", Key: "rerouteInterfaces", By: plugin.ByUser, Empty: plugin.EmptyNone, Mode: plugin.Replace, Unless: istioReroute,
			Meaning: "the same, by its older name; counts only without `" + istioReroute + "`", Since: "1.1"},
	}
}

func istioProxyConfig() []plugin.Row {
	return []plugin.Row{
		{Annotation: istioConfig, Doc: plugin.YAML, Field: "proxyMetadata.ISTIO_META_DNS_CAPTURE", Key: "dnsPort", By: plugin.ByUser, Mode: plugin.Replace,
			Parse: flag, Apply: istioDNS, Meaning: "`true`: apps' DNS queries go to port 15053", Since: "1.8"},
		{Annotation: istioConfig, Doc: plugin.YAML, Field: "proxyMetadata.INVALID_DROP", Key: "dropInvalid", By: plugin.ByUser, Mode: plugin.Replace,
			Parse: flag, Meaning: "`true`: packets that belong to no connection are dropped", Since: "1.10"},
	}
}

// istioDNS leaves a port of the node's own choice as it is.
func istioDNS(s *redirect.Spec, items []string) error {
	switch {
	case items[0] == "false":
		s.DNSPort = 0
	case s.DNSPort == 0:
		s.DNSPort = istioDNSPort
	}
	return nil
}
