package install

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

const meshed = `{"detour-cni.dev/redirect":"true"}`

// looking is an installer whose runs, and looks into the result cache, are the test's to make.
func looking(t *testing.T, n Node) (*Watched, *lockedLog) {
	t.Helper()
	log := &lockedLog{}
	return NewWatched(n, t.TempDir(), slog.New(slog.NewTextHandler(log, nil)), prometheus.NewRegistry()), log
}

// look is a run and a look, and gives how many pods run that slipped past, and how many ever did.
func (w *Watched) look() string {
	w.Ran(w.Node.Install())
	w.countSlipped()
	return fmt.Sprintf("%v of %v", testutil.ToFloat64(w.slipping), testutil.ToFloat64(w.slipped))
}

func TestWhoSlippedPast(t *testing.T) {
	const istio = `{"sidecar.istio.io/status":"{\"initContainers\":[\"istio-validation\"],\"containers\":[\"istio-proxy\"]}"}`
	for _, tc := range []struct {
		name, chain, annotations string
		want                     bool
	}{
		{"meshed", "portmap", meshed, true},
		{"by our chain", PluginType, meshed, false},
		{"of no mesh", "portmap", `{}`, false},
		{"with an annotation that ADD refuses", "portmap", `{"detour-cni.dev/redirect":"true","detour-cni.dev/outbound-port":"44e"}`, true},
		{"annotations that nobody handed over", "portmap", `[]`, false},
		{"by its mesh's own plugin", "istio-cni", istio, false},
		{"by another mesh's plugin", "linkerd-cni", istio, true},
	} {
		n := node(t, Spliced)
		write(t, n.ConfDir, "10-flannel.conflist", flannel)
		w, log := looking(t, n)
		write(t, w.Cache, "cbr0-a-eth0", cached("a", strings.Replace(flannel, "portmap", tc.chain, 1), tc.annotations))
		if w.look(); log.has("runs without its redirect", "shop/a") != tc.want {
			t.Errorf("%s: named: %t", tc.name, !tc.want)
		}
	}
}

// TestAPodThatSlippedPastIsCountedOnce: whatever becomes of the network and the options, until it is gone.
func TestAPodThatSlippedPastIsCountedOnce(t *testing.T) {
	n := node(t, Spliced)
	n.Config = filepath.Join(t.TempDir(), "detour.json")
	w, _ := looking(t, n)
	options := func(text string) { must(t, os.WriteFile(n.Config, []byte(text), 0o600)) }
	for _, step := range []struct {
		do         func()
		name, want string
	}{
		{name: "slipped past", want: "1 of 1", do: func() {
			options(`{}`)
			write(t, n.ConfDir, "10-flannel.conflist", flannel)
			write(t, w.Cache, "cbr0-a-eth0", cached("a", flannel, meshed))
		}},
		{name: "another network", want: "1 of 1", do: func() {
			write(t, n.ConfDir, "10-flannel.conflist", strings.Replace(flannel, "cbr0", "pods", 1))
		}},
		{name: "out of the mesh", want: "0 of 1", do: func() { options(`{"excludeNamespaces":["shop"]}`) }},
		{name: "in it again, and the network of before", want: "1 of 1", do: func() {
			options(`{}`)
			write(t, n.ConfDir, "10-flannel.conflist", flannel)
		}},
		{name: "gone", want: "0 of 1", do: func() { must(t, os.Remove(filepath.Join(w.Cache, "cbr0-a-eth0"))) }},
	} {
		step.do()
		if got := w.look(); got != step.want {
			t.Errorf("%s: %s slipped past, want %s", step.name, got, step.want)
		}
	}
}

