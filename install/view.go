package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// A view is inotify's on directories. The kernel gives it out by the user and the node
// (fs.inotify.max_user_instances, 128 for all that runs as root), and may have none left. Then
// nothing is seen between two looks, and each look asks for it again: an installer that ended
// would be worse.
type view struct {
	inotify *fsnotify.Watcher
	blind   error // why not all is seen; nil if it is
}

// watch adds directories. What was replaced or came later is not watched by itself, so the same
// ones come again at each look. What is not there is not watched; its parent is, where it will
// appear.
func (v *view) watch(dirs ...string) {
	v.blind = nil
	if v.inotify == nil {
		w, err := fsnotify.NewWatcher()
		if err != nil {
			v.blind = fmt.Errorf("inotify: %w (want more of fs.inotify.max_user_instances): the node is looked at once a minute only", err)
			return
		}
		v.inotify = w
	}
	for _, dir := range dirs {
		err := v.inotify.Add(dir)
		if errors.Is(err, fs.ErrNotExist) {
			if err = v.inotify.Add(filepath.Dir(dir)); errors.Is(err, fs.ErrNotExist) {
				err = nil // not there either: the resync finds it
			}
		}
		if err != nil {
			v.blind = fmt.Errorf("inotify: %s: %w (no space: want more of fs.inotify.max_user_watches): it is looked at once a minute only", dir, err)
		}
	}
}

// changes and lost are what inotify says; nil, which never says anything, where there is none.
func (v *view) changes() <-chan fsnotify.Event {
	if v.inotify == nil {
		return nil
	}
	return v.inotify.Events
}

func (v *view) lost() <-chan error {
	if v.inotify == nil {
		return nil
	}
	return v.inotify.Errors
}

// settle lets a burst of events pass, which all ask for the same look; false when ctx ended first.
func (v *view) settle(ctx context.Context) bool {
	timer := time.NewTimer(settle)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-v.changes():
		case <-v.lost(): //nolint:errcheck // a lost queue: the look comes anyway
		}
	}
}

func (v *view) close() {
	if v.inotify != nil {
		_ = v.inotify.Close() // nobody listens any more
	}
}
