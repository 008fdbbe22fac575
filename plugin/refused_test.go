package plugin_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/skel"

	"github.com/detour-cni/detour/plugin"
	"github.com/detour-cni/detour/plugin/mesh"
)

// stdin gives a network configuration with this "detour" object, after a primary
// plugin, for a pod with these annotations.
func stdin(detour, annotations string) string {
	return fmt.Sprintf(`{"cniVersion": "1.1.0", "name": "pods", "prevResult": {"ips": []}, "detour": %s,
		"runtimeConfig": {"io.kubernetes.cri.pod-annotations": %s}}`, detour, annotations)
}

// redirectOf gives a configuration that redirects every pod, with one key set.
func redirectOf(member string) string {
	return stdin(`{"pods": "all", "redirect": {`+member+`}}`, "null")
}

// annotated gives a configuration and a pod that our own dialect claims, with one
// annotation more, as JSON text.
func annotated(name, value string) string {
	return stdin("{}", fmt.Sprintf(`{"detour-cni.dev/redirect": "true", %q: %s}`, name, value))
}

// noNamespace is where a verb would fail with code 8, had it got so far.
const noNamespace = "/nowhere/netns"

// odd gives n numbers of which no two touch, so that no range takes them together.
func odd(n int) string {
	var numbers []string
	for i := range n {
		numbers = append(numbers, strconv.Itoa(2*i+1))
	}
	return strings.Join(numbers, "+")
}