// TestPodsThatSlippedPastWhenTheModeChanges: a drop-in is not in the cache, so nobody is said to have slipped past one; who
// did before it came still has.
func TestPodsThatSlippedPastWhenTheModeChanges(t *testing.T) {
	runtime := &word{version: "containerd://1.7.0"}
	w, log := looking(t, asking(t, runtime))
	write(t, w.Cache, "cbr0-a-eth0", cached("a", flannel, meshed))
	write(t, w.Cache, "cbr0-b-eth0", cached("b", flannel, meshed))
	slipped := []string{w.look()}
	runtime.version = "containerd://2.2.1"
	slipped = append(slipped, w.look())
	must(t, os.Remove(filepath.Join(w.Cache, "cbr0-a-eth0")))
	write(t, w.Cache, "cbr0-c-eth0", cached("c", flannel, meshed)) // by the drop-in
	slipped = append(slipped, w.look())
	runtime.version = "containerd://1.7.0"
	slipped = append(slipped, w.look())
	if got := strings.Join(slipped, ", "); got != "2 of 2, 2 of 2, 1 of 2, 1 of 2" || log.has("shop/c") {
		t.Errorf("slipped past: %s, named with them one with its redirect: %t", got, log.has("shop/c"))
	}
	w, log = looking(t, w.Node) // a start that finds another's drop-in
	runtime.version = "containerd://2.2.1"
	if _, err := w.Node.Install(); err != nil {
		t.Fatal(err)
	}
	write(t, w.Cache, "cbr0-c-eth0", cached("c", flannel, meshed))
	runtime.version = "containerd://1.7.0"
	if got := w.look(); got != "0 of 0" || log.has("shop/c") {
		t.Errorf("%s slipped past a drop-in", got)
	}
}

// TestPodsThatSlipPastADropInThatCannotBeWrittenAreNamed: the node is in splice mode for as long.
func TestPodsThatSlipPastADropInThatCannotBeWrittenAreNamed(t *testing.T) {
	n := node(t, Spliced)
	write(t, n.ConfDir, "10-flannel.conflist", flannel)
	w, log := looking(t, n)
	w.look()
	w.Node.Mode = DropIn
	write(t, n.ConfDir, "cbr0", "a file where the network's directory goes")
	write(t, n.ConfDir, "10-flannel.conflist", flannel) // its writer has no entry of ours
	w.look()
	write(t, w.Cache, "cbr0-a-eth0", cached("a", flannel, meshed))
	if got := w.look(); got != "1 of 1" || !log.has("runs without its redirect", "shop/a") {
		t.Errorf("%s slipped past", got)
	}
}

func TestPodsThatSlipPastANodeThatCannotBeJoinedAreNamed(t *testing.T) {
	n := node(t, Spliced)
	write(t, n.ConfDir, "10-flannel.conflist", strings.Replace(flannel, "0.3.1", "1.2.0", 1))
	w, _ := looking(t, n) // a start: it has never joined
	write(t, w.Cache, "cbr0-a-eth0", cached("a", flannel, meshed))
	if got := w.look(); got != "1 of 1" {
		t.Errorf("%s slipped past", got)
	}
}

// TestPodsThatSlippedPastAreLookedForOnceTheNetworkIsKnown: not only when the runtime writes into its cache again.
func TestPodsThatSlippedPastAreLookedForOnceTheNetworkIsKnown(t *testing.T) {
	n := node(t, Spliced)
	cache := t.TempDir()
	write(t, cache, "cbr0-a-eth0", cached("a", flannel, meshed))
	_, log := watch(t, n, cache)
	await(t, resync/2, "said", func() bool { return log.has("waiting for the network plugin") })
	<-time.After(5 * settle) // the cache has been looked into
	write(t, n.ConfDir, "10-flannel.conflist", flannel)
	await(t, resync/2, "named", func() bool { return log.has("without us", "shop/a") })
}

func TestACacheThatCannotBeReadIsSaid(t *testing.T) {
	n := node(t, Spliced)
	write(t, n.ConfDir, "10-flannel.conflist", flannel)
	w, log := looking(t, n)
	w.Cache = filepath.Join(n.ConfDir, "10-flannel.conflist")
	if w.look(); !log.has("pods that slip past are not seen", "not a directory") {
		t.Error("nothing is said")
	}
}

// TestAFileOfTheCacheIsReadOnce: there may be thousands, and each pod that starts is reason to look.
func TestAFileOfTheCacheIsReadOnce(t *testing.T) {
	n := node(t, Spliced)
	write(t, n.ConfDir, "10-flannel.conflist", flannel)
	w, _ := looking(t, n)
	const files = 200
	for i := range files {
		write(t, w.Cache, fmt.Sprintf("cbr0-%d-eth0", i), cached("a", flannel, `{}`))
	}
	w.look()
	if each := testing.AllocsPerRun(1, w.countSlipped) / files; each > 20 { // reading one takes hundreds
		t.Errorf("%v allocations for each file that was read before", each)
	}
	write(t, w.Cache, "cbr0-1-eth0", cached("half", flannel, meshed)[:100])
	w.look()
	write(t, w.Cache, "cbr0-1-eth0", cached("whole", flannel, meshed))
	if got := w.look(); got != "1 of 1" {
		t.Errorf("a file that was half written: %s slipped past", got)
	}
}
