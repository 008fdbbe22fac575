package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/detour-cni/detour/plugin"
	"github.com/detour-cni/detour/plugin/mesh"
	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/redirecttest"
)

// example is a manifest of deploy/examples/validate, as far as it matters.
type example struct {
	Metadata struct {
		Annotations map[string]string `yaml:"annotations"`
	} `yaml:"metadata"`
	Spec struct {
		InitContainers []struct {
			Name          string   `yaml:"name"`
			Command       []string `yaml:"command"`
			RestartPolicy string   `yaml:"restartPolicy"`
			StartupProbe  struct {
				HTTPGet struct {
					Port uint `yaml:"port"`
				} `yaml:"httpGet"`
			} `yaml:"startupProbe"`
		} `yaml:"initContainers"`
	} `yaml:"spec"`
}

// Each example is tried: its annotations are decided on as ADD does it, the rules are put into a pod, and its
// own commands find nothing wrong there, and everything where there are none.
func TestTheExamples(t *testing.T) {
	files, err := filepath.Glob("../../deploy/examples/validate/*.yaml")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	redirecttest.NeedsKernel(t)
	path := program(t)
	meshes := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var e example
		if err := yaml.Unmarshal(text, &e); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		pod := plugin.Pod{Ref: plugin.PodRef{Namespace: "shop", Name: "cart"}, Annotations: e.Metadata.Annotations, Handed: true}
		d, err := plugin.Decide(plugin.DefaultOptions(mesh.All()), pod, mesh.All())
		if err != nil || !d.Redirect {
			t.Errorf("%s: %v, %s: want a redirect", file, err, d.Why)
			continue
		}
		name, _, _ := strings.Cut(d.Why, ":")
		meshes[name] = true
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			e.try(t, path, d.Spec)
		})
	}
	for _, d := range mesh.All() {
		if !meshes[d.Name] {
			t.Errorf("%s has no example", d.Name)
		}
	}
}

func (e example) try(t *testing.T, path string, s redirect.Spec) {
	t.Helper()
	inbound, app := e.Spec.InitContainers[0], e.Spec.InitContainers[1]
	for _, c := range [][]string{inbound.Command, app.Command} {
		if c[0] != "/detour-validate" {
			t.Fatalf("%v", c)
		}
	}
	good := redirecttest.NewPod(t)
	commit(t, good.NetNS, compiled(t, func(to *redirect.Spec) { *to = s }))
	want(t, good.NetNS, path, 65532, 0, "ok: ", app.Command[1:]...)
	bad := redirecttest.NewPod(t)
	want(t, bad.NetNS, path, 65532, exitBroken, "IPv4 outbound TCP", app.Command[1:]...)

	port := inbound.StartupProbe.HTTPGet.Port
	o, err := parseProbe(inbound.Command[2:], io.Discard)
	if err != nil || o.port != port || inbound.RestartPolicy != "Always" || o.inboundPort != uint(s.InboundPort) {
		t.Errorf("%v: probe of port %d, %v: want it at %d, and the inbound port %d", inbound.Command, port, err, o.port, s.InboundPort)
	}
	for pod, status := range map[*redirecttest.Pod]string{good: "HTTP/1.1 200 OK", bad: "HTTP/1.1 503 Service Unavailable"} {
		started(t, pod, 65532, "", path, inbound.Command[1:]...)
		if got := probe(t, pod, fmt.Sprintf("10.9.0.2:%d", port)); got != status {
			t.Errorf("the kubelet is answered %q, want %q", got, status)
		}
	}
}

// The policy of the chart gives each mesh the flags that its own redirect asks for.
func TestThePolicysFlags(t *testing.T) {
	text, err := os.ReadFile("../../deploy/chart/detour/templates/validate-policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range mesh.All() {
		s := d.Defaults()
		flags := []string{"--outbound-port", fmt.Sprint(s.OutboundPort)}
		if s.Loopback != redirect.Hairpin {
			flags = append(flags, "--loopback", string(s.Loopback))
		}
		var quoted []string
		for _, f := range flags {
			quoted = append(quoted, strconv.Quote(f))
		}
		if line := "[" + strings.Join(quoted, ", ") + "]"; !strings.Contains(string(text), line) {
			t.Errorf("%s: the policy has no %s", d.Name, line)
		}
	}
}
