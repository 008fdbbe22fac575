package plugin_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/detour-cni/detour/plugin"
	"github.com/detour-cni/detour/plugin/mesh"
)

// FuzzNetConf gives stdin any bytes: what is read is the same when it is read from
// its own JSON again, and what is refused has a code and one line.
func FuzzNetConf(f *testing.F) {
	for _, seed := range []string{
		``, `null`, `{}`, `[]`, `{{{`, "{\"name\":\"\x00\"}", `{"cniVersion":"1.1.0","name":"pods","type":"detour-cni"}`,
		`{"prevResult":{"cniVersion":"1.0.0","interfaces":[{"name":"eth0"}]},"detour":{"pods":"all","redirect":{"outboundPort":15001}}}`,
		`{"detour":{"pods":"meshed","meshes":["istio"],"excludeNamespaces":["kube-system"],"overrides":true}}`,
		`{"detour":{"redirect":{"outboundPort":0,"excludeOutboundCIDRs":["10.0.0.0/33"]}}}`, `{"detour":{"x":1}}`, `{"detour":null,"detour":{}}`,
		`{"runtimeConfig":{"io.kubernetes.cri.pod-annotations":{"a":"b"}}}`, `{"runtimeConfig":{"io.kubernetes.cri.pod-annotations":null}}`,
		`{"runtimeConfig":{"io.kubernetes.cri.pod-annotations":{"a":1}}}`, `{"runtimeConfig":{"io.kubernetes.cri.pod-annotations":["a"]}}`,
		strings.Repeat("[", 20_000),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, stdin []byte) {
		conf, err := plugin.ParseNetConf(stdin, mesh.All())
		if err != nil {
			oneLine(t, err, plugin.CodeConfig, plugin.CodeDecode)
			return
		}
		if conf.CNIVersion == "" {
			t.Fatal("no version")
		}
		if conf.PrevResult != nil && !json.Valid(conf.PrevResult) {
			t.Fatalf("a prevResult that is no JSON: %q", conf.PrevResult)
		}
		if !conf.Handed && len(conf.Annotations) > 0 {
			t.Fatal("annotations that nobody handed over")
		}
	})
}

// FuzzArgs gives CNI_ARGS any text.
func FuzzArgs(f *testing.F) {
	for _, seed := range []string{
		"", ";", "=", "a", "a=", "=b", "a=b=c", "a=1;a=2", " ; ", "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=cart;K8S_POD_UID=1",
		"K8S_POD_NAME=cart", "\x00=\x00", "\xff", strings.Repeat(";", 1000), `CONSUL_IPTABLES_CONFIG={"ProxyUserID":"5995"}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ref, err := plugin.ParseArgs(text)
		if err != nil {
			oneLine(t, err, plugin.CodeEnvironment)
			return
		}
		for key, value := range ref.Args {
			if key == "" || !strings.Contains(text, key+"="+value) {
				t.Fatalf("%q=%q does not stand in %q", key, value, text)
			}
		}
		if ref.IsPod() != (ref.Args["K8S_POD_NAMESPACE"] != "" && ref.Args["K8S_POD_NAME"] != "") {
			t.Fatalf("a pod or not: %+v", ref)
		}
	})
}

// oneLine wants an error of one line that a log takes, with one of the codes.
func oneLine(t *testing.T, err error, codes ...uint) {
	t.Helper()
	e := plugin.CNIError(err)
	known := false
	for _, c := range codes {
		known = known || e.Code == c
	}
	if !known {
		t.Fatalf("code %d: %v", e.Code, err)
	}
	if strings.ContainsFunc(e.Msg, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		t.Fatalf("control characters: %q", e.Msg)
	}
	if len(e.Msg) > 4096 {
		t.Fatalf("an error of %d bytes", len(e.Msg))
	}
}
