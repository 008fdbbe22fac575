package redirecttest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect"
)

// call is one attempt to reach something.
type call struct {
	from     Place
	owner    Owner
	kind     socketKind
	src, dst netip.AddrPort
	wait     time.Duration
}

// firstPort is beyond the ports that rows name.
const firstPort = 50000

// result is how a call ended: an answer, or why there is none.
type result struct {
	answer answer
	self   netip.AddrPort // the caller's own end
	err    error          // errSilence, ECONNREFUSED, …
}

// place makes the call, and gives the socket for more: close it. A call from any
// port gets one of its own: the kernel may choose one that an earlier row had, and
// where the redirect makes both calls' answers look the same NAT then chooses again.
func (p *Pod) place(c call) (fd int, r result) {
	if c.src.Port() == 0 && c.kind.proto != redirect.ICMPProto {
		p.ports++
		c.src = netip.AddrPortFrom(c.src.Addr(), firstPort+p.ports)
	}
	deadline := time.Now().Add(c.wait)
	fd = -1
	err := p.places[c.from].DoAs(c.owner, func() (err error) {
		if fd, err = c.kind.open(); err != nil {
			return err
		}
		if err := unix.Bind(fd, sockaddr(c.src)); err != nil {
			return fmt.Errorf("bind %v: %w", c.src, err)
		}
		err = unix.Connect(fd, sockaddr(c.dst))
		if errors.Is(err, unix.EINPROGRESS) {
			return nil
		}
		return err
	})
	if err != nil {
		return fd, result{err: err}
	}
	if r.err = c.finish(fd, deadline); r.err != nil {
		return fd, r
	}
	if self, err := unix.Getsockname(fd); err == nil {
		r.self = addrPort(self)
	}
	buf := make([]byte, 2048)
	n, err := read(fd, buf, deadline)
	if err != nil {
		r.err = err
		return fd, r
	}
	if c.kind.proto != redirect.ICMPProto {
		r.err = json.Unmarshal(buf[:n], &r.answer)
	}
	return fd, r
}

// finish ends the handshake, or says something where there is none.
func (c call) finish(fd int, deadline time.Time) error {
	switch c.kind.proto {
	case redirect.TCPProto:
		if err := await(fd, unix.POLLOUT, deadline); err != nil {
			return err
		}
		return pending(fd)
	case redirect.ICMPProto:
		echo := []byte{8, 0, 0, 0, 0, 0, 0, 1} // type, code, checksum and id by the kernel, sequence
		if c.kind.v6 {
			echo[0] = 128
		}
		_, err := unix.Write(fd, echo)
		return err
	default:
		_, err := unix.Write(fd, []byte("?\n"))
		return err
	}
}

func read(fd int, buf []byte, deadline time.Time) (int, error) {
	if err := await(fd, unix.POLLIN, deadline); err != nil {
		return 0, err
	}
	n, err := unix.Read(fd, buf)
	if err == nil && n == 0 {
		err = errors.New("closed without an answer")
	}
	return max(n, 0), err
}

// hangUp ends a caller's socket with a reset, so that its 5-tuple is free again at once:
// connect(2) with AF_UNSPEC. Close alone may come late, see [stop].
func hangUp(fd int) {
	if fd < 0 {
		return
	}
	unspec := unix.RawSockaddr{Family: unix.AF_UNSPEC}
	_, _, _ = unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&unspec)), unix.SizeofSockaddrInet4)
	unix.Close(fd)
}

// say sends a line on a connection and wants it back.
func say(fd int, wait time.Duration) error {
	if _, err := unix.Write(fd, []byte("still there?\n")); err != nil {
		return err
	}
	buf := make([]byte, 64)
	n, err := read(fd, buf, time.Now().Add(wait))
	if err == nil && string(buf[:n]) != "still there?\n" {
		err = fmt.Errorf("echo: %q", buf[:n])
	}
	return err
}
