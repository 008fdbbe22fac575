package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

const (
	// seen is what an event leads to: who missed it comes by a resync later. It takes milliseconds, but a
	// machine that is busy, or a disk, may be late by seconds.
	seen = resync / 2
	// promptly is what docs/modes.md says of what somebody undoes. The machine adds to each time, and so the
	// shortest of several is held against it.
	promptly = time.Second
	poll     = 5 * time.Millisecond
)

// within waits until ok, and fails where no event can have led to it.
func within(t *testing.T, what string, ok func() bool) (took time.Duration) {
	t.Helper()
	return await(t, seen, what, ok)
}

// await gives the time that it took, without that in which this process was not run.
func await(t *testing.T, limit time.Duration, what string, ok func() bool) (took time.Duration) {
	t.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); <-time.After(poll) {
		if ok() {
			return took
		}
		took += poll
	}
	t.Errorf("%s: not within %s", what, limit)
	return limit
}

// lockedLog is what an operator would read.
type lockedLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lockedLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lockedLog) has(words ...string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		all := true
		for _, w := range words {
			all = all && strings.Contains(line, w)
		}
		if all {
			return true
		}
	}
	return false
}

// watch runs an installer until the test ends.
func watch(t *testing.T, n Node, cache string) (*Watched, *lockedLog) {
	t.Helper()
	log := &lockedLog{}
	w := NewWatched(n, cache, slog.New(slog.NewTextHandler(log, nil)), prometheus.NewRegistry())
	ctx, stop := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { n.Watch(ctx, w) })
	done.Go(func() { w.WatchSlipped(ctx) })
	t.Cleanup(func() { stop(); done.Wait() })
	return w, log
}

// drifts are the kinds of drift that the metric has.
func (w *Watched) drifts() string {
	var all []string
	for _, what := range []string{driftEntry, driftBinary, driftConfig} {
		if testutil.ToFloat64(w.drift.WithLabelValues(what)) != 0 {
			all = append(all, what)
		}
	}
	return strings.Join(all, " ")
}

func inFile(path, words string) func() bool {
	return func() bool {
		text, err := os.ReadFile(path)
		return err == nil && strings.Contains(string(text), words)
	}
}

// TestAFileThatNeverStandsStill has another process that writes the primary without a pause, so that each write of
// ours finds it moved: that is said and paused for like any failure, not tried again for ever in silence.
func TestAFileThatNeverStandsStill(t *testing.T) {
	n := node(t, Spliced)
	primary := filepath.Join(n.ConfDir, "10-flannel.conflist")
	write(t, n.ConfDir, "10-flannel.conflist", flannel)
	ctx, stop := context.WithCancel(context.Background())
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			beside := filepath.Join(n.ConfDir, "beside")
			if err := errors.Join(os.WriteFile(beside, fmt.Appendf(nil, "%s%*s", flannel, i%1000, " "), 0o600), os.Rename(beside, primary)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	defer writer.Wait()
	defer stop()
	w, log := watch(t, n, t.TempDir())
	await(t, time.Minute, "a failure", func() bool { // each try syncs a file to a disk that may be slow
		return testutil.ToFloat64(w.runs.WithLabelValues("failed")) > 0 && log.has(ErrMoved.Error())
	})
}

func TestWhatSomebodyUndoesIsPutRight(t *testing.T) {
	for _, mode := range []Mode{Spliced, DropIn, Owned} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			n := node(t, mode)
			primary := filepath.Join(n.ConfDir, "10-flannel.conflist")
			write(t, n.ConfDir, "10-flannel.conflist", flannel)
			w, log := watch(t, n, t.TempDir())
			within(t, "installed", func() bool { return w.Ready() == nil })
			joined := func() string {
				w.mu.Lock()
				defer w.mu.Unlock()
				return w.last.Plan.Joined
			}
			inChain := func() bool { return inFile(joined(), PluginType)() && w.Ready() == nil }

			must(t, os.WriteFile(joined(), []byte(flannel), 0o600))
			fastest := within(t, "our entry gone", inChain)
			text := strings.Replace(flannel, "\"portmap\"", "\"bandwidth\"", 1)
			must(t, os.WriteFile(primary, []byte(text), 0o600))
			within(t, "the primary rewritten", func() bool {
				at := joined()
				if mode == DropIn {
					return inChain()
				}
				return inChain() && inFile(at, "bandwidth")()
			})
			moved := filepath.Join(n.ConfDir, "20-flannel.conflist")
			must(t, os.Rename(primary, moved))
			within(t, "the primary renamed", func() bool {
				at := filepath.Base(joined())
				return inChain() && (mode == DropIn || mode == Owned && at == "10-flannel-detour.conflist" || at == "20-flannel.conflist")
			})
			binary := filepath.Join(n.BinDir, PluginType)
			must(t, os.Remove(binary))
			fastest = min(fastest, within(t, "the binary gone", func() bool { return IsPlugin(binary) }))
			must(t, os.WriteFile(binary+".new", []byte("#!/bin/sh\n"), 0o755))
			must(t, os.Rename(binary+".new", binary))
			fastest = min(fastest, within(t, "the binary altered", func() bool { return IsPlugin(binary) }))
			if fastest > promptly {
				t.Errorf("what is undone is put right in %s at best, want %s", fastest, promptly)
			}
			within(t, "said", func() bool { return log.has("repaired the binary", "was=foreign") })
			if mode != DropIn {
				within(t, "said", func() bool { return log.has("msg=repaired", "file=", "found=", "primary=") })
			}
			if got := testutil.ToFloat64(w.repairs.WithLabelValues("binary")); got < 2 {
				t.Errorf("%v repairs of the binary, want 2", got)
			}
		})
	}
}

