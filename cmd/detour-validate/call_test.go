package main

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"
)

// late has a call wait until its time is over before it is made, as a process that gets no processor.
func late(_, _ string, _ syscall.RawConn) error {
	<-time.After(patience + 10*time.Millisecond)
	return nil
}

// An answer counts however late anybody looks at it: silence is a proof.
func TestAnAnswerThatIsReadLateIsNoSilence(t *testing.T) {
	f := families()[0]
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	to := netip.MustParseAddrPort(l.Addr().String())
	if local, err := f.callWithin(to, late); err != nil || local == "" {
		t.Errorf("answered: %q, %v", local, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.callWithin(to, late); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("refused: %v", err)
	}
}

// A listener whose queue is full answers nobody.
func TestSilenceIsSilence(t *testing.T) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	full := os.NewFile(uintptr(fd), "")
	defer full.Close()
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(name.(*syscall.SockaddrInet4).Port))
	c, err := net.Dial("tcp4", to.String()) // the one that the queue holds
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for name, control := range map[string]func(string, string, syscall.RawConn) error{"looked at in time": nil, "late": late} {
		if _, err := families()[0].callWithin(to, control); !silence(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
