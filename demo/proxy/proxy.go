package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/detour-cni/detour/redirect/original"
)

// Proxy says where to listen, and how to reach the app behind.
type Proxy struct {
	OutboundPort, InboundPort uint16
	// AppSources are the addresses from which the proxy calls its own app, at most
	// one of each family: the redirect lets calls from there through to it. Without
	// one the kernel chooses.
	AppSources []netip.Addr
	// Report is told of each connection, before it is carried on.
	Report func(Seen)
}

// Side is which of the two listeners took a connection.
type Side string

// The sides.
const (
	Outbound Side = "outbound"
	Inbound  Side = "inbound"
)

// Seen is one connection that the proxy took.
type Seen struct {
	Side   Side           `json:"side"`
	Client netip.AddrPort `json:"client"`
	// Original is where the client wanted to go.
	Original netip.AddrPort `json:"original"`
	Err      string         `json:"err,omitempty"`
}

// Listen opens the listeners, both sides in both families, and serves them in the
// background until the process ends.
func (p Proxy) Listen() error {
	for side, port := range map[Side]uint16{Outbound: p.OutboundPort, Inbound: p.InboundPort} {
		for _, network := range []string{"tcp4", "tcp6"} {
			l, err := net.ListenTCP(network, &net.TCPAddr{Port: int(port)})
			if err != nil {
				return fmt.Errorf("listen %s %s: %w", side, network, err)
			}
			go p.serve(l, side)
		}
	}
	return nil
}

func (p Proxy) serve(l *net.TCPListener, side Side) {
	for {
		c, err := l.AcceptTCP()
		if err != nil {
			return
		}
		go p.carry(c, side)
	}
}

// dialTimeout bounds a call to the original destination: nobody waits longer for a demo.
const dialTimeout = 3 * time.Second

// carry takes one connection to where it was going.
func (p Proxy) carry(c *net.TCPConn, side Side) {
	defer c.Close()
	seen := Seen{Side: side, Client: original.Remote(c)}
	var err error
	if seen.Original, err = original.Destination(c); err == nil && seen.Original == original.Local(c) {
		err = errors.New("called directly: there is nowhere to carry it on to")
	}
	if err != nil {
		seen.Err = err.Error()
	}
	p.Report(seen)
	if err != nil {
		return
	}
	d := net.Dialer{Timeout: dialTimeout}
	if source := p.source(seen.Original.Addr()); side == Inbound && source.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
	}
	to, err := d.Dial("tcp", seen.Original.String())
	if err != nil {
		return // the client sees its connection closed, as it would without a proxy
	}
	defer to.Close()
	both(c, to.(*net.TCPConn)) // Dial "tcp" gives nothing else
}

// source gives the address from which to call the app in a family.
func (p Proxy) source(app netip.Addr) netip.Addr {
	for _, a := range p.AppSources {
		if a.Is4() == app.Is4() {
			return a
		}
	}
	return netip.Addr{}
}

// both copies until each side has said its last.
func both(a, b *net.TCPConn) {
	var wg sync.WaitGroup
	for _, way := range [][2]*net.TCPConn{{a, b}, {b, a}} {
		wg.Go(func() {
			_, _ = io.Copy(way[0], way[1]) // either end may go at any time: that is its end
			_ = way[0].CloseWrite()        // gone already, then
		})
	}
	wg.Wait()
}
