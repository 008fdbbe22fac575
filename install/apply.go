package install

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ErrMoved says that a file is no longer what the Plan was made for: somebody wrote
// it meanwhile. Nothing was changed; look again and decide again.
var ErrMoved = errors.New("changed by somebody else meanwhile")

// tempPattern names what is being written. It has none of the endings that a runtime
// loads. Sweep removes what a killed run left.
const tempPattern = ".detour-*.tmp"

var tempName = regexp.MustCompile(`\.detour-[0-9]+\.tmp`)

// Apply does the steps of a Plan in their order, and stops at the first that fails:
// what is done by then is safe to keep, and a next run does the rest.
func Apply(d Dir, p Plan) error {
	for _, s := range p.Steps {
		if err := s.apply(d.Path); err != nil {
			return err
		}
	}
	return nil
}

func (s Step) apply(confDir string) error {
	if s.Unseen || isLink(s.Path) { // behind a link: the runtime watches only the link's directory
		return telling(confDir, func() error { return s.change(confDir) })
	}
	return s.change(confDir)
}

func (s Step) change(confDir string) error {
	if s.Text == nil {
		return s.remove(confDir)
	}
	if dir := filepath.Dir(s.Path); dir != confDir {
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return replace(s.Path, s.Was, s.Text, s.Like)
}

func (s Step) remove(confDir string) error {
	if err := unmoved(s.Path, s.Was); err != nil {
		return err
	}
	if err := os.Remove(s.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	dir := filepath.Dir(s.Path)
	if err := syncDir(dir); err != nil || dir == confDir {
		return err
	}
	return removeEmpty(dir)
}

// removeEmpty takes a network's directory away when it is empty: most likely it was ours. Whoever
// else uses it has something in it. Not os.Remove, which would take a link to one as well.
func removeEmpty(dir string) error {
	switch err := unix.Rmdir(dir); {
	case err == nil, errors.Is(err, unix.ENOTEMPTY), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ENOENT):
		return nil
	default:
		return fmt.Errorf("rmdir %s: %w", dir, err)
	}
}

// telling makes a change that a runtime does not see: it watches its conf dir, not what is below
// it or behind a link. A temporary file is there from before the change until the runtime is told.
// So a run that is killed in between leaves it, and the next, which finds nothing to change, tells
// the runtime all the same: Sweep discards it.
func telling(confDir string, change func() error) error {
	f, err := os.CreateTemp(confDir, tempPattern)
	if err != nil {
		return err
	}
	return errors.Join(change(), f.Close(), discard(f.Name()))
}

// discard removes a temporary file so that a runtime reads its conf dir again: containerd does
// for RENAME and REMOVE, but neither for CREATE nor CHMOD; CRI-O for CREATE and RENAME, but not for
// REMOVE.
func discard(path string) error {
	gone := filepath.Join(filepath.Dir(path), strings.Replace(tempPattern, "*", "gone", 1))
	if err := os.Rename(path, gone); err != nil {
		return err
	}
	return os.Remove(gone)
}

// replace writes a file anew beside where it is, and renames it into place: a reader
// finds the old or the new, whole. Mode, owner and extended attributes stay, or are those of like; if
// one cannot be kept, nothing is written. Links stay: the file is the one that they lead to.
func replace(path string, was, text []byte, like string) error {
	at := path
	if was != nil {
		var err error
		if at, err = filepath.EvalSymlinks(path); err != nil {
			return err
		}
		like = cmp.Or(like, at)
	}
	f, err := os.CreateTemp(filepath.Dir(at), tempPattern)
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already if all went well
	_, err = f.Write(text)
	if err == nil {
		err = dress(f, like)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", at, err)
	}
	if err := unmoved(path, was); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), at); err != nil {
		return err
	}
	return syncDir(filepath.Dir(at))
}

// unmoved compares a file with what it held when the Plan was made.
func unmoved(path string, was []byte) error {
	now, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if was == nil {
			return nil
		}
	case err != nil:
		return err
	case was != nil && bytes.Equal(now, was):
		return nil
	}
	return fmt.Errorf("%s: %w", path, ErrMoved)
}

// syncDir makes names in a directory last through a power cut.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// Sweep removes what a run that was killed left in directories, and with it tells the runtime what
// that run may not have told it.
func Sweep(dirs ...string) error {
	var failed error
	for _, dir := range dirs {
		left, err := filepath.Glob(filepath.Join(dir, tempPattern))
		for _, path := range left {
			err = errors.Join(err, discard(path))
		}
		failed = errors.Join(failed, err)
	}
	return failed
}

// lock keeps others of us out of both directories. Two installers may share a BinDir, where a
// runtime handler has a ConfDir of its own.
func (n Node) lock() (release func() error, err error) {
	conf, err := Lock(n.ConfDir)
	if errors.Is(err, fs.ErrNotExist) {
		conf, err = func() error { return nil }, nil // an uninstall may find none; an install has made it
	}
	if err != nil {
		return nil, err
	}
	if oneFile(n.ConfDir, n.BinDir) {
		return conf, nil
	}
	ctx, stop := context.WithTimeout(context.Background(), retry)
	defer stop()
	bin, err := patiently(ctx, 10*time.Millisecond, func() (func() error, error) { return Lock(n.BinDir) }) // a run takes milliseconds
	if err != nil {
		return nil, errors.Join(err, conf())
	}
	return func() error { return errors.Join(bin(), conf()) }, nil
}

// oneFile reports whether two paths lead to the same file or directory.
func oneFile(a, b string) bool {
	was, errA := os.Stat(a)
	is, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(was, is)
}

// Lock keeps others of us (a surge, a run by hand) out of a directory until it is
// released. The lock is on the directory itself, so it leaves no file, and goes with
// the process.
func Lock(dir string) (release func() error, err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: lock: another detour install is at work here: %w", dir, err), f.Close())
	}
	return func() error {
		// Close alone frees it late where a child is just being started: until its exec that has a
		// copy of every descriptor, and a lock goes with the last.
		return errors.Join(unix.Flock(int(f.Fd()), unix.LOCK_UN), f.Close())
	}, nil
}

// patiently asks for a lock again after each pause while another of ours has it.
func patiently(ctx context.Context, pause time.Duration, lock func() (func() error, error)) (release func() error, err error) {
	release, err = lock()
	for errors.Is(err, unix.EWOULDBLOCK) && sleep(ctx, pause) {
		release, err = lock()
	}
	return release, err
}
