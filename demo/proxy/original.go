package proxy

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Original asks the kernel where a redirected connection was going.
//
// x/sys has no getsockopt for a socket address. Two that it has return structs
// of at least the same size, and SO_ORIGINAL_DST does not mind
// (linux/netfilter_ipv4.h, linux/netfilter_ipv6/ip6_tables.h).
func Original(c *net.TCPConn) (netip.AddrPort, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, err
	}
	var (
		to     netip.AddrPort
		getErr error
	)
	err = raw.Control(func(fd uintptr) {
		if Local(c).Addr().Is4() {
			to, getErr = original4(int(fd))
		} else {
			to, getErr = original6(int(fd))
		}
	})
	if err == nil {
		err = getErr
	}
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("getsockopt SO_ORIGINAL_DST: %w", err)
	}
	return to, nil
}

// original4 reads a struct sockaddr_in: family, port, address.
func original4(fd int) (netip.AddrPort, error) {
	answer, err := unix.GetsockoptIPv6Mreq(fd, unix.SOL_IP, unix.SO_ORIGINAL_DST)
	if err != nil {
		return netip.AddrPort{}, err
	}
	b := answer.Multiaddr
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:4])), nil
}

// original6 reads a struct sockaddr_in6; its port is in network order.
func original6(fd int) (netip.AddrPort, error) {
	answer, err := unix.GetsockoptIPv6MTUInfo(fd, unix.SOL_IPV6, unix.SO_ORIGINAL_DST)
	if err != nil {
		return netip.AddrPort{}, err
	}
	var port [2]byte
	binary.NativeEndian.PutUint16(port[:], answer.Addr.Port)
	return netip.AddrPortFrom(netip.AddrFrom16(answer.Addr.Addr), binary.BigEndian.Uint16(port[:])), nil
}

// Local gives the connection's own end, IPv4 as IPv4.
func Local(c net.Conn) netip.AddrPort { return addrPort(c.LocalAddr()) }

// Remote gives the connection's other end, IPv4 as IPv4.
func Remote(c net.Conn) netip.AddrPort { return addrPort(c.RemoteAddr()) }

func addrPort(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}