// refusals are inputs with the code and the words that an operator gets.
var refusals = []struct {
	name, stdin string
	code        uint
	err         string // all of it
}{
	{"option key", stdin(`{"pod": "all"}`, "null"), plugin.CodeConfig,
		"detour.pod: unknown key (want pods, meshes, excludeNamespaces, overrides, backend, logLevel, logFile, redirect, meshOptions or missingAnnotations)"},
	{"option twice", stdin(`{"pods": "all", "pods": "meshed"}`, "null"), plugin.CodeConfig, "detour: pods: stands there twice"},
	{"option object", stdin(`"all"`, "null"), plugin.CodeConfig, `detour: "\"all\"": not a JSON object`},
	{"redirect key", redirectOf(`"outboundport": 1`), plugin.CodeConfig, "redirect.outboundport: unknown key (want one of docs/configuration.md, upper and lower case as there)"},
	{"port 0", redirectOf(`"outboundPort": 0`), plugin.CodeConfig, "redirect.outboundPort: 0 is not a port (want 1-65535)"},
	{"port 65536", redirectOf(`"inboundPort": 65536`), plugin.CodeConfig, "redirect.inboundPort: 65536 is not a port (want 1-65535)"},
	{"port http", redirectOf(`"excludeInboundPorts": [80, "http"]`), plugin.CodeConfig, `redirect.excludeInboundPorts[1]: "http": not a port (want 1-65535)`},
	{"range reversed", redirectOf(`"excludeOutboundPorts": ["90-80"]`), plugin.CodeConfig, `redirect.excludeOutboundPorts[0]: "90-80": the range ends before it starts (want first-last)`},
	{"prefix length", redirectOf(`"excludeOutboundCIDRs": ["10.0.0.0/33"]`), plugin.CodeConfig, `redirect.excludeOutboundCIDRs[0]: "10.0.0.0/33": `},
	{"v4-mapped", redirectOf(`"includeOutboundCIDRs": ["::ffff:10.0.0.0/104"]`), plugin.CodeConfig, `redirect.includeOutboundCIDRs[0]: "::ffff:10.0.0.0/104": `},
	{"uid -1", redirectOf(`"proxyUIDs": [-1]`), plugin.CodeConfig, `redirect.proxyUIDs[0]: "-1": `},
	{"uid too large", redirectOf(`"proxyUIDs": [4294967296]`), plugin.CodeConfig, `redirect.proxyUIDs[0]: `},
	{"uid name", redirectOf(`"excludeOutboundUIDs": ["envoy"]`), plugin.CodeConfig, `redirect.excludeOutboundUIDs[0]: "envoy": `},
	{"interface length", redirectOf(`"excludeInterfaces": ["abcdefghijklmnop"]`), plugin.CodeConfig, `redirect.excludeInterfaces[0]: "abcdefghijklmnop": an interface name of 16 bytes (want at most 15)`},
	{"interface slash", redirectOf(`"excludeInterfaces": ["a/b"]`), plugin.CodeConfig, `redirect.excludeInterfaces[0]: "a/b": not an interface name (want no slash, colon, space or control character)`},
	{"interface space", redirectOf(`"excludeInterfaces": ["a b"]`), plugin.CodeConfig, `redirect.excludeInterfaces[0]: "a b": not an interface name (want no slash, colon, space or control character)`},
	{"backend", stdin(`{"backend": "nft"}`, "null"), plugin.CodeConfig, `backend: "nft": unknown (want auto, nftables, iptables, iptables-nft or iptables-legacy)`},
	{"mode", redirectOf(`"inboundMode": "dnat"`), plugin.CodeConfig, `redirect.inboundMode: "dnat": unknown (want redirect, tproxy or off)`},
	{"loopback", redirectOf(`"loopback": "pass"`), plugin.CodeConfig, `redirect.loopback: "pass": unknown (want hairpin, bypass, localhost-only or capture-all)`},
	{"pods", stdin(`{"pods": "some"}`, "null"), plugin.CodeConfig, `pods: "some": unknown (want meshed or all)`},
	{"overrides", stdin(`{"overrides": "no"}`, "null"), plugin.CodeConfig, `overrides: "no": not understood (want allow, deny or a list of namespaces)`},
	{"mesh", stdin(`{"meshes": ["isto"]}`, "null"), plugin.CodeConfig, `meshes[0]: "isto": unknown (want istio, linkerd, consul, kuma, appmesh, osm, detour)`},
	{"mesh options", stdin(`{"meshOptions": {"istio": {"dnsPort": "x"}}}`, "null"), plugin.CodeConfig, `meshOptions.istio.dnsPort: "x": not a port (want 1-65535, or 0 for off)`},
	{"ports equal", redirectOf(`"dnsPort": 15001`), plugin.CodeConfig, "redirect.dnsPort: 15001 is outboundPort as well (want a port of its own)"},
	{"tunnel is inbound", redirectOf(`"tunnelPort": 15006`), plugin.CodeConfig, "redirect.tunnelPort: 15006 is inboundPort as well (want a port of its own)"},
	{"nobody is the proxy", redirectOf(`"proxyUIDs": [], "proxyGIDs": []`), plugin.CodeConfig, "redirect.proxyUIDs: [] and proxyGIDs: []: nobody is the proxy, its own calls would come back to it (want an id in one of them)"},
	{"excluded and rerouted", redirectOf(`"excludeInterfaces": ["net1"], "rerouteInterfaces": ["net1"]`), plugin.CodeConfig, `redirect.rerouteInterfaces[0]: "net1" is in excludeInterfaces as well (want it in one of them)`},
	{"prevResult missing", `{"cniVersion": "1.1.0", "detour": {"missingAnnotations": "pass"}}`, plugin.CodeConfig, "prevResult: missing (want detour after the plugin that makes the interface, in its list)"},
	{"prevResult a list", `{"cniVersion": "1.1.0", "prevResult": [1], "detour": {"pods": "all"}}`, plugin.CodeConfig, "prevResult: [1]: not a result (want an object, its cniVersion a string)"},
	{"prevResult undecodable", `{"cniVersion": "1.1.0", "prevResult": {"ips": "none"}, "detour": {"pods": "all"}}`, plugin.CodeConfig, `prevResult: not a result of cniVersion "1.1.0": `},
	{"annotations", stdin("{}", `["a"]`), plugin.CodeConfig, `runtimeConfig.io.kubernetes.cri.pod-annotations: ["a"]: not a map of texts (want {"name": "value"})`},
	{"annotation", annotated("detour-cni.dev/outbound-port", `"44e"`), plugin.CodeAnnotation, `pod "shop/cart": annotation detour-cni.dev/outbound-port: "44e": not a port (want 1-65535)`},
	{"annotation of 1 MiB", annotated("detour-cni.dev/exclude-outbound-ports", `"`+strings.Repeat("80,", 1<<20/3)+`80"`), plugin.CodeAnnotation,
		`pod "shop/cart": annotation detour-cni.dev/exclude-outbound-ports: 1048577 bytes (want at most 262144)`},
	{"annotation multiplies", annotated("detour-cni.dev/exclude-outbound-owners", strconv.Quote(`tcp:`+odd(101)+`:`+odd(100))), plugin.CodeAnnotation,
		`pod "shop/cart": annotation detour-cni.dev/exclude-outbound-owners: excludeOutboundOwners: 10100 combinations of ports and uids (want at most 10000: fewer of them, or ranges)`},
	{"annotation of Kuma's multiplies", stdin("{}", `{"kuma.io/sidecar-injected": "true", "traffic.kuma.io/transparent-proxy-config": "{\"cniMode\": true}",
		"traffic.kuma.io/exclude-outbound-ports-for-uids": "tcp:`+strings.ReplaceAll(odd(101), "+", ",")+`:`+strings.ReplaceAll(odd(100), "+", ",")+`"}`), plugin.CodeAnnotation,
		`pod "shop/cart": annotation traffic.kuma.io/exclude-outbound-ports-for-uids: excludeOutboundOwners: 10101 combinations of ports and uids (want at most 10000`},
	{"option multiplies", redirectOf(`"excludeOutboundOwners": ["tcp:` + odd(101) + `:` + odd(100) + `"]`), plugin.CodeConfig,
		"redirect.excludeOutboundOwners: 10100 combinations of ports and uids (want at most 10000: fewer of them, or ranges)"},
	{"annotation contradicts", annotated("detour-cni.dev/dns-port", `"15001"`), plugin.CodeAnnotation,
		`pod "shop/cart": annotation detour-cni.dev/dns-port: dnsPort: 15001 is outboundPort as well (want a port of its own)`},
	{"claim", stdin("{}", `{"detour-cni.dev/redirect": "yes"}`), plugin.CodeAnnotation, `pod "shop/cart": annotation detour-cni.dev/redirect: "yes": not true or false`},
	{"no annotations", `{"cniVersion": "1.1.0", "prevResult": {"ips": []}, "detour": {}}`, plugin.CodeNoAnnotation,
		`pod "shop/cart": the runtime handed over no annotations: want containerd >= 1.5 or CRI-O >= 1.29, `},
	{"namespace", redirectOf(""), plugin.CodeNamespace, "rules in /nowhere/netns: is not a network namespace: no such file or directory"},
	{"not JSON", "{{{", plugin.CodeDecode, "network configuration: invalid character '{' "},
	{"nothing", "", plugin.CodeDecode, "network configuration: unexpected end of JSON input"},
}

