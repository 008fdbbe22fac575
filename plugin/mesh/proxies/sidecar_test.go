package proxies

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/detour-cni/detour/redirect/redirecttest"
)

// role is what a mesh wants of its proxy.
type role struct {
	owner             redirecttest.Owner
	outbound, inbound int
	// tproxy: the inbound listener is transparent, and the proxy may make it so.
	tproxy bool
	// source4 and source6 are whom the proxy calls its own app as; "" leaves it to the kernel.
	source4, source6 string
}

// software is a proxy that somebody else wrote.
type software struct {
	program string
	// config writes the configuration of a role; args are followed by the file's name.
	config func(role) string
	args   []string
	// ready is the last thing that the proxy says before it serves.
	ready string
	// read finds a connection in a line of the log.
	read func(line string) (seen, bool)
}

// seen is a connection that a proxy says it took.
type seen struct {
	side             string // "outbound" or "inbound"
	client, original netip.AddrPort
}

func (s seen) String() string { return fmt.Sprintf("%s: %v for %v", s.side, s.client, s.original) }

// sidecar is a running proxy.
type sidecar struct {
	cmd   *exec.Cmd
	lines chan string // closed when the proxy has ended
	read  func(string) (seen, bool)
}

// start runs a proxy in a pod and waits until it serves.
func (s software) start(t *testing.T, pod *redirecttest.NetNS, r role) *sidecar {
	t.Helper()
	program, err := os.Open(s.program)
	if err != nil {
		t.Fatalf("%v: make deps bin/sing-box builds and installs the proxies", err)
	}
	defer program.Close()
	config := s.write(t, r)
	defer config.Close()
	// Both are given as open files: the proxy's user need not be able to walk there.
	cmd := exec.Command("/proc/self/fd/3", append(s.args, "/proc/self/fd/4")...)
	cmd.ExtraFiles = []*os.File{program, config}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: r.owner.UID, Gid: r.owner.GID}}
	if r.tproxy {
		const capNetAdmin = 12 // linux/capability.h; IP_TRANSPARENT asks for it
		cmd.SysProcAttr.AmbientCaps = []uintptr{capNetAdmin}
	}
	log, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	err = pod.Do(cmd.Start)
	_ = w.Close() // the proxy has its own
	if err != nil {
		t.Fatal(err)
	}
	p := &sidecar{cmd: cmd, lines: make(chan string, 1000), read: s.read}
	go func() {
		defer log.Close()
		defer close(p.lines)
		for in := bufio.NewScanner(log); in.Scan(); {
			p.lines <- in.Text()
		}
	}()
	t.Cleanup(p.stop)
	p.until(t, s.ready, func(line string) bool { return strings.Contains(line, s.ready) })
	return p
}

// write makes a file of a configuration, readable by the proxy's user.
func (s software) write(t *testing.T, r role) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte(s.config(r)), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Chmod(0o644); err != nil { // whatever the umask
		t.Fatal(err)
	}
	return f
}

// stop ends the proxy and all its processes: the log ends with the last of them.
// A second time it does nothing.
func (p *sidecar) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // gone already, then; HAProxy's master takes its worker along
	_ = p.cmd.Wait()                          // says that it was killed
	for range p.lines {
		continue
	}
}

// until reads the log up to a line.
func (p *sidecar) until(t *testing.T, what string, is func(string) bool) {
	t.Helper()
	var log strings.Builder
	deadline := time.After(patience)
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				t.Fatalf("the proxy ended before it said %q:\n%s", what, &log)
			}
			if is(line) {
				return
			}
			fmt.Fprintln(&log, line)
		case <-deadline:
			t.Fatalf("in %s the proxy did not say %q:\n%s", patience, what, &log)
		}
	}
}

// took waits for the proxy's word on a connection.
func (p *sidecar) took(t *testing.T, want seen) {
	t.Helper()
	p.until(t, fmt.Sprint(want), func(line string) bool {
		got, ok := p.read(line)
		return ok && got == want
	})
}
