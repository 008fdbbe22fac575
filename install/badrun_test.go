package install

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestOnlyWhatWasDoneIsSaidWithABadConfig: a run that failed, or that left the chain, repaired nothing.
func TestOnlyWhatWasDoneIsSaidWithABadConfig(t *testing.T) {
	for name, tc := range map[string]struct {
		undo        func(t *testing.T, n Node)
		said, drift string
	}{
		"the entry cannot be written": {func(t *testing.T, n Node) {
			must(t, os.RemoveAll(filepath.Join(n.ConfDir, "cbr0")))
			write(t, n.ConfDir, "cbr0", "a file where the network's directory goes")
		}, "not a directory", "entry config"},
		"the network's version is not spoken": {func(t *testing.T, n Node) {
			write(t, n.ConfDir, "10-flannel.conflist", strings.Replace(flannel, "0.3.1", "9.9.9", 1))
		}, "left the chain", "entry config"},
		"the first file is broken, the binary gone": {func(t *testing.T, n Node) {
			write(t, n.ConfDir, "05-new.conflist", "{")
			must(t, os.Remove(filepath.Join(n.BinDir, PluginType)))
		}, "is broken", "entry binary config"},
	} {
		t.Run(name, func(t *testing.T) {
			n, w, log := withBadConfig(t, DropIn)
			tc.undo(t, n)
			within(t, "said", func() bool { return log.has(tc.said) })
			await(t, 5*time.Second, "drift", func() bool { return w.drifts() == tc.drift })
			if log.has("msg=repaired") || log.has("repaired the binary") {
				t.Error("said to be repaired")
			}
			for _, what := range []string{"entry", "binary"} {
				if n := testutil.ToFloat64(w.repairs.WithLabelValues(what)); n != 0 {
					t.Errorf("%v repairs of the %s", n, what)
				}
			}
		})
	}
}

func TestTheErrorOfABadConfigIsAlsoWhatElseWentWrong(t *testing.T) {
	alone := error(ConfigError{Path: "detour.json", Err: fs.ErrNotExist})
	both := beside(alone, ErrNoPrimary)
	if !errors.Is(both, fs.ErrNotExist) || !errors.Is(both, ErrNoPrimary) || errors.Is(alone, ErrNoPrimary) {
		t.Errorf("%v, %v", alone, both)
	}
	for err, did := range map[error]bool{nil: true, alone: true, both: true, beside(alone, ErrMoved): false, ErrNoPrimary: true, ErrMoved: false} {
		if Did(err) != did {
			t.Errorf("%v: did it all: %t", err, !did)
		}
	}
}

// TestAnEntryThatNobodyCanReadIsPutRightWithABadConfig has our own binary beside it: it is no newer one's.
func TestAnEntryThatNobodyCanReadIsPutRightWithABadConfig(t *testing.T) {
	for mode, file := range map[Mode]string{Spliced: "10-flannel.conflist", DropIn: filepath.Join("cbr0", dropInName)} {
		for name, spoil := range map[string]func(string) string{
			"with other words than wanted": func(text string) string { return strings.Replace(text, "debug", "loud", 1) },
			"broken: not JSON":             func(string) string { return "" },
		} {
			if mode == Spliced && name == "broken: not JSON" {
				continue // it is the primary's, and broken
			}
			t.Run(string(mode)+" "+name, func(t *testing.T) {
				n, w, log := withBadConfig(t, mode)
				text, err := os.ReadFile(filepath.Join(n.ConfDir, file))
				must(t, err)
				write(t, n.ConfDir, file, spoil(string(text)))
				within(t, "put right", inFile(filepath.Join(n.ConfDir, file), `"detour":`+goodConfig))
				within(t, "said", func() bool { return log.has("msg=repaired", name) })
				within(t, "the state of the config", func() bool { return w.drifts() == driftConfig })
			})
		}
	}
}

// TestAnEntryThatNobodyCanReadIsNamed where nobody knows the options of before either.
func TestAnEntryThatNobodyCanReadIsNamed(t *testing.T) {
	n := withConfig(t, Spliced, badConfig)
	write(t, n.ConfDir, "10-flannel.conflist", strings.Replace(flannel, "\n  ]", `, {"type":"detour-cni","detour":{"logLevel":"loud"}}]`, 1))
	_, err := InstallBinary(n.BinDir, n.Plugin)
	must(t, err)
	before := tree(t, n.ConfDir)
	w, log := watch(t, n, t.TempDir())
	within(t, "said", func() bool { return log.has("not installed", "sometimes", "the entry that is in the chain", "loud") })
	within(t, "drift", func() bool { return w.drifts() == "entry config" && testutil.ToFloat64(w.inChain) == 0 })
	if now := tree(t, n.ConfDir); now != before {
		t.Error(now)
	}
}

