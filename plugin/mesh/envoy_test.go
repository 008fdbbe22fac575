package mesh_test

import (
	"testing"

	"github.com/detour-cni/detour/plugin"
	"github.com/detour-cni/detour/plugin/mesh"
	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/redirecttest"
)

// TestIstioIsTheEnvoyDefaults: a pod of Istio's with nothing but the injector's status
// gets the redirect of "pods": "all", over every packet of every table.
func TestIstioIsTheEnvoyDefaults(t *testing.T) {
	pod := plugin.Pod{
		Ref:         plugin.PodRef{Namespace: "shop", Name: "cart-0"},
		Annotations: map[string]string{"sidecar.istio.io/status": `{"initContainers":["istio-validation"],"containers":["istio-proxy"]}`},
		Handed:      true,
	}
	d, err := plugin.Decide(plugin.DefaultOptions(mesh.All()), pod, mesh.All())
	if err != nil || !d.Redirect || d.Dialect != "istio" {
		t.Fatalf("%+v, %v", d, err)
	}
	istio, err := redirect.Compile(d.Spec)
	if err != nil {
		t.Fatal(err)
	}
	envoy, err := redirect.Compile(redirect.EnvoyDefaults())
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for _, c := range redirecttest.Cases(t) {
		for _, row := range c.Rows {
			rows++
			got, want := redirect.Trace(istio, row.Packet), redirect.Trace(envoy, row.Packet)
			if !got.Same(want) {
				t.Errorf("%s: %v: istio %s %d, envoy %s %d", c.Name, row, got.Verdict, got.Port, want.Verdict, want.Port)
			}
		}
	}
	if rows < 1000 {
		t.Errorf("%d rows compared", rows)
	}
}
