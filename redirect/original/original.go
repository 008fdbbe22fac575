// Package original asks the kernel where a redirected connection was going before nat bent it: what
// every sidecar proxy does.
//
//	app --calls 203.0.113.10:80--> kernel --bends--> 127.0.0.1:15001
//	original.Destination(c) == 203.0.113.10:80
//
// Be aware: a socket that takes both families cannot be asked for IPv4. Listen at tcp4 and tcp6.
package original

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// Destination asks the kernel where a redirected connection was going.
//
// syscall has no getsockopt for a socket address. Two that it has return structs
// of at least the same size, and SO_ORIGINAL_DST does not mind
// (linux/netfilter_ipv4.h, linux/netfilter_ipv6/ip6_tables.h).
func Destination(c *net.TCPConn) (netip.AddrPort, error) {
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

// soOriginalDst is SO_ORIGINAL_DST, which IP6T_SO_ORIGINAL_DST is as well (linux/netfilter_ipv4.h,
// linux/netfilter_ipv6/ip6_tables.h).
const soOriginalDst = 80

// original4 reads a struct sockaddr_in: family, port, address.
func original4(fd int) (netip.AddrPort, error) {
	answer, err := syscall.GetsockoptIPv6Mreq(fd, syscall.SOL_IP, soOriginalDst)
	if err != nil {
		return netip.AddrPort{}, err
	}
	b := answer.Multiaddr
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:4])), nil
}

// original6 reads a struct sockaddr_in6; its port is in network order.
func original6(fd int) (netip.AddrPort, error) {
	answer, err := syscall.GetsockoptIPv6MTUInfo(fd, syscall.SOL_IPV6, soOriginalDst)
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
