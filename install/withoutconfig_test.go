package install

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// withBadConfig is an installer that has joined, and then got options that cannot be used.
func withBadConfig(t *testing.T) (Node, *Watched, *lockedLog) {
	t.Helper()
	n := node(t, Spliced)
	n.Config = filepath.Join(t.TempDir(), "detour.json")
	must(t, os.WriteFile(n.Config, []byte(`{}`), 0o600))
	write(t, n.ConfDir, "10-flannel.conflist", flannel)
	w, log := watch(t, n, t.TempDir())
	within(t, "joined", func() bool { return w.Ready() == nil })
	must(t, os.WriteFile(n.Config, []byte(`{"overrides":"sometimes"}`), 0o600))
	within(t, "not ready", func() bool { return w.Ready() != nil && log.has("sometimes") })
	return n, w, log
}

func TestWithABadConfigTheBinaryIsPutRightAndTheChainIsLookedAt(t *testing.T) {
	n, w, log := withBadConfig(t)
	binary := filepath.Join(n.BinDir, PluginType)
	must(t, os.Remove(binary))
	within(t, "the binary gone", func() bool { return IsPlugin(binary) })
	within(t, "said", func() bool { return log.has("repaired the binary", "was=absent") })
	if inChain, drift := testutil.ToFloat64(w.inChain), w.drifts(); inChain != 1 || drift != driftConfig {
		t.Errorf("in the chain: %v, drift: %s", inChain, drift)
	}
	write(t, n.ConfDir, "10-flannel.conflist", flannel) // its writer has no entry of ours
	within(t, "no longer in the chain", func() bool {
		return testutil.ToFloat64(w.inChain) == 0 && w.drifts() == "entry config"
	})
	must(t, os.WriteFile(n.Config, []byte(`{}`), 0o600))
	within(t, "the next good one", func() bool {
		return w.Ready() == nil && testutil.ToFloat64(w.inChain) == 1 && w.drifts() == ""
	})
}

func TestAFightOverTheBinaryIsSeenWithABadConfig(t *testing.T) {
	n, w, _ := withBadConfig(t)
	await(t, 5*time.Second, "a fight", func() bool {
		_ = os.Remove(filepath.Join(n.BinDir, PluginType)) // not there again yet
		return testutil.ToFloat64(w.fights) == 1
	})
}

// TestWithABadConfigThereIsNoDowngrade has an entry that only the build which is there can read.
func TestWithABadConfigThereIsNoDowngrade(t *testing.T) {
	for entry, want := range map[string]BinaryState{
		`{"type":"detour-cni","detour":{}}`:               BinaryCurrent,
		`{"type":"detour-cni","detour":{"ofTomorrow":1}}`: BinaryOther,
	} {
		n := node(t, Spliced)
		n.Config = filepath.Join(t.TempDir(), "detour.json")
		must(t, os.WriteFile(n.Config, []byte(`{"overrides":"sometimes"}`), 0o600))
		write(t, n.ConfDir, "10-flannel.conflist", strings.Replace(flannel, "\n  ]", ", "+entry+"]", 1))
		text, err := os.ReadFile(n.Plugin)
		must(t, err)
		binary := filepath.Join(n.BinDir, PluginType)
		must(t, os.WriteFile(binary, append(text, "another build"...), 0o755))
		if _, err := n.Install(); err == nil || !strings.Contains(err.Error(), "sometimes") {
			t.Errorf("%v", err)
		}
		if got, err := LookBinary(binary, n.Plugin); err != nil || got != want {
			t.Errorf("%s: the binary is %s, %v, want %s", entry, got, err, want)
		}
	}
}

func TestHasUs(t *testing.T) {
	const ours = `{"type":"detour-cni","detour":{}}`
	spliced := strings.Replace(flannel, "\n  ]", ", "+ours+"]", 1)
	for name, tc := range map[string]struct {
		files   map[string]string
		runtime string
		want    bool
	}{
		"nothing":                       {nil, "", false},
		"a list":                        {map[string]string{"10-flannel.conflist": flannel}, "", false},
		"spliced":                       {map[string]string{"10-flannel.conflist": spliced}, "", true},
		"spliced, but not the first":    {map[string]string{"05-new.conflist": flannel, "10-flannel.conflist": spliced}, "", false},
		"behind a broken one":           {map[string]string{"05-new.conflist": "{", "10-flannel.conflist": spliced}, "containerd://2.1.0", false},
		"behind one that CRI-O skips":   {map[string]string{"05-new.conflist": "{", "10-flannel.conflist": spliced}, "cri-o://1.33.0", true},
		"dropped in":                    {map[string]string{"10-flannel.conflist": flannel, "cbr0/" + dropInName: ours}, "containerd://2.1.0", true},
		"dropped in where it is unread": {map[string]string{"10-flannel.conflist": flannel, "cbr0/" + dropInName: ours}, "containerd://2.0.0", false},
		"dropped into another network":  {map[string]string{"10-flannel.conflist": flannel, "other/" + dropInName: ours}, "containerd://2.1.0", false},
		"dropped in, inline only":       {map[string]string{"10-n.conflist": strings.Replace(flannel, "{", `{"loadOnlyInlinedPlugins":true,`, 1), "cbr0/" + dropInName: ours}, "containerd://2.1.0", false},
	} {
		dir := t.TempDir()
		for _, network := range []string{"cbr0", "other"} {
			must(t, os.Mkdir(filepath.Join(dir, network), 0o755))
		}
		for file, text := range tc.files {
			write(t, dir, file, text)
		}
		d, err := Look(dir)
		must(t, err)
		if got := d.hasUs(runtime(t, tc.runtime)); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}
