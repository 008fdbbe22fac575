package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// call connects and hangs up; local is the caller's end.
func (f family) call(to netip.AddrPort) (local string, err error) { return f.callWithin(to, nil) }

// callWithin is call from a socket that control has set up.
func (f family) callWithin(to netip.AddrPort, control func(network, address string, c syscall.RawConn) error) (local string, err error) {
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	var same *os.File // the call's socket, for when Dial has closed it
	d := net.Dialer{Control: func(network, address string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			var n int
			n, failed = syscall.Dup(int(fd))
			same = os.NewFile(uintptr(n), address)
		})
		if err = errors.Join(err, failed); err != nil || control == nil {
			return err
		}
		return control(network, address, c)
	}}
	c, err := d.DialContext(ctx, "tcp"+f.suffix, to.String())
	defer same.Close()
	if silence(err) {
		return f.late(same, err)
	}
	if err != nil {
		return "", err
	}
	defer c.Close()
	return c.LocalAddr().String(), nil
}

// errLate says that silence proves nothing.
var errLate = errors.New("the node is too slow to tell whether anybody answers")

// late looks again at a call's socket after silence. Who answers in the pod does so at once, but where
// nobody gets a processor, this process or the kernel's thread that delivers to loopback, that is
// late as well. So first a call is made that is sure to be refused in the pod: what was to come before
// that has come.
func (f family) late(socket *os.File, silent error) (local string, err error) {
	c, err := net.DialTimeout("tcp"+f.suffix, netip.AddrPortFrom(f.local, unused(f)).String(), patience)
	if silence(err) {
		return "", errLate
	}
	if err == nil {
		_ = c.Close()
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return "", err
	}
	var answer int
	if err := raw.Control(func(fd uintptr) { answer, _ = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_ERROR) }); err != nil {
		return "", err
	}
	if answer != 0 {
		return "", syscall.Errno(answer)
	}
	if c, err = net.FileConn(socket); err != nil {
		return "", err
	}
	defer c.Close()
	if c.RemoteAddr() != nil { // it is connected
		return c.LocalAddr().String(), nil
	}
	return "", silent
}

// callers are those who have connected to a listener.
type callers struct {
	mu  sync.Mutex
	all map[string]bool
}

// callersOf takes every call, until the listener is closed.
func callersOf(l net.Listener) *callers {
	c := &callers{all: map[string]bool{}}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.mu.Lock()
			c.all[conn.RemoteAddr().String()] = true
			c.mu.Unlock()
			_ = conn.Close()
		}
	}()
	return c
}

// heard waits for one caller.
func (c *callers) heard(who string) bool {
	for late := time.Now().Add(patience); time.Now().Before(late); time.Sleep(time.Millisecond) {
		c.mu.Lock()
		ok := c.all[who]
		c.mu.Unlock()
		if ok {
			return true
		}
	}
	return false
}

// unused is a port on which nobody listens at the moment.
func unused(f family) uint16 {
	l, err := net.Listen("tcp"+f.suffix, ":0")
	if err != nil {
		return 9
	}
	defer l.Close()
	return netip.MustParseAddrPort(l.Addr().String()).Port()
}

// reason is the system's word for what went wrong with a call.
func reason(err error) error {
	var sys syscall.Errno
	switch {
	case silence(err):
		return errors.New("nobody answers")
	case errors.As(err, &sys):
		return sys
	}
	return err
}

// silence reports whether that is what became of a call.
func silence(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
