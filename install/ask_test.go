package install

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/detour-cni/detour/install/cri"
)

// word is what a runtime says; without a version it does not answer. Package cri is tested over a real socket.
type word struct {
	version string
	loaded  []cri.Chain
	slow    time.Duration // how long it thinks about its version
}

var errSilent = errors.New("CRI socket /run/x.sock: connect: connection refused")

func (w *word) Version(context.Context) (string, error) {
	<-time.After(w.slow)
	if w.version == "" {
		return "", errSilent
	}
	return w.version, nil
}

func (w *word) Loaded(context.Context) (cri.Loaded, error) {
	switch {
	case w.version == "":
		return cri.Loaded{}, errSilent
	case w.loaded == nil:
		return cri.Loaded{}, cri.ErrNotTold
	}
	return cri.Loaded{ConfDir: "/etc/cni/net.d", Chains: w.loaded}, nil
}

func asking(t *testing.T, w *word) Node {
	t.Helper()
	n := node(t, Auto)
	n.CRI = &CRI{Asker: w}
	write(t, n.ConfDir, "10-flannel.conflist", flannel)
	return n
}

// The mode follows what the runtime says of itself. While it restarts it says nothing, and nothing changes.
func TestTheRuntimesOwnWordChoosesTheMode(t *testing.T) {
	w := &word{}
	n := asking(t, w)
	n.Runtime = Runtime{Name: "containerd", Major: 1, Minor: 7} // said by the chart, on a node that was upgraded since
	for _, step := range []struct {
		version, warning string
		want             Mode
	}{
		{version: "", want: Spliced, warning: "CRI socket /run/x.sock: connect: connection refused: taken to be containerd 1.7"},
		{version: "containerd://1.6.20~ds1", want: Spliced},
		{version: "containerd://v2.2.1", want: DropIn},
		{version: "", want: DropIn, warning: "taken to be containerd 2.2"},
		{version: "what a version", want: DropIn, warning: `"what a version" is not a runtime's version`},
		{version: "containerd://1.7.0", want: Spliced},
	} {
		w.version = step.version
		r, err := n.Install()
		if err != nil {
			t.Fatal(err)
		}
		warnings := strings.Join(r.Plan.Warnings, "\n")
		if r.Plan.Mode != step.want || (warnings == "") != (step.warning == "") || !strings.Contains(warnings, step.warning) {
			t.Errorf("runtime %q: mode %s, warnings %q, want %s, %q", step.version, r.Plan.Mode, warnings, step.want, step.warning)
		}
		if dir, err := Look(n.ConfDir); err != nil || dir.JoinedAs() != step.want {
			t.Errorf("runtime %q: joined as %s, %v, want %s", step.version, dir.JoinedAs(), err, step.want)
		}
	}
}

// Ready is what the runtime has in memory, where it tells.
func TestReadyIsWhatTheRuntimeHasLoaded(t *testing.T) {
	w := &word{version: "containerd://2.2.1"}
	n := asking(t, w)
	log := &lockedLog{}
	watched := NewWatched(n, "", slog.New(slog.NewTextHandler(log, nil)), prometheus.NewRegistry())
	watched.Ran(n.Install())
	for _, tc := range []struct {
		name, err string
		word      word
	}{
		{name: "it does not answer", word: word{}},
		{name: "it does not tell", word: word{version: "cri-o://1.33.0"}},
		{name: "it has us", word: word{version: "containerd://2.2.1", loaded: []cri.Chain{{Network: "cbr0", Plugins: []string{"flannel", "portmap", PluginType}}}}},
		{name: "it has the list of before", word: word{version: "containerd://2.2.1", loaded: []cri.Chain{{Network: "cbr0", Plugins: []string{"flannel", "portmap"}}}},
			err: `the runtime has not loaded us: of network "cbr0" it has flannel, portmap in memory (it reads /etc/cni/net.d)`},
		{name: "it reads another directory", word: word{version: "containerd://2.2.1", loaded: []cri.Chain{{Network: "cni-loopback"}}},
			err: `of network "cbr0" it has nothing of that name in memory`},
	} {
		*w = tc.word
		err := watched.Ready()
		if log.has("level=ERROR", "not loaded", "in memory") != (tc.err != "") {
			t.Errorf("%s: the log has why: %t", tc.name, tc.err == "")
		}
		if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s: ready: %v, want %q", tc.name, err, tc.err)
		}
		log.text.Reset()
		_ = watched.Ready() // said once, above
		if log.has("loaded") {
			t.Errorf("%s: said again", tc.name)
		}
		*w = word{}
		_ = watched.Ready()
		if log.has("ready again") != (tc.err != "") {
			t.Errorf("%s: the end of it: said %t", tc.name, tc.err == "")
		}
	}
}

func TestJoinedAs(t *testing.T) {
	const ours = `{"type":"detour-cni","detour":{}}`
	for _, tc := range []struct {
		files map[string]string
		want  Mode
	}{
		{map[string]string{"10-flannel.conflist": flannel}, Auto},
		{map[string]string{"10-flannel.conflist": flannel, "cbr0/" + dropInName: ours}, DropIn},
		{map[string]string{"10-flannel.conflist": strings.Replace(flannel, "\n  ]", ", "+ours+"]", 1)}, Spliced},
		{map[string]string{"10-flannel.conflist": flannel, "10-flannel" + ownedSuffix: flannel}, Owned},
		{map[string]string{"cbr0/" + dropInName: ours, "10-flannel" + ownedSuffix: flannel}, Auto},
	} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "cbr0"), 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range tc.files {
			write(t, dir, name, text)
		}
		if d, err := Look(dir); err != nil || d.JoinedAs() != tc.want {
			t.Errorf("%v: %s, %v, want %s", tc.files, d.JoinedAs(), err, tc.want)
		}
	}
}
