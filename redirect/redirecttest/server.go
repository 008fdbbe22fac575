package redirecttest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect"
)

// answer is what a server tells every caller: who it is, and what it saw.
type answer struct {
	Place  Place
	Port   uint16         // it listens on
	Local  netip.AddrPort // its end of the connection
	Client netip.AddrPort // whom it saw calling
	Orig   netip.AddrPort // TCP: SO_ORIGINAL_DST
}

// listener is one port that a server listens on, at every address.
type listener struct {
	proto       redirect.Proto
	port        uint16
	transparent bool
}

// server is a thread with listeners, all of one owner. It answers each caller
// with an answer, and then says back what it is told.
type server struct {
	place   Place
	v6      bool
	socks   map[int]listener
	conns   map[int]bool
	orders  int // an eventfd
	drained chan bool
	done    chan error
}

// serve starts a server; ready when it returns.
func (p *Pod) serve(at Place, o Owner, v6 bool, listeners ...listener) (*server, error) {
	s := &server{place: at, v6: v6, socks: map[int]listener{}, conns: map[int]bool{}, drained: make(chan bool), done: make(chan error, 1)}
	var err error
	if s.orders, err = unix.Eventfd(0, unix.EFD_CLOEXEC); err != nil {
		return nil, err
	}
	ready := make(chan error, 1)
	go func() {
		s.done <- p.places[at].DoAs(o, func() error {
			err := s.listen(listeners)
			ready <- err
			if err != nil {
				return nil
			}
			return s.loop()
		})
	}()
	select {
	case err = <-ready:
	case err = <-s.done:
		s.done <- err
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("serve in %s: %w", at, err), s.close())
	}
	return s, nil
}

// close ends the server, its connections included.
func (s *server) close() error {
	if err := s.tell(orderStop); err != nil {
		return err
	}
	err := <-s.done
	for fd := range s.socks {
		stop(fd)
	}
	for fd := range s.conns {
		unix.Close(fd)
	}
	unix.Close(s.orders)
	return err
}

// stop ends a listener at once. Close alone does not where a test beside this one
// is just starting a child: until its exec the child has a copy of every
// descriptor, and the port stays taken (EADDRINUSE in the next row).
func stop(fd int) {
	_ = unix.Shutdown(fd, unix.SHUT_RDWR) // ENOTCONN from UDP, which may share its port
	unix.Close(fd)
}

// closeListeners leaves the server with the connections that it has.
func (s *server) closeListeners() error {
	if err := s.tell(orderDrain); err != nil {
		return err
	}
	<-s.drained
	return nil
}

// endConnections closes the server's end of every connection. It has read all that was
// said, so each ends by a FIN.
func (s *server) endConnections() error {
	if err := s.tell(orderEnd); err != nil {
		return err
	}
	<-s.drained
	return nil
}

// The orders that a server takes, as its eventfd's counter has them.
const (
	orderStop  = 1
	orderDrain = 2
	orderEnd   = 3
)

func (s *server) tell(order byte) error {
	_, err := unix.Write(s.orders, []byte{order, 0, 0, 0, 0, 0, 0, 0})
	return err
}

// obey does what an order says; true when that is to stop.
func (s *server) obey() bool {
	counter := make([]byte, 8)
	if _, err := unix.Read(s.orders, counter); err != nil || counter[0] != orderDrain && counter[0] != orderEnd {
		return true
	}
	if counter[0] == orderDrain {
		for fd := range s.socks {
			stop(fd)
			delete(s.socks, fd)
		}
	} else {
		for fd := range s.conns {
			unix.Close(fd)
			delete(s.conns, fd)
		}
	}
	s.drained <- true
	return false
}

func (s *server) listen(listeners []listener) error {
	for _, l := range listeners {
		fd, err := socketKind{proto: l.proto, v6: s.v6, transparent: l.transparent}.open()
		if err != nil {
			return err
		}
		s.socks[fd] = l
		any := netip.IPv4Unspecified()
		if s.v6 {
			any = netip.IPv6Unspecified()
		}
		if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(any, l.port))); err != nil {
			return fmt.Errorf("bind %v port %d: %w", l.proto, l.port, err)
		}
		if l.proto != redirect.TCPProto {
			continue
		}
		if err := unix.Listen(fd, 16); err != nil {
			return fmt.Errorf("listen on port %d: %w", l.port, err)
		}
	}
	return nil
}

// loop serves until it is told to stop.
func (s *server) loop() error {
	for {
		fds := []unix.PollFd{{Fd: int32(s.orders), Events: unix.POLLIN}}
		for fd := range s.socks {
			fds = append(fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
		}
		for fd := range s.conns {
			fds = append(fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
		}
		if _, err := unix.Poll(fds, -1); err != nil {
			if errors.Is(err, unix.EINTR) {
				continue
			}
			return fmt.Errorf("poll: %w", err)
		}
		if fds[0].Revents != 0 && s.obey() {
			return nil
		}
		for _, f := range fds[1:] {
			if f.Revents != 0 {
				s.ready(int(f.Fd))
			}
		}
	}
}

// ready does what one socket wants. Errors are the caller's: it gets no answer.
func (s *server) ready(fd int) {
	l, listens := s.socks[fd]
	switch {
	case !listens:
		s.echo(fd)
	case l.proto == redirect.TCPProto:
		s.accept(fd, l)
	default:
		s.reply(fd, l)
	}
}

func (s *server) accept(fd int, l listener) {
	conn, from, err := unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	if err != nil {
		return
	}
	s.conns[conn] = true
	a := answer{Place: s.place, Port: l.port, Client: addrPort(from), Orig: originalDst(conn, s.v6)}
	if local, err := unix.Getsockname(conn); err == nil {
		a.Local = addrPort(local)
	}
	_, _ = unix.Write(conn, a.line()) // a caller that is gone by now needs no answer
}

func (s *server) echo(fd int) {
	buf := make([]byte, 256)
	n, err := unix.Read(fd, buf)
	if n > 0 && err == nil {
		_, err = unix.Write(fd, buf[:n])
	}
	if n <= 0 || err != nil {
		unix.Close(fd)
		delete(s.conns, fd)
	}
}

// reply answers a datagram, from the very address that it was sent to.
func (s *server) reply(fd int, l listener) {
	buf, oob := make([]byte, 2048), make([]byte, 256)
	_, n, _, from, err := unix.Recvmsg(fd, buf, oob, 0)
	if err != nil {
		return
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) == 0 {
		return
	}
	a := answer{Place: s.place, Port: l.port, Client: addrPort(from)}
	var local netip.Addr
	var source []byte
	if data := messages[0].Data; s.v6 { // struct in6_pktinfo: address, interface
		local = netip.AddrFrom16([16]byte(data[:16]))
		source = unix.PktInfo6(&unix.Inet6Pktinfo{Addr: local.As16()})
	} else { // struct in_pktinfo: interface, local address, destination address
		local = netip.AddrFrom4([4]byte(data[8:12]))
		source = unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: local.As4()})
	}
	a.Local = netip.AddrPortFrom(local, l.port)
	_ = unix.Sendmsg(fd, a.line(), source, from, 0) // as in accept
}

func (a answer) line() []byte {
	text, err := json.Marshal(a)
	if err != nil {
		panic(err) // a struct of addresses and numbers
	}
	return append(text, '\n')
}
