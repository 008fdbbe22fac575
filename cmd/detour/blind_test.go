package main

import (
	"bytes"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestWithoutAnInotifyInstance runs the installer where the kernel has no inotify instance left, as on a node on
// which others took them all: it installs all the same, says what is missing, and stays.
func TestWithoutAnInotifyInstance(t *testing.T) {
	n := newCrashNode(t)
	n.fresh()
	none := []string{"unshare", "--user", "--map-root-user", "sh", "-c", `echo 0 >/proc/sys/user/max_inotify_instances && exec "$@"`, "sh"}
	args := append(none, n.detour, "install", "--conf-dir", n.confDir, "--bin-dir", n.binDir, "--mode", "splice", "--listen", "")
	c := exec.Command(args[0], args[1:]...) //nolint:gosec // our own
	var log lockedBuffer
	c.Stdout, c.Stderr = &log, &log
	n.must(c.Start())
	installed := func() bool { return n.named() && strings.Contains(log.String(), "msg=installed") }
	for end := time.Now().Add(10 * time.Second); !installed() && time.Now().Before(end); <-time.After(20 * time.Millisecond) {
	}
	n.must(c.Process.Signal(unix.SIGTERM))
	if err := c.Wait(); err != nil || !n.named() || !strings.Contains(log.String(), "fs.inotify.max_user_instances") || !strings.Contains(log.String(), "stopped: the node stays in the mesh") {
		t.Errorf("in the chain: %t, %v: %s", n.named(), err, log.String())
	}
}

// lockedBuffer is what a process writes, while it does.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
