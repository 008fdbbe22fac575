package install

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// settle is how long a burst of events may go on before we look: a writer that is
	// not atomic makes several. It delays a repair, so it is short.
	settle = 20 * time.Millisecond
	// resync is for what no event tells: a file system without inotify, a lost queue.
	resync = time.Minute
	// retry is the pause after a run that failed for a reason that no event ends: another run
	// of ours holds the lock, the disk is full. Each failure doubles it, up to resync.
	retry = time.Second
	// mostMoves of a file under our hands, one right after the other, are a failure like any other.
	mostMoves = 10
)

// An Observer is told of each run of Watch: to log, to count, to be ready or not.
type Observer interface {
	Ran(r Report, err error)
	// Fighting is called when repairs are left alone for a while.
	Fighting(r Report, pause time.Duration)
}

// Watch installs, and again whenever something changes, until ctx ends. When it ends it
// does not leave the chain: that is Uninstall's, and a stopped DaemonSet is not an uninstall.
func (n Node) Watch(ctx context.Context, o Observer) {
	var (
		v        view
		fight    Fight
		did      bool // what there was to do, once at least
		failures int  // in a row
		moved    int  // in a row
		began    time.Time
	)
	defer v.close()
	for {
		v.watch(n.watched()...)
		if moved == 0 {
			began = time.Now()
		}
		r, err := n.Install()
		if r.Entry.Text != nil {
			n.before = r.Entry
		}
		if moved++; errors.Is(err, ErrMoved) && moved < mostMoves {
			continue // somebody wrote while we did: look at what it is now
		}
		moved = 0
		if v.blind != nil {
			r.Plan.Warnings = append(r.Plan.Warnings, v.blind.Error())
		}
		r.Contested = fight.Contested(time.Now())
		o.Ran(r, err)
		if Did(err) && did && r.Changed() {
			if pause := fight.Repair(began, time.Now()); pause > 0 {
				o.Fighting(r, pause)
				if !sleep(ctx, pause) {
					return
				}
				continue
			}
		}
		did = did || Did(err) || r.Stands
		if failures++; err == nil || errors.Is(err, ErrNoPrimary) {
			failures = 0
		}
		if r.Changed() && err == nil {
			continue // a second look, also at what was written between look and watch
		}
		limit := patience(failures)
		if r.Contested {
			limit = answer // by then the fight is on again, or over
		}
		if !n.await(ctx, &v, limit) {
			return
		}
	}
}

// patience is how long to wait for an event after so many failures in a row.
func patience(failures int) time.Duration {
	if failures == 0 {
		return resync
	}
	return min(retry<<min(failures-1, 6), resync)
}

// await returns at an event that concerns us, or after limit; false when ctx has ended.
func (n Node) await(ctx context.Context, v *view, limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-v.lost(): //nolint:errcheck // a lost queue: look
			return true
		case e := <-v.changes():
			if !n.concerns(e) {
				continue
			}
			return v.settle(ctx)
		}
	}
}

// concerns reports whether an event can be somebody else's doing that matters. Our own
// temporary files are the bulk of what else there is.
func (n Node) concerns(e fsnotify.Event) bool {
	if ours, _ := filepath.Match(tempPattern, filepath.Base(e.Name)); ours {
		return false
	}
	// In the bin dir only our own binary; in the conf dir and beside Config, where a
	// ConfigMap's links move, anything.
	return filepath.Dir(e.Name) != filepath.Clean(n.BinDir) || filepath.Base(e.Name) == PluginType
}

// watched are the directories in which a write could matter.
func (n Node) watched() []string {
	dirs := slices.Concat([]string{n.ConfDir, filepath.Dir(filepath.Clean(n.ConfDir)), n.BinDir}, links(n.ConfDir), links(n.BinDir), beyond(n.ConfDir))
	if n.Config != "" {
		dirs = append(dirs, filepath.Dir(n.Config))
	}
	return dirs
}

// links are the directories with a link in them on the way to path: who moves it, writes there.
func links(path string) (dirs []string) {
	for at := filepath.Clean(path); at != filepath.Dir(at); at = filepath.Dir(at) {
		if isLink(at) {
			dirs = append(dirs, filepath.Dir(at))
		}
	}
	return dirs
}

// sleep waits; false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