func TestAPrimaryIsWaitedFor(t *testing.T) {
	n := node(t, Spliced)
	must(t, os.Remove(n.ConfDir)) // many primaries make it
	w, log := watch(t, n, t.TempDir())
	within(t, "said", func() bool { return log.has("waiting for the network plugin") })
	if err := w.Ready(); !errors.Is(err, ErrNoPrimary) {
		t.Error("ready without a network:", err)
	}
	write(t, n.ConfDir, ".10-flannel", flannel)
	must(t, os.Rename(filepath.Join(n.ConfDir, ".10-flannel"), filepath.Join(n.ConfDir, "10-flannel.conflist")))
	within(t, "joined", func() bool { return w.Ready() == nil })
	<-time.After(200 * time.Millisecond) // in which a hot loop would have looked a thousand times
	if runs := testutil.ToFloat64(w.runs.WithLabelValues("waiting")); runs > 10 {
		t.Errorf("%v looks at an empty directory", runs)
	}
}

// TestABurstIsOneLook writes hundreds of files at once, and asks how often that is reason to look.
func TestABurstIsOneLook(t *testing.T) {
	n := node(t, Spliced)
	var v view
	defer v.close()
	v.watch(n.ConfDir)
	for i := range 300 {
		write(t, n.ConfDir, fmt.Sprintf("%d.conflist", i), flannel)
	}
	start := time.Now()
	if n.await(t.Context(), &v, resync); time.Since(start) >= resync {
		t.Fatal("a burst of 300 files is not seen")
	}
	looks := 1
	for start = time.Now(); ; start = time.Now() {
		if n.await(t.Context(), &v, 20*settle); time.Since(start) >= 20*settle {
			break // nothing was left
		}
		looks++
	}
	if looks > 10 { // one mostly
		t.Errorf("a burst of 300 files is looked at %d times", looks)
	}
}

func TestAFailureIsTriedAgainLessAndLessOften(t *testing.T) {
	var waits []time.Duration
	for failures := range 9 {
		waits = append(waits, patience(failures))
	}
	want := []time.Duration{resync, 1 * time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second, resync, resync}
	if !slices.Equal(waits, want) || patience(1<<40) != resync {
		t.Errorf("%v, want %v", waits, want)
	}
}

// TestADirectoryBehindALinkIsFollowed: MicroK8s leads "current" elsewhere at each upgrade.
func TestADirectoryBehindALinkIsFollowed(t *testing.T) {
	n := node(t, Spliced)
	root := filepath.Dir(n.ConfDir)
	for _, revision := range []string{"1", "2"} {
		must(t, os.MkdirAll(filepath.Join(root, revision, "net.d"), 0o755))
		must(t, os.MkdirAll(filepath.Join(root, revision, "bin"), 0o755))
		write(t, filepath.Join(root, revision, "net.d"), "10-flannel.conflist", flannel)
	}
	current := filepath.Join(root, "current")
	must(t, os.Symlink("1", current))
	n.ConfDir, n.BinDir = filepath.Join(current, "net.d"), filepath.Join(current, "bin")
	w, _ := watch(t, n, t.TempDir())
	quiet := func() bool { return testutil.ToFloat64(w.runs.WithLabelValues("unchanged")) > 0 }
	within(t, "joined, and nothing more to do", quiet)
	for _, revision := range []string{"2", "1"} {
		<-time.After(5 * settle) // no event is on its way that could be taken for that of the link
		must(t, os.RemoveAll(filepath.Join(root, revision, "bin", PluginType)))
		write(t, filepath.Join(root, revision, "net.d"), "10-flannel.conflist", flannel)
		must(t, os.Symlink(revision, current+".new"))
		must(t, os.Rename(current+".new", current))
		within(t, "followed to "+revision, func() bool {
			return inFile(filepath.Join(root, revision, "net.d", "10-flannel.conflist"), PluginType)() && IsPlugin(filepath.Join(root, revision, "bin", PluginType))
		})
	}
}

func TestADropInBehindALinkIsPutBack(t *testing.T) {
	n := node(t, DropIn)
	write(t, n.ConfDir, "10-flannel.conflist", flannel)
	real := filepath.Join(filepath.Dir(n.ConfDir), "real")
	must(t, os.Mkdir(real, 0o755))
	must(t, os.Symlink(real, filepath.Join(n.ConfDir, "cbr0")))
	w, _ := watch(t, n, t.TempDir())
	within(t, "joined, and nothing more to do", func() bool { return testutil.ToFloat64(w.runs.WithLabelValues("unchanged")) > 0 })
	<-time.After(5 * settle) // no event is on its way that could be taken for that of the drop-in
	must(t, os.Remove(filepath.Join(real, dropInName)))
	within(t, "put back", inFile(filepath.Join(real, dropInName), PluginType))
}

