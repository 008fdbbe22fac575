package install

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestARunThatFailsSaysWhatStandsAllTheSame: a disk that is full, or a way in that cannot be had, takes nobody out of a chain.
func TestARunThatFailsSaysWhatStandsAllTheSame(t *testing.T) {
	for _, tc := range []struct {
		name, drift string
		mode        Mode
		fail        func(t *testing.T, w *Watched)
		inChain     float64
	}{
		{"the drop-in cannot be written", driftEntry, Spliced, func(t *testing.T, w *Watched) {
			write(t, w.Node.ConfDir, "cbr0", "a file where the network's directory goes")
			w.Node.Mode = DropIn
		}, 1},
		{"the primary of a list of our own is gone", driftEntry, Owned, func(t *testing.T, w *Watched) {
			must(t, os.Remove(filepath.Join(w.Node.ConfDir, "10-flannel.conflist")))
		}, 1},
		{"the primary with our entry is gone", driftEntry, Spliced, func(t *testing.T, w *Watched) {
			must(t, os.Remove(filepath.Join(w.Node.ConfDir, "10-flannel.conflist")))
		}, 0},
		{"a broken file comes first", driftEntry, Spliced, func(t *testing.T, w *Watched) { write(t, w.Node.ConfDir, "05-new.conflist", "{") }, 0},
	} {
		n := node(t, tc.mode)
		write(t, n.ConfDir, "10-flannel.conflist", flannel)
		w, _ := looking(t, n)
		w.look()
		tc.fail(t, w)
		w.look()
		if inChain := testutil.ToFloat64(w.inChain); w.Ready() == nil || inChain != tc.inChain || w.drifts() != tc.drift {
			t.Errorf("%s: in the chain: %v, drift: %s, ready: %v", tc.name, inChain, w.drifts(), w.Ready())
		}
	}
}

// TestOurCopyOfAPrimaryThatIsGoneIsNotAsWanted, whatever the options say.
func TestOurCopyOfAPrimaryThatIsGoneIsNotAsWanted(t *testing.T) {
	for options, want := range map[string]string{goodConfig: driftEntry, badConfig: driftEntry + " " + driftConfig} {
		n := withConfig(t, Owned, goodConfig)
		write(t, n.ConfDir, "10-flannel.conflist", flannel)
		w, _ := looking(t, n)
		w.look()
		must(t, os.Remove(filepath.Join(n.ConfDir, "10-flannel.conflist")))
		must(t, os.WriteFile(n.Config, []byte(options), 0o600))
		w.look()
		if inChain := testutil.ToFloat64(w.inChain); inChain != 1 || w.drifts() != want {
			t.Errorf("%s: in the chain: %v, drift: %s, want %s", options, inChain, w.drifts(), want)
		}
	}
}

// TestABinaryThatCannotBeWritten: the one of before serves, if there is one.
func TestABinaryThatCannotBeWritten(t *testing.T) {
	for binary, want := range map[BinaryState]float64{BinaryOther: 1, BinaryAbsent: 0, BinaryForeign: 0, BinaryInert: 0} {
		w, log := looking(t, node(t, Spliced))
		w.Ran(Report{Plan: Plan{Joined: "10-flannel.conflist"}, Binary: binary, Stands: true}, errors.New("no space left on device"))
		if inChain := testutil.ToFloat64(w.inChain); inChain != want || w.drifts() != driftBinary || log.has("not installed") == (want == 1) {
			t.Errorf("%s: in the chain: %v, drift: %s", binary, inChain, w.drifts())
		}
	}
}

// TestABinaryThatAFailedRunPutThereIsNoDrift: the node has no network yet, or is left for its version.
func TestABinaryThatAFailedRunPutThereIsNoDrift(t *testing.T) {
	for _, list := range []string{"", strings.Replace(flannel, "0.3.1", "9.9.9", 1)} {
		n := node(t, Spliced)
		if list != "" {
			write(t, n.ConfDir, "10-flannel.conflist", list)
		}
		w, _ := looking(t, n)
		if w.look(); w.drifts() != driftEntry || w.Ready() == nil {
			t.Errorf("drift: %s, ready: %v", w.drifts(), w.Ready())
		}
	}
}

func TestAFightOverTheBinaryLeavesTheEntry(t *testing.T) {
	for binary, want := range map[BinaryState]float64{BinaryOther: 1, BinaryAbsent: 0} {
		w, _ := looking(t, node(t, Spliced))
		w.Fighting(Report{Binary: binary}, time.Second)
		if inChain := testutil.ToFloat64(w.inChain); inChain != want || w.drifts() != driftBinary {
			t.Errorf("%s: in the chain: %v, drift: %s", binary, inChain, w.drifts())
		}
	}
}

// TestAnotherModeIsNoRepair: the runtime was upgraded, and nobody has undone anything.
func TestAnotherModeIsNoRepair(t *testing.T) {
	runtime := &word{version: "containerd://1.7.0"}
	w, log := looking(t, asking(t, runtime))
	w.look()
	runtime.version = "containerd://2.2.1"
	w.look()
	if n := testutil.ToFloat64(w.repairs.WithLabelValues("entry")); n != 0 || log.has("msg=repaired") {
		t.Errorf("%v repairs", n)
	}
	must(t, os.Remove(filepath.Join(w.Node.ConfDir, "cbr0", dropInName)))
	w.look()
	if n := testutil.ToFloat64(w.repairs.WithLabelValues("entry")); n != 1 || !log.has("msg=repaired", "mode=drop-in") {
		t.Errorf("%v repairs of a drop-in that somebody removed", n)
	}
	if !log.has("level=WARN", "while the drop-in was gone", "detour doctor") { // nothing else can
		t.Error("nobody says that pods may have slipped past it")
	}
}

// TestAnInstallerThatFindsAllWellSaysSo: at its start, and after what it has said to be wrong.
func TestAnInstallerThatFindsAllWellSaysSo(t *testing.T) {
	n := node(t, Spliced)
	write(t, n.ConfDir, "10-flannel.conflist", flannel)
	if _, err := n.Install(); err != nil {
		t.Fatal(err)
	}
	w, log := looking(t, n)
	const said = "in the chain, as wanted"
	says := func() bool {
		log.text.Reset()
		w.look()
		return log.has(said, "10-flannel.conflist", "mode=splice", "network=cbr0", "why=given")
	}
	if !says() || says() {
		t.Error("not said at the start, or again")
	}
	release, err := Lock(n.ConfDir)
	must(t, err)
	if says() || !log.has("not looked at") {
		t.Error("said while nobody could look")
	}
	must(t, release())
	if !says() {
		t.Error("not said after that")
	}
}