// TestAnEmptyConfigIsABadOne: who writes it in place empties it first, and a full disk leaves it so.
func TestAnEmptyConfigIsABadOne(t *testing.T) {
	n, w, log := withBadConfig(t, Spliced)
	must(t, os.WriteFile(n.Config, []byte("\n"), 0o600))
	within(t, "said", func() bool { return log.has("empty (want an object") })
	if !inFile(filepath.Join(n.ConfDir, "10-flannel.conflist"), `"detour":`+goodConfig)() || w.Ready() == nil {
		t.Errorf("its options are other ones, or it is ready: %v", w.Ready())
	}
}

// TestABadConfigKeepsTheWayIntoTheChain has another one asked for: a hand that mistypes the options changes nothing.
func TestABadConfigKeepsTheWayIntoTheChain(t *testing.T) {
	const single = `{"name":"cbr0","cniVersion":"0.3.1","type":"bridge"}`
	for _, was := range []Mode{DropIn, Spliced, Owned} {
		for _, asked := range []Mode{Auto, DropIn, Spliced, Owned} {
			n, before := turnedBad(t, was)
			n.Mode = asked
			if _, err := n.Install(); !Did(err) || tree(t, n.ConfDir) != before {
				t.Errorf("%s, asked for %s: %v\n%s", was, asked, err, tree(t, n.ConfDir))
			}
			if asked == Auto && was != Owned { // it is no way into the chain any more
				write(t, n.ConfDir, "05-new.conf", single)
				if r, err := n.Install(); !Did(err) || !r.Stands || r.Plan.Mode != Owned {
					t.Errorf("%s, with a single plugin now: %s, in the chain %t, %v", was, r.Plan.Mode, r.Stands, err)
				}
			}
		}
	}
}

// TestOtherOptionsAreNoRepair: nobody else undid what they change.
func TestOtherOptionsAreNoRepair(t *testing.T) {
	n, w, log := withBadConfig(t, Spliced)
	must(t, os.WriteFile(n.Config, []byte(`{}`), 0o600))
	within(t, "ready", func() bool { return w.Ready() == nil })
	if n := testutil.ToFloat64(w.repairs.WithLabelValues("entry")); n != 0 || log.has("msg=repaired") {
		t.Errorf("%v repairs", n)
	}
	write(t, n.ConfDir, "10-flannel.conflist", flannel)
	within(t, "a repair", func() bool { return testutil.ToFloat64(w.repairs.WithLabelValues("entry")) == 1 })
}

// TestOtherOptionsThatCameLateAreNoRepair: the first runs with them failed.
func TestOtherOptionsThatCameLateAreNoRepair(t *testing.T) {
	n := withConfig(t, Spliced, goodConfig)
	write(t, n.ConfDir, "10-flannel.conflist", flannel)
	w, log := looking(t, n)
	w.look()
	must(t, os.WriteFile(n.Config, []byte(`{}`), 0o600))
	r, err := w.Node.Install()
	must(t, err)
	w.Ran(r, errors.New("no space left on device"))
	w.Ran(r, nil)
	if n := testutil.ToFloat64(w.repairs.WithLabelValues("entry")); n != 0 || log.has("msg=repaired") || len(r.Plan.Steps) != 1 {
		t.Errorf("%v repairs", n)
	}
}

// TestTheSameFailureIsSaidOnce, although a temporary file has another name each time.
func TestTheSameFailureIsSaidOnce(t *testing.T) {
	log := &lockedLog{}
	w := NewWatched(Node{}, "", slog.New(slog.NewTextHandler(log, nil)), prometheus.NewRegistry())
	for _, name := range []string{".detour-1.tmp", ".detour-22.tmp"} {
		w.Ran(Report{}, &fs.PathError{Op: "open", Path: "/etc/cni/net.d/" + name, Err: fs.ErrPermission})
	}
	if log.has("detour-22") || !log.has("detour-1.tmp") {
		t.Error("said twice, or not at all")
	}
	bad := ConfigError{Path: "detour.json", Err: fs.ErrNotExist}
	w.Ran(Report{Stands: true}, bad)
	w.Ran(Report{}, bad) // the same is wrong, and the node is out of the chain now
	if !log.has("those of before", "detour.json") || !log.has("not installed", "detour.json") {
		t.Error("what became of the node is not said")
	}
}

// TestARunThatCouldNotLookChangesNoMetric: another of us has the lock.
func TestARunThatCouldNotLookChangesNoMetric(t *testing.T) {
	n, w, log := withBadConfig(t, Spliced)
	release, err := Lock(n.ConfDir)
	must(t, err)
	write(t, n.ConfDir, "README", "")
	within(t, "said", func() bool { return log.has("not looked at", "another detour install") })
	if inChain, drift := testutil.ToFloat64(w.inChain), w.drifts(); inChain != 1 || drift != driftConfig || w.Ready() == nil {
		t.Errorf("in the chain: %v, drift: %s; %v", inChain, drift, w.Ready())
	}
	must(t, release())
}
