package install

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

// hear gives a function that says which runtimes have read their conf dir again since a file was
// changed, which may be below it or anywhere else. containerd does for all but CREATE and CHMOD,
// CRI-O (ocicni) for CREATE, WRITE and RENAME.
func hear(t *testing.T, confDir, file string) func() string {
	t.Helper()
	w, err := fsnotify.NewWatcher()
	must(t, err)
	t.Cleanup(func() { must(t, w.Close()) })
	must(t, w.Add(confDir))
	must(t, w.Add(filepath.Dir(file)))
	return func() string {
		var containerd, crio string
		must(t, os.Chmod(confDir, 0o755)) // inotify keeps the order: what comes before it is all there was
		for e := range w.Events {
			switch {
			case e.Name == confDir:
				return containerd + crio
			case e.Name == file:
				containerd, crio = "", ""
			case filepath.Dir(e.Name) != confDir:
				continue
			}
			if !e.Has(fsnotify.Create) && !e.Has(fsnotify.Chmod) && e.Name != file {
				containerd = "containerd "
			}
			if e.Has(fsnotify.Create|fsnotify.Write|fsnotify.Rename) && e.Name != file {
				crio = "cri-o"
			}
		}
		return ""
	}
}

// TestARuntimeIsToldOfWhatItDoesNotSee changes what is below the conf dir or behind a link. If the
// run ends right after the change, the next one tells, although it finds nothing to change.
func TestARuntimeIsToldOfWhatItDoesNotSee(t *testing.T) {
	for name, mode := range map[string]Mode{"a drop-in": DropIn, "a list behind a link": Spliced} {
		for _, verb := range []string{"install", "uninstall"} {
			for _, end := range []string{"done", "failed", "killed"} {
				t.Run(name+" "+verb+" "+end, func(t *testing.T) {
					n := node(t, mode)
					file := filepath.Join(n.ConfDir, "cbr0", dropInName)
					if mode == DropIn {
						write(t, n.ConfDir, "10-flannel.conflist", flannel)
					} else {
						file = filepath.Join(filepath.Dir(n.ConfDir), "elsewhere", "flannel")
						must(t, os.Symlink(file, filepath.Join(n.ConfDir, "10-flannel.conflist")))
					}
					must(t, os.MkdirAll(filepath.Dir(file), 0o755))
					if mode == Spliced {
						write(t, filepath.Dir(file), "flannel", flannel)
					}
					step := n.nextStep(t, verb)
					heard := hear(t, n.ConfDir, file)
					step.applyUntil(t, n.ConfDir, end)
					again(t, n, verb)
					if got := heard(); got != "containerd cri-o" {
						t.Errorf("told: %q", got)
					}
					if left := names(t, filepath.Dir(n.ConfDir)); strings.Contains(left, ".tmp") {
						t.Errorf("left: %s", left)
					}
				})
			}
		}
	}
}

// nextStep is the one change that an install or an uninstall would make now.
func (n Node) nextStep(t *testing.T, verb string) Step {
	t.Helper()
	if verb == "uninstall" {
		_, err := n.Install()
		must(t, err)
	}
	d, r, err := n.Look()
	must(t, err)
	p := r.Plan
	if verb == "uninstall" {
		p, err = Leave(d)
		must(t, err)
	}
	if len(p.Steps) != 1 {
		t.Fatalf("%d steps", len(p.Steps))
	}
	return p.Steps[0]
}

// applyUntil applies a step to its end, or until the change is made: then it fails, or is killed.
func (s Step) applyUntil(t *testing.T, confDir, end string) {
	t.Helper()
	switch end {
	case "done":
		must(t, s.apply(confDir))
	case "failed":
		if err := telling(confDir, func() error { return errors.Join(s.change(confDir), unix.EIO) }); !errors.Is(err, unix.EIO) {
			t.Errorf("a failure is not said: %v", err)
		}
	case "killed":
		dead := make(chan struct{})
		go func() {
			defer close(dead)
			_ = telling(confDir, func() error {
				if err := s.change(confDir); err != nil {
					t.Error(err)
				}
				goruntime.Goexit() // nothing after it is run
				return nil
			})
		}()
		<-dead
	}
}

// again is a run that has nothing to change.
func again(t *testing.T, n Node, verb string) {
	t.Helper()
	if verb == "install" {
		r, err := n.Install()
		must(t, err)
		if len(r.Plan.Steps) > 0 {
			t.Errorf("the next run changes %s", r.Plan.Steps[0].Path)
		}
		return
	}
	f, err := n.LeaveChain(context.Background())
	must(t, err)
	if len(f.Steps) > 0 {
		t.Errorf("the next run changes %s", f.Steps[0].Path)
	}
}

// TestWhatAKilledRunLeftIsSwept, wherever it wrote, and the directory that it made goes as well.
func TestWhatAKilledRunLeftIsSwept(t *testing.T) {
	for _, tc := range []struct {
		place string
		mode  Mode
	}{
		{"net.d", Spliced},
		{"bin", Spliced},
		{"net.d/cbr0", DropIn},
		{"elsewhere", Spliced}, // to which a link in net.d leads
		{"real", DropIn},       // another network's directory, behind a link
	} {
		for _, verb := range []string{"install", "uninstall"} {
			t.Run(verb+" "+tc.place, func(t *testing.T) {
				n := node(t, tc.mode)
				root := filepath.Dir(n.ConfDir)
				for _, dir := range []string{"elsewhere", "real"} {
					must(t, os.Mkdir(filepath.Join(root, dir), 0o755))
				}
				write(t, filepath.Join(root, "elsewhere"), "flannel", flannel)
				must(t, os.Symlink("../elsewhere/flannel", filepath.Join(n.ConfDir, "10-flannel.conflist")))
				must(t, os.Symlink("../real", filepath.Join(n.ConfDir, "other")))
				before := tree(t, root)
				must(t, os.MkdirAll(filepath.Join(root, tc.place), 0o755))
				write(t, filepath.Join(root, tc.place), strings.Replace(tempPattern, "*", "1", 1), "half")
				if verb == "install" {
					_, err := n.Install()
					must(t, err)
					if left := names(t, root); strings.Contains(left, ".tmp") {
						t.Errorf("installed, and left: %s", left)
					}
				} else {
					must(t, os.WriteFile(filepath.Join(n.BinDir, PluginType), bytesOf(t, n.Plugin), 0o755))
				}
				_, err := n.uninstall(t)
				must(t, err)
				if now := tree(t, root); now != before {
					t.Errorf("uninstalled, and left:\n%s\nwant\n%s", now, before)
				}
			})
		}
	}
}

// TestALockIsFreeOnceItIsReleased, whoever else has the descriptor: a child has, from its fork to its exec.
func TestALockIsFreeOnceItIsReleased(t *testing.T) {
	dir := t.TempDir()
	release, err := Lock(dir)
	must(t, err)
	held := 0
	fds, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	for _, e := range fds {
		at := filepath.Join("/proc/self/fd", e.Name())
		if to, err := os.Readlink(at); err != nil || to != dir {
			continue
		}
		fd, err := strconv.Atoi(e.Name())
		must(t, err)
		twin, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		must(t, err)
		t.Cleanup(func() { unix.Close(twin) })
		held++
	}
	if _, err := Lock(dir); held == 0 || !errors.Is(err, unix.EWOULDBLOCK) {
		t.Fatalf("%d descriptors, a second lock: %v", held, err)
	}
	must(t, release())
	again, err := Lock(dir)
	must(t, err)
	must(t, again())
}

func bytesOf(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	return text
}
