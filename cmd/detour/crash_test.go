package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fsnotify/fsnotify"
)

// crashPrimary is what the conf dir holds before: the bytes that must never be lost.
const crashPrimary = "{\n  \"cniVersion\": \"0.3.1\",\n  \"name\": \"cbr0\",\n  \"plugins\": [\n    {\"type\": \"bridge\"}\n  ]\n}\n"

// fileCalls are the system calls that change a directory or what is in it.
func fileCalls() []string {
	return []string{"openat", "write", "fchmod,fchmodat", "fsync", "renameat,renameat2,rename", "unlinkat,unlink,rmdir", "mkdirat,mkdir", "flock", "copy_file_range,sendfile"}
}

// A crashNode is a node of its own on which the built detour runs as a process.
type crashNode struct {
	t               *testing.T
	detour, dir     string
	confDir, binDir string
}

func newCrashNode(t *testing.T) *crashNode {
	t.Helper()
	if os.Getenv("DETOUR_NETNS_TESTS") == "" {
		t.Skip("needs root and strace, and 40 s: make test-netns")
	}
	n := &crashNode{t: t, dir: t.TempDir()}
	build(t, n.dir, "detour-cni") // beside detour, where it looks for it
	n.detour = build(t, n.dir, "detour")
	return n
}

// fresh makes the directories anew.
func (n *crashNode) fresh() {
	n.t.Helper()
	root := filepath.Join(n.dir, "node")
	n.confDir, n.binDir = filepath.Join(root, "net.d"), filepath.Join(root, "bin")
	n.must(os.RemoveAll(root))
	n.must(os.MkdirAll(n.confDir, 0o750))
	n.must(os.MkdirAll(n.binDir, 0o750))
	n.must(os.WriteFile(filepath.Join(n.confDir, "10-flannel.conflist"), []byte(crashPrimary), 0o600))
}

func (n *crashNode) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

// command is detour with the node's directories, behind a wrapper or none.
func (n *crashNode) command(wrapper []string, verb, mode string) *exec.Cmd {
	args := append(wrapper, n.detour, verb, "--conf-dir", n.confDir, "--bin-dir", n.binDir, "--mode", mode, "--runtime", "containerd://2.1.0")
	if verb == "install" {
		args = append(args, "--once")
	} else {
		args = append(args, "--grace", "1ms")
	}
	return exec.Command(args[0], args[1:]...) //nolint:gosec // our own
}

// state is all that the node has: directories, and each file by name, and whether it is whole.
func (n *crashNode) state() map[string]string {
	n.t.Helper()
	files := map[string]string{}
	for _, dir := range []string{n.confDir, n.binDir} {
		n.must(filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
			name := strings.TrimPrefix(path, filepath.Dir(n.confDir)+"/")
			if err != nil || e.IsDir() {
				files[name] = "a directory"
				return err
			}
			text, err := os.ReadFile(path)
			files[name] = fmt.Sprintf("%d bytes %x", len(text), sha256.Sum256(text))
			return err
		}))
	}
	return files
}

// between fails for a file that is neither as before nor as after.
func (n *crashNode) between(what string, before, after map[string]string) {
	n.t.Helper()
	left := n.state()
	for name, now := range left {
		if strings.HasSuffix(name, ".tmp") { // the next run sweeps
			continue
		}
		if now != before[name] && now != after[name] {
			n.t.Errorf("%s: %s is neither as before nor as after: %s", what, name, now)
		}
	}
	for name, was := range before {
		if _, there := left[name]; !there && after[name] == was {
			n.t.Errorf("%s: %s is gone", what, name)
		}
	}
	if _, binary := left["bin/detour-cni"]; !binary && n.named() {
		n.t.Errorf("%s: the chain names a binary that is not there", what)
	}
}

// named reports whether any configuration names our plugin.
func (n *crashNode) named() (found bool) {
	n.must(filepath.WalkDir(n.confDir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.HasSuffix(path, ".tmp") {
			return err
		}
		text, err := os.ReadFile(path)
		found = found || strings.Contains(string(text), "detour-cni")
		return err
	}))
	return found
}

// A crashRuntime has in memory what its conf dir held when it was last told to read it.
type crashRuntime struct {
	name   string
	tells  func(fsnotify.Event) bool
	memory string
}

// crashRuntimes are what reads the conf dir again: containerd for all but CREATE and CHMOD; CRI-O (ocicni) for
// CREATE, WRITE and RENAME, and for the REMOVE of the list that it has loaded.
func crashRuntimes() []*crashRuntime {
	return []*crashRuntime{
		{name: "containerd", tells: func(e fsnotify.Event) bool { return !e.Has(fsnotify.Create) && !e.Has(fsnotify.Chmod) }},
		{name: "cri-o", tells: func(e fsnotify.Event) bool {
			return e.Has(fsnotify.Create|fsnotify.Write|fsnotify.Rename) || filepath.Ext(e.Name) == ".conflist"
		}},
	}
}

// told starts runtimes on the conf dir. The function that it gives fails for each that has something else in
// memory than is there.
func (n *crashNode) told() func(what string) {
	n.t.Helper()
	w, err := fsnotify.NewWatcher()
	n.must(err)
	n.must(w.Add(n.confDir))
	runtimes := crashRuntimes()
	for _, r := range runtimes {
		r.memory = n.configured()
	}
	last := filepath.Join(n.confDir, "last") // what comes before it is all there was: inotify keeps the order
	done := make(chan struct{})
	go func() {
		defer close(done)
		for e := range w.Events {
			if e.Name == last {
				return
			}
			for _, r := range runtimes {
				if r.tells(e) {
					r.memory = n.configured()
				}
			}
		}
	}()
	return func(what string) {
		n.t.Helper()
		n.must(os.WriteFile(last, nil, 0o600))
		<-done
		n.must(errors.Join(w.Close(), os.Remove(last)))
		for _, r := range runtimes {
			if now := n.configured(); r.memory != now {
				n.t.Errorf("%s: %s was not told of\n%s\nit has\n%s", what, r.name, now, r.memory)
			}
		}
	}
}

