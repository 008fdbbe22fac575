package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/detour-cni/detour/plugin"
)

// allPods are those below, by name.
func allPods(t *testing.T) map[string]plugin.Pod {
	t.Helper()
	pods, examples := meshPods(t), examplePods(t)
	maps.Copy(pods, examples)
	maps.Copy(pods, optOuts(t, examples))
	return pods
}

// meshPods are the pods of testdata/meshes. Those of Nomad never meet an API server; a runtime that hands
// over no annotations says nothing of the pod's.
func meshPods(t *testing.T) map[string]plugin.Pod {
	t.Helper()
	files, err := filepath.Glob("../../testdata/meshes/*/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	pods := map[string]plugin.Pod{}
	for _, file := range files {
		a, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(a.Files, func(f txtar.File) bool { return f.Name == "pod.json" })
		if i < 0 {
			t.Fatalf("%s: no pod.json", file)
		}
		var pod struct {
			Namespace, Name string
			Annotations     map[string]string
		}
		if err := json.Unmarshal(a.Files[i].Data, &pod); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if pod.Name != "" && pod.Annotations != nil {
			name := filepath.Base(filepath.Dir(file)) + "/" + strings.TrimSuffix(filepath.Base(file), ".txtar")
			pods[name] = podOf(pod.Namespace, pod.Annotations)
		}
	}
	return pods
}

func podOf(namespace string, annotations map[string]string) plugin.Pod {
	return plugin.Pod{Ref: plugin.PodRef{Namespace: namespace, Name: "cart"}, Annotations: annotations, Handed: true}
}

// examplePods are those of deploy/examples/validate.
func examplePods(t *testing.T) map[string]plugin.Pod {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(deploy, "examples", "validate", "*.yaml"))
	if err != nil || len(files) < 8 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	pods := map[string]plugin.Pod{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var o unstructured.Unstructured
		if err := yaml.Unmarshal(text, &o.Object); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		pods["example/"+filepath.Base(file)] = podOf("shop", o.GetAnnotations())
	}
	return pods
}

// sayings are values that testdata/meshes has not, most of them ways to say no: each is laid over a pod
// that its mesh redirects.
func sayings() map[string][]map[string]string {
	status := func(text string) map[string]string { return map[string]string{"sidecar.istio.io/status": text} }
	words := func(annotation string, values ...string) (all []map[string]string) {
		for _, v := range values {
			all = append(all, map[string]string{annotation: v})
		}
		return all
	}
	return map[string][]map[string]string{
		"istio": slices.Concat(
			words("sidecar.istio.io/inject", "", "y", "Yes", "TRUE", "on", "false", "False", "no", "off", "disabled", "1", " true"),
			words("inject.istio.io/templates", "", "sidecar", "sidecar,gateway", " grpc-agent ,sidecar", "my-gateway", "gateway-2,sidecar", "gateway, spire"),
			words("sidecar.istio.io/interceptionMode", "NONE", " NONE ", "none", "TPROXY"),
			[]map[string]string{
				status(`{"containers": ["istio-proxy"]}`), status("{\n  \"initContainers\": [\n    \"istio-validation\"\n  ],\n  \"containers\": [\n    \"istio-proxy\"\n  ]\n}"),
				status(`{"initContainers":["istio-validation","istio-init"],"containers":["istio-proxy"]}`), status("{\"initContainers\": [\n\"istio-init\"\n]}"),
				status(`{"containers":["istio-init-2","istio-proxy-2"],"imagePullSecrets":["istio-proxy"]}`), status(`{"containers":[],"volumes":["istio-proxy"]}`),
				status(`{"containers":["istio-proxy"],"volumes":["istio-init"]}`), status(`{"initContainers":[],"containers":["istio-proxy","istio-init"]}`), status(""), status("{}"), status("null"),
			}),
		"linkerd": slices.Concat(words("linkerd.io/inject", "", "enabled", "ingress", "disabled", "Disabled", "false"), words("linkerd.io/proxy-version", "")),
		"consul": slices.Concat(words("consul.hashicorp.com/transparent-proxy-status", ""), words("consul.hashicorp.com/redirect-traffic-config", "", "{}"),
			words("consul.hashicorp.com/connect-inject-status", ""), []map[string]string{{"consul.hashicorp.com/connect-inject-status": "", "consul.hashicorp.com/mesh-inject-status": "injected"}}),
		"kuma": slices.Concat(words("kuma.io/sidecar-injected", "", "false", "True", "enabled", "yes"),
			words("traffic.kuma.io/transparent-proxy-config", "", "{}", "null", `{"cniMode": true}`, `{"cniMode":true,"verbose":false}`, "{verbose: false, cniMode: true}", `{"verbose":false,"cniMode":"true"}`,
				"verbose: false\ncniMode: true # the injector's\n", "cniMode: 'true'\n", "\"cniMode\": true\r\n", "cniMode:   true\nredirect: {}\n", "---\ncniMode: true\n",
				"cniMode: false\n", "cniMode: \"false\"\n", "cniMode: True\n", "cniMode: yes\n", "cniMode: trueish\n", "cniMode: true-ish\n", "cniMode:\n", "# cniMode: true\nverbose: true\n", "verbose: true # cniMode: true\n", "nocniMode: true\n", "cniModes: true\n", `{"cniMode": false, "verbose": true}`)),
		"appmesh": slices.Concat(words("appmesh.k8s.aws/sidecarInjectorWebhook", "", "disabled"), words("appmesh.k8s.aws/appmeshCNI", "", "disabled", "true"), words("appmesh.k8s.aws/proxyEgressPort", "")),
		"osm":     words("openservicemesh.io/sidecar-injection", "enabled", "Yes", "TRUE", "disabled", "No", "FALSE", "", "on"),
		"detour":  words("detour-cni.dev/redirect", "true", "false", "False", "yes", ""),
	}
}

// optOuts lays the sayings over the examples.
func optOuts(t *testing.T, examples map[string]plugin.Pod) map[string]plugin.Pod {
	t.Helper()
	pods := map[string]plugin.Pod{"no annotations": podOf("shop", nil)}
	for name, all := range sayings() {
		example, ok := examples["example/"+name+".yaml"]
		if !ok {
			t.Fatalf("no example of %s", name)
		}
		for _, said := range all {
			annotations := maps.Clone(example.Annotations)
			maps.Copy(annotations, said)
			pods[fmt.Sprintf("%s %q", name, said)] = podOf("shop", annotations)
			pods[fmt.Sprintf("only %q", said)] = podOf("shop", said)
		}
	}
	for _, excluded := range []string{"kube-system", "detour-system"} {
		pods["in "+excluded] = podOf(excluded, examples["example/istio.yaml"].Annotations)
	}
	return pods
}
