package node

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// logs is where every process of the node writes.
const logs = "/var/log/node"

// A Process is one daemon of the node.
type Process struct {
	Name string
	path string
	args []string
	env  []string
	cmd  *exec.Cmd
	done chan struct{}
	mu   sync.Mutex
	// supervised is started again when it ends by itself, as systemd does with a kubelet
	// whose runtime is not there yet.
	supervised, wanted bool
}

// start runs a daemon, with its output in a file.
func start(name, path string, env []string, args ...string) (*Process, error) {
	p := &Process{Name: name, path: path, args: args, env: env}
	return p, p.start()
}

func (p *Process) start() error {
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return err
	}
	log, err := os.OpenFile(p.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cmd, p.done, p.wanted = exec.Command(p.path, p.args...), make(chan struct{}), true
	p.cmd.Env = append(os.Environ(), p.env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	go func(cmd *exec.Cmd, done chan struct{}) {
		_ = cmd.Wait() // whoever needs it waits for done
		close(done)
		time.Sleep(200 * time.Millisecond)
		p.mu.Lock()
		again := p.supervised && p.wanted
		p.mu.Unlock()
		if again {
			_ = p.start() // its log says why not
		}
	}(p.cmd, p.done)
	return nil
}

// Log is the file with the daemon's output.
func (p *Process) Log() string { return filepath.Join(logs, p.Name+".log") }

// Stop ends the daemon, gently for at most ten seconds.
func (p *Process) Stop() {
	p.unwanted()
	_ = p.cmd.Process.Signal(unix.SIGTERM) // it may be gone already
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		p.Kill()
	}
}

// Kill ends the daemon at once.
func (p *Process) Kill() {
	p.unwanted()
	_ = p.cmd.Process.Kill() // it may be gone already
	<-p.done
}

func (p *Process) unwanted() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wanted = false
}

// Restart starts the daemon again after Stop or Kill.
func (p *Process) Restart() error { return p.start() }

// exited reports whether the daemon has ended.
func (p *Process) exited() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// await asks until ok, a daemon's end, or ctx's.
func await(ctx context.Context, what string, p *Process, ok func() error) error {
	for {
		err := ok()
		if err == nil {
			return nil
		}
		if p != nil && !p.supervised && p.exited() {
			return fmt.Errorf("%s: %s has ended, see %s: %w", what, p.Name, p.Log(), err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w: %w", what, ctx.Err(), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
