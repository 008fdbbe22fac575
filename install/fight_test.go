package install

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestAFightIsWhatIsAnsweredAtOnce(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	var slow Fight
	for range 100 { // a writer with reasons of its own
		if pause := slow.Repair(at, at); pause != 0 {
			t.Fatalf("a writer once a second is left alone for %v", pause)
		}
		at = at.Add(time.Second)
	}
	var f Fight
	var pauses []time.Duration
	for len(pauses) < 9 {
		if pause := f.Repair(at, at); pause > 0 {
			pauses = append(pauses, pause)
			at = at.Add(pause)
		}
		at = at.Add(20 * time.Millisecond)
	}
	if pauses[0] != firstPause || pauses[1] != 2*firstPause || pauses[8] != longestPause {
		t.Errorf("pauses %v", pauses)
	}
	at = at.Add(2 * longestPause)
	for i := range fightAnswers {
		if pause := f.Repair(at, at); pause != 0 {
			t.Errorf("an old fight is not forgotten: repair %d is followed by a pause of %v", i, pause)
		}
	}
	at = at.Add(-time.Hour)
	if pause := f.Repair(at, at); pause != 0 {
		t.Errorf("a clock set back makes a fight: %v", pause)
	}
}

// TestASlowRunDoesNotHideAFight has runs that last seconds, each answered at once.
func TestASlowRunDoesNotHideAFight(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	var f Fight
	for range fightAnswers {
		if pause := f.Repair(at, at.Add(3*time.Second)); pause != 0 {
			t.Fatalf("a pause of %v too early", pause)
		}
		at = at.Add(3*time.Second + 20*time.Millisecond)
	}
	if pause := f.Repair(at, at.Add(3*time.Second)); pause != firstPause {
		t.Errorf("%d answers, each at once, and a pause of %v, want %v", fightAnswers, pause, firstPause)
	}
}

// TestAFightIsLeftAlone plays Cilium's exclusive mode: each file of ours is renamed at once.
func TestAFightIsLeftAlone(t *testing.T) {
	for name, slow := range map[string]time.Duration{"a quick node": 0, "a node where a run takes longer than an answer": answer + 100*time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := node(t, Owned)
			n.CRI = &CRI{Asker: &word{version: "containerd://1.7.0", slow: slow}}
			write(t, n.ConfDir, "10-flannel.conflist", flannel)
			w, log := watch(t, n, t.TempDir())
			within(t, "joined", func() bool { return w.Ready() == nil })
			ours := filepath.Join(n.ConfDir, "10-flannel-detour.conflist")
			undo := func() { _ = os.Rename(ours, ours+".cilium_bak") } // not there again yet
			within(t, "a fight", func() bool { undo(); return testutil.ToFloat64(w.fights) == 1 })
			if w.Ready() == nil || !log.has("another writer", "cni.exclusive=false") {
				t.Error("a fight is not named with its way out")
			}
			if w.drifts() != driftEntry {
				t.Errorf("drift in a fight: %q", w.drifts())
			}
			runs := testutil.ToFloat64(w.runs.WithLabelValues("changed"))
			<-time.After(300 * time.Millisecond) // shorter than the pause
			if now := testutil.ToFloat64(w.runs.WithLabelValues("changed")); now != runs {
				t.Error("a fight goes on in a hot loop")
			}
			ready, last, late := 0, time.Now(), false
			within(t, "the second pause", func() bool {
				undo()
				if w.Ready() == nil {
					ready++
				}
				// Where this process is not run for the time of an answer, it gives none: no fight then.
				late = late || time.Since(last) > answer/2
				last = time.Now()
				return testutil.ToFloat64(w.fights) == 2
			})
			if ready > 0 && !late {
				t.Errorf("ready %d times between two pauses of one fight", ready)
			}
		})
	}
}

// TestAFightIsOverWhenARepairStays goes through the runs after a pause.
func TestAFightIsOverWhenARepairStays(t *testing.T) {
	good := Report{Binary: BinaryCurrent}
	w := NewWatched(Node{}, "", slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	w.Ran(good, nil)
	w.Fighting(good, firstPause)
	for _, tc := range []struct {
		name  string
		run   Report
		ready bool
	}{
		{"repaired", Report{Binary: BinaryAbsent}, false},
		{"a second look at once", Report{Binary: BinaryCurrent, Contested: true}, false},
		{"answered and repaired", Report{Binary: BinaryAbsent, Contested: true}, false},
		{"a look when nobody has answered", good, true},
		{"a repair like any other", Report{Binary: BinaryAbsent, Contested: true}, true},
	} {
		if w.Ran(tc.run, nil); (w.Ready() == nil) != tc.ready {
			t.Errorf("%s: ready: %v, want ready %v", tc.name, w.Ready(), tc.ready)
		}
	}
}

// TestAFightEnds has a writer that is quiet from the first pause on: readiness waits for the time of an answer, and no longer.
func TestAFightEnds(t *testing.T) {
	t.Parallel()
	n := node(t, Owned)
	write(t, n.ConfDir, "10-flannel.conflist", flannel)
	w, _ := watch(t, n, t.TempDir())
	within(t, "joined", func() bool { return w.Ready() == nil })
	ours := filepath.Join(n.ConfDir, "10-flannel-detour.conflist")
	within(t, "a fight", func() bool { _ = os.Rename(ours, ours+".cilium_bak"); return testutil.ToFloat64(w.fights) == 1 })
	_ = os.Remove(ours) // there again or not, the pause ends with a repair
	within(t, "repaired", inFile(ours, PluginType))
	within(t, "ready", func() bool { return w.Ready() == nil })
}

// TestAFightOverTheBinaryIsSeenBeforeThereIsANetwork: two releases on a node that waits for one do not copy for ever.
func TestAFightOverTheBinaryIsSeenBeforeThereIsANetwork(t *testing.T) {
	a, b := node(t, Spliced), node(t, Spliced)
	b.BinDir = a.BinDir
	text, err := os.ReadFile(a.Plugin)
	must(t, err)
	b.Plugin = filepath.Join(t.TempDir(), PluginType)
	must(t, os.WriteFile(b.Plugin, append(text, "more"...), 0o755))
	wa, log := watch(t, a, t.TempDir())
	wb, logB := watch(t, b, t.TempDir())
	within(t, "a fight", func() bool { return testutil.ToFloat64(wa.fights)+testutil.ToFloat64(wb.fights) > 0 })
	within(t, "said", func() bool {
		return log.has("another writer", "the same version") || logB.has("another writer", "the same version")
	})
	if a, b := testutil.ToFloat64(wa.inChain), testutil.ToFloat64(wb.inChain); a != 0 || b != 0 {
		t.Errorf("in the chain: %v, %v", a, b)
	}
}
