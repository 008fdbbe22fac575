// Package netlink speaks netlink from the thread it is called on: one socket,
// plain blocking system calls, no goroutine and no poller, so that it can be
// used inside a network namespace that only this thread has entered.
//
// Be aware: a socket belongs to the namespace it was opened in. Close it there.
package netlink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"golang.org/x/sys/unix"
)

// Socket is a netlink socket of one family (NETLINK_ROUTE, NETLINK_NETFILTER).
type Socket struct {
	fd  int
	buf []byte
}

// receiveBuffer holds the largest message a dump gives: the kernel never makes
// one larger than 32 KiB for a reader who offers that much (netlink_dump).
const receiveBuffer = 32 << 10

// Open opens a socket in the current thread's network namespace.
func Open(family int) (*Socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, family)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	// Else an error repeats the whole message it is about, and those with a
	// set's elements are larger than any buffer for answers. Before Linux 4.3
	// there is no such option: then such an error is "a message over … bytes".
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	return &Socket{fd: fd}, nil
}

// Close closes the socket.
func (s *Socket) Close() error { return unix.Close(s.fd) }

// SetSendBuffer asks for room for a batch of so many bytes. It needs
// CAP_NET_ADMIN in the initial user namespace only beyond net.core.wmem_max.
func (s *Socket) SetSendBuffer(bytes int) error {
	if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, bytes); err == nil {
		return nil
	}
	return unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, bytes)
}

// Send hands messages to the kernel in one system call.
func (s *Socket) Send(messages []byte) error {
	if err := unix.Sendto(s.fd, messages, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("send %d bytes: %w", len(messages), err)
	}
	return nil
}

// Receive reads what one recv gives and calls each for every message in it. It
// goes on reading until each says that it has seen enough, or fails. Errors from
// the kernel (NLMSG_ERROR) come to each as messages: see [Message.Err].
//
// The kernel works on a request, and queues the answer or a dump's first part,
// before send returns; and a dump's next part before receive does. So nothing to
// read means that nothing will ever come, and Receive does not wait for it.
func (s *Socket) Receive(each func(Message) (done bool, err error)) error {
	if s.buf == nil {
		s.buf = make([]byte, receiveBuffer)
	}
	for {
		n, _, flags, _, err := unix.Recvmsg(s.fd, s.buf, nil, unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return errors.New("receive: the kernel gave no answer")
		case err != nil:
			return fmt.Errorf("receive: %w", err)
		case flags&unix.MSG_TRUNC != 0:
			return fmt.Errorf("receive: a message over %d bytes", len(s.buf))
		}
		for m, err := range Messages(s.buf[:n]) {
			if err != nil {
				return err
			}
			if done, err := each(m); done || err != nil {
				return err
			}
		}
	}
}

// Messages walks the messages in b. Whatever is none is an error, yielded last.
func Messages(b []byte) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		for len(b) >= unix.NLMSG_HDRLEN {
			m, size, err := parse(b)
			if !yield(m, err) || err != nil {
				return
			}
			b = b[size:]
		}
	}
}

// Do sends one message that asks for an acknowledgement, and gives the kernel's answer.
func (s *Socket) Do(message []byte) error {
	if err := s.Send(message); err != nil {
		return err
	}
	return s.Receive(func(m Message) (bool, error) { return m.Type == unix.NLMSG_ERROR, m.Err() })
}

// Ask sends one question that has one answer.
func (s *Socket) Ask(message []byte, answer func(Message) error) error {
	if err := s.Send(message); err != nil {
		return err
	}
	return s.Receive(func(m Message) (bool, error) {
		if err := m.Err(); err != nil {
			return true, err
		}
		return true, answer(m)
	})
}

// Dump sends one request and calls each for every message of the answer. A dump
// that changed while it was read (NLM_F_DUMP_INTR) is EINTR: nothing it said counts.
func (s *Socket) Dump(request []byte, each func(Message) error) error {
	if err := s.Send(request); err != nil {
		return err
	}
	return s.Receive(func(m Message) (bool, error) {
		if m.Flags&unix.NLM_F_DUMP_INTR != 0 {
			return true, unix.EINTR
		}
		if m.Type == unix.NLMSG_DONE || m.Type == unix.NLMSG_ERROR {
			return true, m.Err()
		}
		return false, each(m)
	})
}

// Message is one netlink message as received.
type Message struct {
	Type, Flags uint16
	Seq         uint32
	Data        []byte // after the header; valid until the next receive
}

// Err gives the kernel's error of an NLMSG_ERROR or NLMSG_DONE, nil for an
// acknowledgement and for every other message.
func (m Message) Err() error {
	if (m.Type != unix.NLMSG_ERROR && m.Type != unix.NLMSG_DONE) || len(m.Data) < 4 {
		return nil
	}
	if code := int32(binary.NativeEndian.Uint32(m.Data)); code < 0 {
		return unix.Errno(-code)
	}
	return nil
}

func parse(b []byte) (m Message, size int, err error) {
	length := int(binary.NativeEndian.Uint32(b))
	if length < unix.NLMSG_HDRLEN || length > len(b) {
		return m, 0, fmt.Errorf("receive: a message of %d bytes in %d", length, len(b))
	}
	m = Message{
		Type:  binary.NativeEndian.Uint16(b[4:]),
		Flags: binary.NativeEndian.Uint16(b[6:]),
		Seq:   binary.NativeEndian.Uint32(b[8:]),
		Data:  b[unix.NLMSG_HDRLEN:length],
	}
	return m, min(align(length), len(b)), nil
}

func align(n int) int { return (n + 3) &^ 3 }
