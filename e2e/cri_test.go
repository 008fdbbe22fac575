package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/detour-cni/detour/e2e/node"
)

// With its CRI socket the runtime's own word chooses the way into the chain, whatever the chart says;
// ready means that the runtime has loaded us; and pods are found without the result cache.
func TestTheRuntimeIsAskedOverItsSocket(t *testing.T) {
	asked, told, mode := "containerd 2.", "containerd://1.6.0", "drop-in"
	if knode.Flavour.Name == "containerd-1.6" {
		asked, told, mode = "containerd 1.6", "containerd://2.2.0", "splice"
	}
	install(t, "poolDefaults.criSocket="+node.Socket)
	helm(t, "upgrade", "detour", "../deploy/chart/detour", "--namespace", system, "--reuse-values", "--set", "poolDefaults.runtime="+told)
	ready(t)

	status := func() string {
		text, err := detour(t, "status", "--plugin", node.BinDir+"/detour-cni", "--runtime", told, "--cri-socket", node.Socket)
		if err != nil {
			t.Errorf("status: %v", err)
		}
		return text
	}
	for _, want := range []string{"runtime    " + asked, "mode       " + mode, "loaded     yes, with us in it"} {
		if text := status(); !strings.Contains(text, want) {
			t.Errorf("status lacks %q:\n%s", want, text)
		}
	}

	knode.Containerd.Stop() // while it is away nothing changes
	if err := knode.Containerd.Restart(); err != nil {
		t.Fatal(err)
	}
	until(t, time.Minute, "containerd is back", knode.RuntimeReady)
	ready(t)
	if text := status(); !strings.Contains(text, mode) || !strings.Contains(text, "as wanted") {
		t.Errorf("after a restart of the runtime:\n%s", text)
	}

	namespace(t, "shop", "restricted")
	create(t, manifest(t, "istio.yaml", "shop", "asked-for"))
	pod := running(t, "shop", "asked-for")
	id := strings.TrimPrefix(pod.Status.ContainerStatuses[0].ContainerID, "containerd://")
	for _, target := range []string{"shop/asked-for", id[:13]} {
		text, err := detour(t, "inspect", target, "--cache", "/nowhere")
		if err != nil || !strings.Contains(text, "shop/asked-for\n") || !strings.Contains(text, "by the runtime ("+node.Socket+")") || !strings.Contains(text, "istio") {
			t.Errorf("inspect %s: %v\n%s", target, err, text)
		}
	}
	if text, err := detour(t, "inspect", "--all", "--cache", "/nowhere", "-o", "json"); err != nil || !strings.Contains(text, `"shop/asked-for"`) || strings.Contains(text, `"detour-system/`) {
		t.Errorf("inspect --all: %v, want shop/asked-for, and no pod of the node's own network:\n%s", err, text)
	}
}