func TestABadConfigChangesNothing(t *testing.T) {
	n := node(t, Spliced)
	n.Config = filepath.Join(t.TempDir(), "detour.json")
	must(t, os.WriteFile(n.Config, []byte(`{"overrides":"deny"}`), 0o600))
	write(t, n.ConfDir, "10-flannel.conflist", flannel)
	w, log := watch(t, n, t.TempDir())
	primary := filepath.Join(n.ConfDir, "10-flannel.conflist")
	within(t, "joined", func() bool { return w.Ready() == nil })
	within(t, "its options", inFile(primary, `"overrides":"deny"`))
	before := tree(t, n.ConfDir)
	must(t, os.WriteFile(n.Config, []byte(`{"overrides":"sometimes"}`), 0o600))
	within(t, "not ready", func() bool { return w.Ready() != nil })
	within(t, "said", func() bool { return log.has("overrides", "sometimes") })
	if inChain, drift := testutil.ToFloat64(w.inChain), w.drifts(); inChain != 1 || drift != "config" {
		t.Errorf("in the chain: %v, drift: %s; what was there before is there", inChain, drift)
	}
	if now := tree(t, n.ConfDir); now != before {
		t.Error(now)
	}
	must(t, os.WriteFile(n.Config, []byte(`{"overrides":"allow"}`), 0o600))
	within(t, "the next good one", func() bool { return w.Ready() == nil && inFile(primary, `"overrides":"allow"`)() })
	within(t, "no drift", func() bool { return w.drifts() == "" })
}

// TestTwoReleasesShareABinDir has two installers, each with a conf dir of its own: of one version they do not meet, of
// two they find out that they undo each other's work, and say so, instead of copying for ever.
func TestTwoReleasesShareABinDir(t *testing.T) {
	for name, tc := range map[string]struct {
		other string // what the second's build has more
		fight bool
	}{
		"one version":  {"", false},
		"two versions": {"more", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := node(t, Spliced), node(t, Spliced)
			b.BinDir = a.BinDir
			text, err := os.ReadFile(a.Plugin)
			must(t, err)
			b.Plugin = filepath.Join(t.TempDir(), PluginType)
			must(t, os.WriteFile(b.Plugin, append(text, tc.other...), 0o755))
			write(t, a.ConfDir, "10-flannel.conflist", flannel)
			write(t, b.ConfDir, "10-flannel.conflist", flannel)
			wa, log := watch(t, a, t.TempDir())
			within(t, "the first", func() bool { return wa.Ready() == nil })
			wb, logB := watch(t, b, t.TempDir())
			fights := func() float64 { return testutil.ToFloat64(wa.fights) + testutil.ToFloat64(wb.fights) }
			if !tc.fight {
				within(t, "both", func() bool { return wa.Ready() == nil && wb.Ready() == nil })
				<-time.After(300 * time.Millisecond)
				if fights() != 0 || wa.Ready() != nil || wb.Ready() != nil {
					t.Errorf("%v fights; %v, %v", fights(), wa.Ready(), wb.Ready())
				}
				return
			}
			var since time.Time // it was not there yet
			await(t, time.Minute, "a fight", func() bool {
				now := time.Now()
				if fights() > 0 {
					return true
				}
				since = now
				return false
			})
			w := wa
			if testutil.ToFloat64(wa.fights) == 0 {
				w, log = wb, logB
			}
			if w.Ready() == nil || w.drifts() != driftBinary || !log.has("another writer", "the same version") {
				t.Errorf("a fight over the binary is not named with its way out: ready: %v, drift %q", w.Ready(), w.drifts())
			}
			runs := func() float64 {
				return testutil.ToFloat64(wa.runs.WithLabelValues("changed")) + testutil.ToFloat64(wb.runs.WithLabelValues("changed"))
			}
			was := runs()
			<-time.After(1300 * time.Millisecond)
			more := runs() - was // who did not pause puts its own in the last time
			if pausing := time.Since(since) < firstPause; pausing && more > 1 {
				t.Errorf("a fight goes on in a hot loop: %v repairs more in a second", more)
			}
			if left, _ := filepath.Glob(filepath.Join(a.BinDir, tempPattern)); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

func TestManyAtOnce(t *testing.T) {
	n := node(t, Spliced)
	write(t, n.ConfDir, "10-flannel.conflist", flannel)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			if _, err := n.Install(); err != nil && !strings.Contains(err.Error(), "another detour install is at work") {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if r, err := n.Install(); err != nil || r.Changed() {
		t.Errorf("%+v %v", r, err)
	}
	if got := names(t, filepath.Dir(n.ConfDir)); got != "bin/detour-cni net.d/10-flannel.conflist" {
		t.Error(got)
	}
}
