package install

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

const (
	goodConfig = `{"logLevel":"debug"}`
	badConfig  = `{"overrides":"sometimes"}`
)

func withConfig(t *testing.T, mode Mode, text string) Node {
	t.Helper()
	n := node(t, mode)
	n.Config = filepath.Join(t.TempDir(), "detour.json")
	must(t, os.WriteFile(n.Config, []byte(text), 0o600))
	return n
}

// withBadConfig is an installer that has joined, and then got options that cannot be used.
func withBadConfig(t *testing.T, mode Mode) (Node, *Watched, *lockedLog) {
	t.Helper()
	n := withConfig(t, mode, goodConfig)
	write(t, n.ConfDir, "10-flannel.conflist", flannel)
	w, log := watch(t, n, t.TempDir())
	within(t, "joined", func() bool { return w.Ready() == nil })
	must(t, os.WriteFile(n.Config, []byte(badConfig), 0o600))
	within(t, "not ready", func() bool { return w.Ready() != nil && log.has("sometimes") })
	return n, w, log
}

func TestWithABadConfigTheNodeGoesOnWithTheOptionsOfBefore(t *testing.T) {
	n, w, log := withBadConfig(t, Spliced)
	repairs(t, n, w, log)
	must(t, os.WriteFile(n.Config, []byte(`{}`), 0o600))
	within(t, "the next good one", func() bool {
		return w.Ready() == nil && testutil.ToFloat64(w.inChain) == 1 && w.drifts() == ""
	})
}

// repairs undoes what an installer with a bad Config has put there, and wants it put right.
func repairs(t *testing.T, n Node, w *Watched, log *lockedLog) {
	t.Helper()
	binary, primary := filepath.Join(n.BinDir, PluginType), filepath.Join(n.ConfDir, "10-flannel.conflist")
	must(t, os.Remove(binary))
	fastest := within(t, "the binary gone", func() bool { return IsPlugin(binary) })
	within(t, "said", func() bool { return log.has("repaired the binary", "was=absent") })
	write(t, n.ConfDir, "10-flannel.conflist", flannel) // its writer has no entry of ours
	fastest = min(fastest, within(t, "our entry gone", inFile(primary, `"detour":`+goodConfig)))
	if fastest > promptly { // not a retry's doing
		t.Errorf("what is undone is put right in %s at best, want %s", fastest, promptly)
	}
	within(t, "said", func() bool { return log.has("repaired", "file="+primary) })
	within(t, "the state of the config", func() bool {
		return testutil.ToFloat64(w.inChain) == 1 && w.drifts() == driftConfig
	})
	if w.Ready() == nil {
		t.Error("ready")
	}
}

// turnedBad is a node that has joined, and was given options then that cannot be used; before is its conf dir.
func turnedBad(t *testing.T, mode Mode) (n Node, before string) {
	t.Helper()
	n = withConfig(t, mode, goodConfig)
	write(t, n.ConfDir, "10-flannel.conflist", flannel)
	_, err := n.Install()
	must(t, err)
	before = tree(t, n.ConfDir)
	must(t, os.WriteFile(n.Config, []byte(badConfig), 0o600))
	return n, before
}

// TestAStartWithABadConfigGoesOnWithTheEntryThatIsThere: a rollout that brings one has a new pod.
func TestAStartWithABadConfigGoesOnWithTheEntryThatIsThere(t *testing.T) {
	n, before := turnedBad(t, Spliced)
	w, log := watch(t, n, t.TempDir())
	within(t, "the state of the config", func() bool {
		return testutil.ToFloat64(w.inChain) == 1 && w.drifts() == driftConfig
	})
	if diff := cmp.Diff(before, tree(t, n.ConfDir)); diff != "" {
		t.Errorf("a bad config changed the node (-before +after):\n%s", diff)
	}
	repairs(t, n, w, log)
}

// TestAStartWithABadConfigJoinsNothing where nobody knows the options of before.
func TestAStartWithABadConfigJoinsNothing(t *testing.T) {
	const ours = `{"type":"detour-cni","detour":{}}`
	for name, files := range map[string]map[string]string{
		"none": {"10-flannel.conflist": flannel},
		"two that differ": {"10-flannel.conflist": strings.Replace(flannel, "\n  ]", ", "+ours+"]", 1),
			"20-flannel.conflist": strings.Replace(flannel, "\n  ]", ", "+strings.Replace(ours, "{}", goodConfig, 1)+"]", 1)},
	} {
		n := withConfig(t, Spliced, badConfig)
		for file, text := range files {
			write(t, n.ConfDir, file, text)
		}
		before := tree(t, n.ConfDir)
		r, err := n.Install()
		if err == nil || !strings.Contains(err.Error(), "sometimes") || r.Stands != (len(files) > 1) {
			t.Errorf("%s: %v, in the chain: %t", name, err, r.Stands)
		}
		if diff := cmp.Diff(before, tree(t, n.ConfDir)); diff != "" {
			t.Errorf("%s (-before +after):\n%s", name, diff)
		}
		if !IsPlugin(filepath.Join(n.BinDir, PluginType)) {
			t.Errorf("%s: no binary", name)
		}
	}
}

func TestAFightOverTheEntryIsSeenWithABadConfig(t *testing.T) {
	n, w, _ := withBadConfig(t, Spliced)
	within(t, "a fight", func() bool {
		write(t, n.ConfDir, "10-flannel.conflist", flannel)
		return testutil.ToFloat64(w.fights) == 1
	})
}

// TestWhatElseIsWrongIsSaidBesideABadConfig: the node has no network either.
func TestWhatElseIsWrongIsSaidBesideABadConfig(t *testing.T) {
	n, w, _ := withBadConfig(t, Spliced)
	must(t, os.Remove(filepath.Join(n.ConfDir, "10-flannel.conflist")))
	within(t, "both", func() bool {
		err := w.Ready()
		return err != nil && strings.Contains(err.Error(), "sometimes") && errors.Is(err, ErrNoPrimary)
	})
}

func TestAFightOverTheBinaryIsSeenWithABadConfig(t *testing.T) {
	n, w, _ := withBadConfig(t, Spliced)
	within(t, "a fight", func() bool {
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
		n := withConfig(t, Spliced, badConfig)
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
		"dropped in, and cut off":       {map[string]string{"10-flannel.conflist": flannel, "cbr0/" + dropInName: ours[:9]}, "containerd://2.1.0", false},
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
