package proxies

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/detour-cni/detour/redirect/redirecttest"
)

// patience bounds every wait; nothing here takes longer than milliseconds.
const patience = 10 * time.Second

// app is whom the pod's own program runs as.
var app = redirecttest.Owner{UID: 1000, GID: 1000}

// Who listens where: the ends of redirecttest's link, and a service behind the peer.
var (
	podAt     = map[string]netip.AddrPort{"IPv4": netip.MustParseAddrPort("10.9.0.2:8080"), "IPv6": netip.MustParseAddrPort("[fd09::2]:8080")}
	serviceAt = map[string]netip.AddrPort{"IPv4": netip.MustParseAddrPort("203.0.113.10:80"), "IPv6": netip.MustParseAddrPort("[2001:db8::10]:80")}
)

// answer is a call and what a server said to it.
type answer struct {
	by string
	// local is the caller's own end; caller and dest are the ends that the server saw.
	local, caller, dest netip.AddrPort
}

func (a answer) String() string {
	return fmt.Sprintf("called from %v: %q answered, called at %v from %v", a.local, a.by, a.dest, a.caller)
}

// serve answers everybody on a port, in both families, with a name and both ends.
func serve(t *testing.T, n *redirecttest.NetNS, o redirecttest.Owner, name string, port int) {
	t.Helper()
	for _, network := range []string{"tcp4", "tcp6"} {
		var l *net.TCPListener
		err := n.DoAs(o, func() (err error) {
			l, err = net.ListenTCP(network, &net.TCPAddr{Port: port})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() }) // nothing was written to it
		go func() {
			for {
				c, err := l.AcceptTCP()
				if err != nil {
					return
				}
				fmt.Fprintln(c, name, c.RemoteAddr(), c.LocalAddr())
				_ = c.Close() // the caller sees what it got
			}
		}()
	}
}

// call calls an address as somebody, and gives what was answered.
func call(n *redirecttest.NetNS, o redirecttest.Owner, to netip.AddrPort) (answer, error) {
	var c net.Conn
	err := n.DoAs(o, func() (err error) {
		c, err = net.DialTimeout("tcp", to.String(), patience)
		return err
	})
	if err != nil {
		return answer{}, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return answer{}, err
	}
	text, err := io.ReadAll(c)
	if err != nil {
		return answer{}, err
	}
	a := answer{local: netip.MustParseAddrPort(c.LocalAddr().String())}
	var caller, dest string
	if _, err := fmt.Sscan(string(text), &a.by, &caller, &dest); err != nil {
		return a, fmt.Errorf("answered %q: %w", text, err)
	}
	a.caller, a.dest = netip.MustParseAddrPort(caller), netip.MustParseAddrPort(dest)
	return a, nil
}

// mustCall is call where somebody has to answer.
func mustCall(t *testing.T, n *redirecttest.NetNS, o redirecttest.Owner, to netip.AddrPort) answer {
	t.Helper()
	a, err := call(n, o, to)
	if err != nil {
		t.Fatalf("call %v as %d: %v", to, o.UID, err)
	}
	return a
}