// configured is what a runtime loads. A file that goes while it is read is not there.
func (n *crashNode) configured() string {
	var all strings.Builder
	for _, pattern := range []string{"*.conflist", "*/*.conf"} {
		paths, _ := filepath.Glob(filepath.Join(n.confDir, pattern)) // the pattern is good
		for _, path := range paths {
			if text, err := os.ReadFile(path); err == nil { //nolint:gosec // our own
				fmt.Fprintf(&all, "%s: %s\n", path, text)
			}
		}
	}
	return all.String()
}

// TestKilledAtEveryFileOperation stops install and uninstall with SIGKILL, and with an error, at each
// call that changes a file: every file is as before or as after, and the next run finishes, leaves nothing behind, and
// has told the runtime.
func TestKilledAtEveryFileOperation(t *testing.T) {
	n := newCrashNode(t)
	kills := 0
	for _, mode := range []string{"splice", "drop-in", "owned"} {
		n.fresh()
		plain := n.state()
		n.run(n.command(nil, "install", mode))
		joined := n.state()
		for _, verb := range []string{"install", "uninstall"} {
			before, after := plain, joined
			if verb == "uninstall" {
				before, after = joined, plain
			}
			for _, fault := range []string{"signal=KILL", "error=ENOSPC", "error=EACCES"} {
				for _, call := range fileCalls() {
					kills += n.faults(verb, mode, call, fault, before, after)
				}
			}
		}
	}
	if kills < 60 {
		t.Errorf("only %d runs were stopped", kills)
	}
	t.Logf("%d runs stopped", kills)
}

// run runs what must succeed.
func (n *crashNode) run(c *exec.Cmd) {
	n.t.Helper()
	if out, err := c.CombinedOutput(); err != nil {
		n.t.Fatalf("%v: %v: %s", c.Args, err, out)
	}
}

// faults stops a verb at the first, second … call until it gets through unharmed.
func (n *crashNode) faults(verb, mode, call, fault string, before, after map[string]string) (stopped int) {
	n.t.Helper()
	if strings.HasPrefix(call, "openat") && fault != "signal=KILL" {
		return 0 // the runtime's own start fails: nothing to learn
	}
	for at := 1; at < 40; at++ {
		n.fresh()
		if verb == "uninstall" {
			n.run(n.command(nil, "install", mode))
		}
		what := fmt.Sprintf("%s %s, %s at %s %d", verb, mode, fault, call, at)
		told := n.told()
		c := n.command([]string{"strace", "-f", "-qq", "-o", os.DevNull, "-e", "trace=" + call, "-e", fmt.Sprintf("inject=%s:%s:when=%d", call, fault, at)}, verb, mode)
		out, err := c.CombinedOutput()
		if failed, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
			n.t.Fatalf("%s: %v", what, err)
		} else if ok && strings.Contains(string(out), "panic:") {
			n.t.Errorf("%s: %v: %s", what, failed, out)
		}
		n.between(what, before, after)
		done := err == nil
		n.run(n.command(nil, verb, mode))
		if now := n.state(); fmt.Sprint(now) != fmt.Sprint(after) {
			n.t.Errorf("%s: the next run leaves %v, want %v", what, now, after)
		}
		told(what)
		if done {
			return stopped
		}
		stopped++
	}
	return stopped
}

// TestWithoutAnyCapability runs the installer as the DaemonSet does: uid 0 and no
// capability. What it cannot keep it names, and then writes nothing.
func TestWithoutAnyCapability(t *testing.T) {
	n := newCrashNode(t)
	bare := []string{"setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"}
	for _, mode := range []string{"splice", "drop-in", "owned"} {
		n.fresh()
		before := n.state()
		n.run(n.command(bare, "install", mode))
		if !n.named() {
			t.Errorf("%s: not joined", mode)
		}
		n.run(n.command(bare, "uninstall", mode))
		if now := n.state(); fmt.Sprint(now) != fmt.Sprint(before) {
			t.Errorf("%s: left %v", mode, now)
		}
	}
	primary := func() string { return filepath.Join(n.confDir, "10-flannel.conflist") }
	for _, tc := range []struct {
		name  string
		spoil func() error
		words string
	}{
		{"a file of another owner", func() error { return errors.Join(os.Chown(primary(), 1000, 1000), os.Chmod(primary(), 0o644)) }, "keep owner 1000:1000"},
		{"a file that only its owner reads", func() error { return os.Chown(primary(), 1000, 1000) }, "permission denied"},
		{"a bin dir that is not writable", func() error { return os.Chmod(n.binDir, 0o555) }, "permission denied"},
		{"a conf dir that is not writable", func() error { return os.Chmod(n.confDir, 0o555) }, "permission denied"},
	} {
		n.fresh()
		n.must(tc.spoil())
		out, err := n.command(bare, "install", "splice").CombinedOutput()
		if err == nil || !strings.Contains(string(out), tc.words) || strings.Count(string(out), "\n") != 1 {
			t.Errorf("%s: %v: %s", tc.name, err, out)
		}
		if text, err := os.ReadFile(primary()); err != nil || string(text) != crashPrimary {
			t.Errorf("%s: %s %v", tc.name, text, err)
		}
	}
}
