package redirecttest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect"
)

// socketKind is what a socket is made of.
type socketKind struct {
	proto       redirect.Proto
	v6          bool
	transparent bool // IP_TRANSPARENT: may have addresses that are not its host's
	mark        uint32
}

// open makes a socket in the thread's namespace, with the thread's owner. It never blocks.
func (k socketKind) open() (int, error) {
	family, typ, proto := unix.AF_INET, unix.SOCK_STREAM, 0
	switch k.proto {
	case redirect.UDPProto:
		typ = unix.SOCK_DGRAM
	case redirect.ICMPProto:
		typ, proto = unix.SOCK_DGRAM, unix.IPPROTO_ICMP
	}
	if k.v6 {
		family = unix.AF_INET6
		if k.proto == redirect.ICMPProto {
			proto = unix.IPPROTO_ICMPV6
		}
	}
	fd, err := unix.Socket(family, typ|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	if err := k.setup(fd); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// setup sets the options.
func (k socketKind) setup(fd int) error {
	type option struct{ level, name, value int }
	options := []option{{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1}}
	if k.v6 {
		options = append(options, option{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1})
		if k.proto == redirect.UDPProto {
			options = append(options, option{unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1})
		}
	} else if k.proto == redirect.UDPProto {
		options = append(options, option{unix.IPPROTO_IP, unix.IP_PKTINFO, 1})
	}
	if k.transparent && k.v6 {
		options = append(options, option{unix.IPPROTO_IPV6, unix.IPV6_TRANSPARENT, 1})
	} else if k.transparent {
		options = append(options, option{unix.IPPROTO_IP, unix.IP_TRANSPARENT, 1})
	}
	if k.mark != 0 {
		options = append(options, option{unix.SOL_SOCKET, unix.SO_MARK, int(k.mark)})
	}
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return fmt.Errorf("setsockopt %d %d: %w", o.level, o.name, err)
		}
	}
	return nil
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// soOriginalDst is SO_ORIGINAL_DST (linux/netfilter_ipv4.h), and
// IP6T_SO_ORIGINAL_DST (linux/netfilter_ipv6/ip6_tables.h): both 80.
const soOriginalDst = 80

// originalDst is where a redirected connection was going; invalid if conntrack
// does not know the connection.
func originalDst(fd int, v6 bool) netip.AddrPort {
	if v6 {
		info, err := unix.GetsockoptIPv6MTUInfo(fd, unix.IPPROTO_IPV6, soOriginalDst)
		if err != nil {
			return netip.AddrPort{}
		}
		port := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, info.Addr.Port))
		return netip.AddrPortFrom(netip.AddrFrom16(info.Addr.Addr), port)
	}
	mreq, err := unix.GetsockoptIPv6Mreq(fd, unix.IPPROTO_IP, soOriginalDst)
	if err != nil {
		return netip.AddrPort{}
	}
	b := mreq.Multiaddr // a sockaddr_in: family, port, address
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:4]))
}

// errSilence says that nothing came in time.
var errSilence = errors.New("silence")

// await waits until fd is ready for events (unix.POLLIN, POLLOUT).
func await(fd int, events int16, deadline time.Time) error {
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return errSilence
		}
		fds := []unix.PollFd{{Fd: int32(fd), Events: events}}
		n, err := unix.Poll(fds, int(left.Milliseconds())+1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if n > 0 {
			return nil
		}
	}
}

// pending gives a socket's own error: how a connection attempt ended.
func pending(fd int) error {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return err
	}
	if n != 0 {
		return unix.Errno(n)
	}
	return nil
}