// The namespace does not exist: whatever is refused with another code than 8 was
// refused before it was looked at, so nothing can have changed.
func TestBadInputGivesOneClearLineAndItsCodeBeforeTheNamespaceIsLookedAt(t *testing.T) {
	for _, tc := range refusals {
		t.Run(tc.name, func(t *testing.T) {
			args := &skel.CmdArgs{ContainerID: "c1", IfName: "eth0", Netns: noNamespace, StdinData: []byte(tc.stdin), Args: "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=cart"}
			o, err := plugin.Add(args, mesh.All())
			if err == nil {
				t.Fatalf("no error, result %s", o.Result)
			}
			got := plugin.CNIError(err)
			if got.Code != tc.code || !strings.Contains(got.Msg, tc.err) {
				t.Errorf("code %d: %s\nwant %d: %s", got.Code, got.Msg, tc.code, tc.err)
			}
			if strings.ContainsAny(got.Msg, "\n\r\x00") || len(got.Msg) > 500 || got.Details != "" {
				t.Errorf("not one line of readable length: %q, details %q", got.Msg, got.Details)
			}
		})
	}
}

func TestArgsThatAreNoPairsAreRefused(t *testing.T) {
	for in, want := range map[string]string{
		"odd":      `CNI_ARGS: "odd" is not a pair (want key=value;key=value)`,
		"a=b;=c":   `CNI_ARGS: "=c" is not a pair (want key=value;key=value)`,
		"a=b; odd": `CNI_ARGS: " odd" is not a pair (want key=value;key=value)`,
	} {
		_, err := plugin.Add(&skel.CmdArgs{Netns: noNamespace, StdinData: []byte(redirectOf("")), Args: in}, mesh.All())
		if err == nil || err.Error() != want || plugin.CNIError(err).Code != plugin.CodeEnvironment {
			t.Errorf("%q: %v, want %s", in, err, want)
		}
	}
}

func TestArgsNeedNoOrderAndMayHaveStrangers(t *testing.T) {
	for in, want := range map[string]string{
		"":                                   "",
		";;":                                 "",
		"IgnoreUnknown=1":                    "",
		"K8S_POD_NAME=cart":                  "",
		"K8S_POD_NAMESPACE=shop":             "",
		"K8S_POD_NAME=;K8S_POD_NAMESPACE=":   "",
		"K8S_POD_NAME=a;K8S_POD_NAMESPACE=b": "b/a",
		"X=a=b=c;K8S_POD_NAME=a;K8S_POD_NAMESPACE=b;Y=;":    "b/a",
		"K8S_POD_NAME=a;K8S_POD_NAMESPACE=b;K8S_POD_NAME=c": "b/c",
	} {
		ref, err := plugin.ParseArgs(in)
		if err != nil || ref.String() != want {
			t.Errorf("%q: %q, %v; want %q", in, ref, err, want)
		}
	}
}
