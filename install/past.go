package install

import (
	"bytes"
	"context"
	"maps"
	"path/filepath"
	"slices"
	"time"
)

// known is what the runs have told so far of the network and the options: the last Report that knew
// them, while runs fail.
type known struct {
	Report
	// networks are all that were the node's: pods that run stay with the one of their day.
	networks []string
	// dropInUntil is when a drop-in was last taken away. Nobody can tell whether a pod of before slipped
	// past it: the result cache has the same of both.
	dropInUntil time.Time
	round       int           // of what pods are judged by
	again       chan struct{} // to judge them anew
}

// learn takes in what a run tells, which may have failed: the way into the chain is that of before then.
func (k *known) learn(r Report, did bool) {
	if r.Plan.Network == "" || r.Entry.Text == nil {
		return
	}
	if !did && k.Plan.Mode != "" {
		r.Plan.Mode = k.Plan.Mode
	}
	if r.Plan.Mode != DropIn && (k.Plan.Mode == DropIn || slices.ContainsFunc(r.Plan.Steps, func(s Step) bool { return s.Text == nil && s.Unseen })) {
		k.dropInUntil = time.Now()
	}
	if r.Plan.Network != k.Plan.Network || r.Plan.Mode != k.Plan.Mode || !bytes.Equal(r.Entry.Text, k.Entry.Text) {
		if !slices.Contains(k.networks, r.Plan.Network) {
			k.networks = append(k.networks, r.Plan.Network)
		}
		k.round++
		select {
		case k.again <- struct{}{}:
		default:
		}
	}
	k.Report = r
}

// A verdict is what is kept of an attachment from one look into the result cache to the next. A cache may
// have thousands of files, with 256 KiB of annotations in each: they are read once, and one at a time.
type verdict struct {
	made    time.Time
	size    int64
	round   int
	slipped bool
	counted bool
	pod     string
}

// WatchSlipped looks for pods that started past us whenever the runtime writes into its
// result cache, until ctx ends.
func (w *Watched) WatchSlipped(ctx context.Context) {
	var (
		v     view
		blind bool
	)
	defer v.close()
	for {
		v.watch(w.Cache) // not there yet: no pod yet
		if v.blind != nil && !blind {
			w.Log.Warn("pods that slip past are seen late", "why", v.blind)
		}
		blind = v.blind != nil
		w.countSlipped()
		select {
		case <-ctx.Done():
			return
		case <-w.known.again:
		case <-v.changes():
		case <-v.lost(): //nolint:errcheck // a lost queue: look
		case <-time.After(resync):
		}
		if !v.settle(ctx) {
			return
		}
	}
}

func (w *Watched) countSlipped() {
	w.mu.Lock()
	k := w.known
	w.mu.Unlock()
	if len(k.networks) == 0 {
		return
	}
	if err := w.judge(k); err != nil {
		if w.unread != err.Error() {
			w.Log.Error("pods that slip past are not seen", "why", err)
		}
		w.unread = err.Error()
		return
	}
	w.unread = ""
	slipping := 0
	for _, file := range slices.Sorted(maps.Keys(w.verdicts)) {
		v := w.verdicts[file]
		// A foreign write does not take us out in drop-in mode, and where one did, the cache could not tell.
		if !v.slipped || !v.counted && (k.Plan.Mode == DropIn || v.made.Before(k.dropInUntil)) {
			continue
		}
		slipping++
		if !v.counted {
			v.counted = true
			w.verdicts[file] = v
			w.slipped.Inc()
			w.Log.Error("a meshed pod started while the chain was without us: it runs without its redirect, unless an init container of its mesh made one: restart it", "pod", v.pod, "attachment", file)
		}
	}
	w.slipping.Set(float64(slipping))
}

// judge reads what is new in the result cache, and all of it in a new round.
func (w *Watched) judge(k known) error {
	files, err := cachedFiles(w.Cache)
	if err != nil {
		return err
	}
	now := map[string]verdict{}
	for _, e := range files {
		info, err := e.Info()
		if err != nil {
			continue // gone by now
		}
		v := w.verdicts[e.Name()]
		if v.round != k.round || v.size != info.Size() || !v.made.Equal(info.ModTime()) {
			// One that is not whole is the runtime's to finish.
			if a, whole := attachment(filepath.Join(w.Cache, e.Name())); whole {
				slipped := slices.Contains(k.networks, a.Network) && a.slipped(k.Entry.Options, w.Node.Dialects)
				v = verdict{info.ModTime(), info.Size(), k.round, slipped, v.counted, a.Pod.Ref.String()}
			}
		}
		now[e.Name()] = v
	}
	w.verdicts = now
	return nil
}
