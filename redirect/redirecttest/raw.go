package redirecttest

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect/internal/netlink"
)

// TCP flags (RFC 9293, 3.1).
const flagRST, flagSYNACK = 0x04, 0x12

// unsolicited sends an answer to a connection that nobody has opened, a SYN/ACK:
// conntrack calls it INVALID. It returns nil when a reset came back.
func (p *Pod) unsolicited(from Place, src, dst netip.AddrPort, wait time.Duration) error {
	fd, err := -1, error(nil)
	err = p.places[from].Do(func() error {
		family := unix.AF_INET
		if src.Addr().Is6() {
			family = unix.AF_INET6
		}
		if fd, err = unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_TCP); err != nil {
			return err
		}
		if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(src.Addr(), 0))); err != nil {
			return fmt.Errorf("bind %v: %w", src, err)
		}
		return unix.Sendto(fd, synAck(src, dst), 0, sockaddr(netip.AddrPortFrom(dst.Addr(), 0)))
	})
	if fd >= 0 {
		defer unix.Close(fd)
	}
	if err != nil {
		return err
	}
	deadline := time.Now().Add(wait)
	buf := make([]byte, 2048)
	for {
		n, err := read(fd, buf, deadline)
		if err != nil {
			return err
		}
		if isReset(buf[:n], dst, src) {
			return nil
		}
	}
}

// synAck is a TCP header and nothing else.
func synAck(src, dst netip.AddrPort) []byte {
	b := make([]byte, 20)
	binary.BigEndian.PutUint16(b[0:], src.Port())
	binary.BigEndian.PutUint16(b[2:], dst.Port())
	binary.BigEndian.PutUint32(b[4:], 1000)
	binary.BigEndian.PutUint32(b[8:], 2000)
	b[12], b[13] = 5<<4, flagSYNACK
	binary.BigEndian.PutUint16(b[14:], 65535)
	pseudo := append(src.Addr().AsSlice(), dst.Addr().AsSlice()...)
	pseudo = append(pseudo, 0, unix.IPPROTO_TCP, 0, byte(len(b)))
	binary.BigEndian.PutUint16(b[16:], ^onesSum(append(pseudo, b...)))
	return b
}

// onesSum adds 16-bit words in ones' complement (RFC 1071).
func onesSum(b []byte) uint16 {
	var sum uint32
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// isReset reads what a raw socket gives: with an IP header in IPv4, without in IPv6.
func isReset(b []byte, src, dst netip.AddrPort) bool {
	if src.Addr().Is4() && len(b) > 20 {
		if netip.AddrFrom4([4]byte(b[12:16])) != src.Addr() {
			return false
		}
		b = b[int(b[0]&0xf)*4:]
	}
	return len(b) >= 20 && b[13]&flagRST != 0 &&
		binary.BigEndian.Uint16(b[0:]) == src.Port() && binary.BigEndian.Uint16(b[2:]) == dst.Port()
}

// ipctnlMsgCTDelete is IPCTNL_MSG_CT_DELETE of the ctnetlink subsystem
// (linux/netfilter/nfnetlink_conntrack.h).
const ipctnlMsgCTDelete = unix.NFNL_SUBSYS_CTNETLINK<<8 | 2

// forgetConnections empties the pod's conntrack table.
func (p *Pod) forgetConnections() error {
	return p.Do(func() error {
		s, err := netlink.Open(unix.NETLINK_NETFILTER)
		if err != nil {
			return err
		}
		defer s.Close()
		var b netlink.Batch
		b.Message(ipctnlMsgCTDelete, unix.NLM_F_ACK, 1, []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, 0})
		return s.Do(b.Bytes())
	})
}
