package nftables

import (
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect"
)

// One look with real sockets; the packet tables of testdata/rules are the proof.
func TestAnAppsCallReachesTheProxyAndIsCounted(t *testing.T) {
	inNetns(t, func() {
		run(t, "ip", "link", "set", "lo", "up")
		run(t, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
		run(t, "ip", "link", "set", "eth1", "up")
		run(t, "ip", "link", "set", "eth0", "up")
		run(t, "ip", "addr", "add", "10.9.0.2/24", "dev", "eth0")
		run(t, "ip", "addr", "add", "fd09::2/128", "dev", "lo") // on a veth it is tentative for a while
		run(t, "ip", "route", "add", "fd09::/64", "dev", "eth0")
		rs := overlay(t, `{"excludeOutboundCIDRs": ["10.9.1.0/24"]}`)
		commit(t, rs, redirect.Installed)
		for _, to := range []string{"10.9.0.1:80", "[fd09::1]:80"} {
			if !answers(t, to, 15001) {
				t.Errorf("%s: not bent", to)
			}
		}
		counts, err := Backend{}.Observe()
		if err != nil {
			t.Error(err)
		}
		origins := Origins(rs)
		for _, c := range counts {
			why := ""
			for _, chain := range rs.Chains {
				if chain.Name == c.Chain {
					why = chain.Rules[origins[c.Chain][c.Index]].Comment()
				}
			}
			if why != c.Comment {
				t.Errorf("%s %d: %q renders %q", c.Chain, c.Index, c.Comment, why)
			}
			if strings.HasSuffix(c.Comment, "the rest goes to the proxy") && (c.Packets != 2 || c.Bytes == 0) {
				t.Errorf("%s: %d packets, %d bytes (want 2)", c.Comment, c.Packets, c.Bytes)
			}
		}
	})
}

// answers listens on a port of this namespace, and calls to from the same
// thread: sockets stay in the namespace in which they were opened.
func answers(t *testing.T, to string, port int) bool {
	t.Helper()
	const patience = 10 * time.Second // it takes microseconds
	listener, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Error(err)
		return false
	}
	defer unix.Close(listener)
	if err := unix.SetsockoptInt(listener, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		t.Error(err)
	}
	if err := unix.Bind(listener, &unix.SockaddrInet6{Port: port}); err != nil {
		t.Error(err)
	}
	if err := unix.Listen(listener, 8); err != nil {
		t.Error(err)
	}
	conn, err := net.DialTimeout("tcp", to, patience)
	if err != nil {
		return false
	}
	defer conn.Close()
	// The caller is done before its last ACK has made the connection one to accept.
	if _, err := unix.Poll([]unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}, int(patience.Milliseconds())); err != nil {
		t.Error(err)
	}
	accepted, _, err := unix.Accept(listener)
	if err == nil {
		_ = unix.Close(accepted)
	}
	return err == nil
}
