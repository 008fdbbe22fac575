package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/containernetworking/plugins/pkg/ns"

	"github.com/detour-cni/detour/demo/proxy"
)

// self is the demo's own program, where every uid may run it.
const self = home + "/bin/demo"

// ourselves gives a command that plays a role as a user. In a pod it is started
// from there: a process is born into its parent thread's network namespace.
func ourselves(uid uint32, args ...string) *exec.Cmd {
	cmd := exec.Command(self, args...)
	cmd.Dir = "/"
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	return cmd
}

// within runs f in the network namespace at path; on the node where path is "".
func within(path string, f func() error) error {
	if path == "" {
		return f()
	}
	return ns.WithNetNSPath(path, func(ns.NetNS) error { return f() })
}

// process is a program that goes on running.
type process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines chan []byte
}

// start starts a program and waits for its first line: it is ready then.
func start(netns string, cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, lines: make(chan []byte, 100)}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := within(netns, cmd.Start); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(stdout); s.Scan(); {
			p.lines <- bytes.Clone(s.Bytes())
		}
	}()
	if _, err := p.line(); err != nil {
		return nil, fmt.Errorf("start %v: %w", cmd.Args, errors.Join(err, p.stop()))
	}
	return p, nil
}

func (p *process) line() ([]byte, error) {
	select {
	case l, ok := <-p.lines:
		if !ok {
			return nil, errors.New("ended without a word")
		}
		return l, nil
	case <-time.After(patience):
		return nil, fmt.Errorf("silent for %s", patience)
	}
}

func (p *process) stop() error {
	if err := p.cmd.Process.Kill(); err != nil {
		return err
	}
	_ = p.cmd.Wait() // it says that it was killed
	return nil
}

// sidecar is a running proxy.
type sidecar struct{ *process }

// seen gives the connections that the proxy has taken since it was last asked.
func (p sidecar) seen() ([]proxy.Seen, error) {
	if _, err := fmt.Fprintln(p.stdin); err != nil {
		return nil, err
	}
	var all []proxy.Seen
	for {
		line, err := p.line()
		if err != nil {
			return nil, fmt.Errorf("proxy: %w", err)
		}
		var e event
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("proxy: %w", err)
		}
		if e.Mark {
			return all, nil
		}
		all = append(all, e.Seen)
	}
}

// callFrom calls an address from a namespace, as a user. That nobody answers is
// no error: it is in the result.
func callFrom(netns string, uid uint32, to string) (call, error) {
	cmd := ourselves(uid, "call", to)
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := within(netns, cmd.Start); err != nil {
		return call{}, err
	}
	if err := cmd.Wait(); err != nil {
		return call{}, fmt.Errorf("call %s: %w", to, err)
	}
	var c call
	err := json.Unmarshal(out.Bytes(), &c)
	return c, err
}
