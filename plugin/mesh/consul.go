package mesh

import (
	"net/netip"
	"slices"

	"github.com/detour-cni/detour/plugin"
	"github.com/detour-cni/detour/redirect"
)

// Consul's annotations (developer.hashicorp.com/consul/docs/k8s/annotations-and-labels),
// and what Nomad puts into CNI_ARGS in their place.
const (
	consulPrefix = "consul.hashicorp.com/"
	consulConfig = consulPrefix + "redirect-traffic-config"
	consulTProxy = consulPrefix + "transparent-proxy-status"
	consulArg    = "CONSUL_IPTABLES_CONFIG"
)

// Consul is Consul's service mesh with transparent proxy, on Kubernetes and on
// Nomad. One JSON says everything: the webhook folds the annotations that people
// write into it, together with the ports that its own containers need.
func Consul() plugin.Dialect {
	return plugin.Dialect{
		Name:  "consul",
		Claim: claimConsul,
		Defaults: func() redirect.Spec {
			s := redirect.EnvoyDefaults()
			s.ProxyUIDs, s.ProxyGIDs = ids(5995), nil
			s.InboundPort, s.OutboundPort, s.TunnelPort = 20000, 15001, 0
			s.ExcludeInboundPorts, s.ExcludeOutboundPorts = nil, nil
			s.Loopback, s.PassthroughSource = redirect.LocalhostOnly, nil
			s.DNSZones = false // queries of the proxy's own never go where Consul's are taken
			return s
		},
		Rows: func() []plugin.Row {
			return slices.Concat(consulRows(consulConfig, plugin.FromAnnotation), consulRows(consulArg, plugin.FromArgs))
		},
		Silent: []plugin.Silence{
			{Fact: "an address family left out on purpose (Consul makes rules for IPv6 only where dual stack is on)",
				Instead: `{"meshOptions": {"consul": {"ipFamilies": "ipv4"}}}`},
			{Fact: "users that call everything directly beside those in ExcludeUIDs, where Consul's own init container (5996) already is",
				Instead: `{"meshOptions": {"consul": {"excludeOutboundUIDs": [5996, 7000]}}}`},
			{Fact: "who the clients are that reach the app directly: Consul excludes inbound ports, not addresses",
				Instead: `{"meshOptions": {"consul": {"excludeInboundCIDRs": ["10.0.0.0/24"]}}}`},
		},
	}
}

func claimConsul(p plugin.Pod) (plugin.Claim, error) {
	if !p.Ref.IsPod() && p.Ref.Args[consulArg] != "" {
		return mine(consulArg + " in CNI_ARGS")
	}
	status := ""
	for _, a := range []string{consulPrefix + "connect-inject-status", consulPrefix + "mesh-inject-status"} {
		if p.Annotations[a] != "" {
			status = a
		}
	}
	if status == "" {
		return plugin.Claim{}, nil
	}
	if p.Annotations[consulTProxy] == "" {
		return notMine("no %s: its proxy is called by port, not transparently", consulTProxy)
	}
	if p.Annotations[consulConfig] == "" {
		return left("its init container does the job (no %s)", consulConfig)
	}
	return mine(status)
}

// consulRows are the fields of the JSON, which has Go's names. What it excludes
// adds to the node's exclusions: Consul does not know those.
func consulRows(name string, from plugin.Source) []plugin.Row {
	since := "consul-k8s 0.48"
	if from == plugin.FromArgs {
		since = "Nomad 1.8"
	}
	row := func(field, key string, mode plugin.RowMode, meaning string) plugin.Row {
		return plugin.Row{Annotation: name, From: from, Doc: plugin.JSON, Field: field, Key: key, Mode: mode, By: plugin.ByInjector, Meaning: meaning, Since: since}
	}
	outbound := row("ProxyOutboundPort", "outboundPort", plugin.Replace, "where the proxy listens for the app's calls; 0 is 15001")
	outbound.Parse = words0("15001")
	address := row("ConsulDNSIP", "dnsAddress", plugin.Replace, "where Consul's DNS is; without a port, every query goes there")
	address.Apply = consulDNSIP
	port := row("ConsulDNSPort", "dnsPort", plugin.Replace, "the port of Consul's DNS: queries to its address (127.0.0.1 and ::1 without one) go there; 0 is off")
	port.Apply = consulDNSPort
	return []plugin.Row{
		row("ProxyUserID", "proxyUIDs", plugin.Replace, "the user that the proxy runs as"),
		row("ProxyInboundPort", "inboundPort", plugin.Replace, "where the proxy listens for calls from outside"),
		outbound,
		row("ExcludeInboundPorts", "excludeInboundPorts", plugin.Append, "ports that reach their own listener, Consul's (20200, 21000, 20300 and up …) among them"),
		row("ExcludeOutboundPorts", "excludeOutboundPorts", plugin.Append, "ports that are called directly"),
		row("ExcludeOutboundCIDRs", "excludeOutboundCIDRs", plugin.Append, "destinations that are called directly"),
		row("ExcludeUIDs", "excludeOutboundUIDs", plugin.Append, "users that call everything directly, Consul's init container (5996) among them"),
		address,
		port,
	}
}

// words0 reads a number of which 0 means another.
func words0(zero string) func(string) ([]string, error) {
	return func(text string) ([]string, error) {
		if text == "0" {
			text = zero
		}
		return []string{text}, nil
	}
}

// dnsStandardPort is where name servers listen (RFC 1035, 4.2).
const dnsStandardPort = 53

// consulDNSIP: an address alone takes all queries, at its port 53.
func consulDNSIP(s *redirect.Spec, items []string) error {
	if err := set(s, "dnsAddress", items...); err != nil {
		return err
	}
	s.DNSPort, s.DNSServers = dnsStandardPort, redirect.PrefixSet{All: true}
	return nil
}

// consulDNSPort: with a port only what asks that address is taken, or localhost
// where there is none.
func consulDNSPort(s *redirect.Spec, items []string) error {
	if slices.Equal(items, []string{"0"}) {
		return nil
	}
	if err := set(s, "dnsPort", items...); err != nil {
		return err
	}
	servers := []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	if s.DNSAddress.IsValid() {
		servers = []netip.Addr{s.DNSAddress}
	}
	s.DNSServers = redirect.PrefixSet{}
	for _, a := range servers {
		s.DNSServers.Prefixes = append(s.DNSServers.Prefixes, netip.PrefixFrom(a, a.BitLen()))
	}
	return nil
}
