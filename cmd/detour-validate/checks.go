package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"
)

// family is one of the pod's, or one that it has not.
type family struct {
	name, suffix string // "IPv4", and what net calls it
	stranger     netip.Addr
	local        netip.Addr
}

// The strangers are for documentation (RFC 5737, RFC 3849): nobody answers there.
func families() [2]family {
	return [2]family{
		{"IPv4", "4", netip.AddrFrom4([4]byte{198, 51, 100, 1}), netip.AddrFrom4([4]byte{127, 0, 0, 1})},
		{"IPv6", "6", netip.MustParseAddr("2001:db8:1::1"), netip.IPv6Loopback()},
	}
}

// validate makes all checks, side by side: none shares a port with another.
func validate(o options) []result {
	var (
		wait sync.WaitGroup
		per  [2][]result
	)
	for i, f := range families() {
		wait.Go(func() { per[i] = f.checks(o) })
	}
	wait.Wait()
	all := append(per[0], per[1]...)
	return append(all, result{"inbound hook", unknown, "what comes from outside cannot be sent from inside"})
}

func (f family) checks(o options) []result {
	own, ok := f.own()
	if !ok {
		return []result{{f.name, absent, "no route, or no address"}}
	}
	checks := f.ofApp(o, own)
	if o.as == "proxy" {
		checks = f.ofProxy(o, own)
	}
	per := make([][]result, len(checks))
	var wait sync.WaitGroup
	for i, check := range checks {
		wait.Go(func() {
			per[i] = check()
			if slices.ContainsFunc(per[i], func(r result) bool { return r.state == broken }) {
				per[i] = check() // a node that starts many pods may be late once
			}
		})
	}
	wait.Wait()
	return slices.Concat(per...)
}

// check is of one port of the proxy's, or of none: no two listen at the same.
type check func() []result

// aim is a call that is to land elsewhere.
type aim struct {
	what string
	to   netip.Addr
	port uint16
}

// ofApp are the checks that need an app's user.
func (f family) ofApp(o options, own netip.Addr) []check {
	out := []aim{{"outbound TCP", f.stranger, 80}}
	checks := []check{func() []result { return f.direct("calls to localhost", f.local) }}
	if o.loopback == localhostOnly {
		out = append(out, aim{"calls to the pod itself", own, unused(f)})
	} else {
		checks = append(checks, func() []result { return f.direct("calls to the pod itself", own) })
	}
	checks = slices.Insert(checks, 0, func() []result { return f.bent(uint16(o.outboundPort), out...) })
	if o.dns != 0 && slices.Contains(o.dnsProtocols, "tcp") {
		checks = append(checks, func() []result { return f.bent(uint16(o.dns), aim{"DNS over TCP", f.stranger, 53}) })
	}
	if o.dns != 0 && slices.Contains(o.dnsProtocols, "udp") {
		checks = append(checks, func() []result { return []result{f.dns(uint16(o.dns))} })
	}
	return checks
}

// ofProxy are the checks that need the proxy's.
func (f family) ofProxy(o options, own netip.Addr) []check {
	checks := []check{func() []result { return []result{f.letThrough(o)} }}
	if o.loopback == hairpin {
		return append(checks, func() []result {
			return f.bent(uint16(o.inboundPort), aim{"the proxy's call to its own pod", own, unused(f)})
		})
	}
	return append(checks, func() []result { return f.direct("the proxy's call to its own pod", own) })
}

// own is the address that the pod would call the stranger from. Connecting a UDP socket
// sends nothing, it only asks for the route.
func (f family) own() (netip.Addr, bool) {
	c, err := net.Dial("udp"+f.suffix, netip.AddrPortFrom(f.stranger, 9).String())
	if err != nil {
		return netip.Addr{}, false
	}
	defer c.Close()
	a, err := netip.ParseAddrPort(c.LocalAddr().String())
	return a.Addr(), err == nil && !a.Addr().IsLoopback() && !a.Addr().IsLinkLocalUnicast()
}

// bent proves that calls land on another port: our own listener there takes them; or, where somebody
// has the port, they are answered although nobody is there.
func (f family) bent(want uint16, aims ...aim) []result {
	all := make([]result, len(aims))
	l, err := net.Listen("tcp"+f.suffix, fmt.Sprintf(":%d", want))
	var callers *callers
	if l != nil {
		defer l.Close()
		callers = callersOf(l)
	}
	var wait sync.WaitGroup
	for i, a := range aims {
		all[i].what = f.name + " " + a.what
		if err != nil && !errors.Is(err, syscall.EADDRINUSE) {
			all[i].state, all[i].why = unknown, err.Error()
			continue
		}
		wait.Go(func() { all[i].state, all[i].why = f.lands(netip.AddrPortFrom(a.to, a.port), want, callers) })
	}
	wait.Wait()
	return all
}

// lands makes one call; callers is nil where somebody else has the port.
func (f family) lands(dst netip.AddrPort, want uint16, callers *callers) (state, string) {
	local, err := f.call(dst)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return broken, fmt.Sprintf("a call to %s is refused: it goes to a port where nobody listens, not to %d", dst, want)
	case err != nil:
		return broken, fmt.Sprintf("a call to %s was not taken to port %d: %v", dst, want, reason(err))
	case callers == nil:
		return proved, fmt.Sprintf("somebody in the pod answers for %s, and port %d is held", dst, want)
	case !callers.heard(local):
		return broken, fmt.Sprintf("a call to %s is answered, but not at port %d", dst, want)
	}
	return proved, fmt.Sprintf("a call to %s lands on port %d", dst, want)
}

// letThrough proves that the proxy's own call does not come back to it: nobody answers, or the
// gateway says that it went no further. A call that is refused was bent, to another port than ours.
func (f family) letThrough(o options) result {
	r := result{what: f.name + " the proxy's own calls out"}
	l, err := net.Listen("tcp"+f.suffix, fmt.Sprintf(":%d", o.outboundPort))
	if l != nil {
		defer l.Close()
	} else if !errors.Is(err, syscall.EADDRINUSE) {
		r.state, r.why = unknown, err.Error()
		return r
	}
	dst := netip.AddrPortFrom(f.stranger, 80)
	_, err = f.callWithin(dst, f.oneHop)
	switch {
	case err == nil:
		r.state, r.why = broken, fmt.Sprintf("a call to %s is answered from inside the pod: it loops", dst)
	case errors.Is(err, syscall.ECONNREFUSED):
		r.state, r.why = broken, fmt.Sprintf("a call to %s is refused inside the pod: it is bent to a port where nobody listens", dst)
	case silence(err), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		r.state, r.why = proved, fmt.Sprintf("a call to %s leaves the pod", dst)
	default:
		r.state, r.why = unknown, fmt.Sprintf("a call to %s: %v", dst, reason(err))
	}
	return r
}

// oneHop lets a call's packets go no further than the pod's gateway, which says so (time exceeded, to
// the caller EHOSTUNREACH). What is answered or refused then was so in the pod: not by a firewall
// that resets, nor by a proxy on the way out.
func (f family) oneHop(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		level, option := syscall.IPPROTO_IP, syscall.IP_TTL
		if f.suffix == "6" {
			level, option = syscall.IPPROTO_IPV6, syscall.IPV6_UNICAST_HOPS
		}
		_ = syscall.SetsockoptInt(int(fd), level, option, 1) // without it the proof is weaker, not wrong
	})
}

// direct proves that a call inside the pod reaches the very port that it is for.
func (f family) direct(what string, at netip.Addr) []result {
	r := result{what: f.name + " " + what}
	l, err := net.Listen("tcp"+f.suffix, netip.AddrPortFrom(at, 0).String())
	if err != nil {
		r.state, r.why = unknown, err.Error()
		return []result{r}
	}
	defer l.Close()
	dst := netip.MustParseAddrPort(l.Addr().String())
	callers := callersOf(l)
	local, err := f.call(dst)
	if err != nil || !callers.heard(local) {
		r.state, r.why = broken, fmt.Sprintf("a call to %s does not arrive there: something takes it", dst)
		return []result{r}
	}
	r.state, r.why = proved, fmt.Sprintf("a call to %s arrives there", dst)
	return []result{r}
}

// dns proves that a query lands on the proxy's port: at our own socket, or, where somebody
// has the port, by an answer from where nobody is.
func (f family) dns(want uint16) result {
	r := result{what: f.name + " DNS"}
	dst := netip.AddrPortFrom(f.stranger, 53)
	at, err := net.ListenPacket("udp"+f.suffix, netip.AddrPortFrom(f.local, want).String())
	held := errors.Is(err, syscall.EADDRINUSE)
	if err != nil && !held {
		r.state, r.why = unknown, err.Error()
		return r
	}
	if at != nil {
		defer at.Close()
	}
	c, err := net.Dial("udp"+f.suffix, dst.String())
	if err != nil {
		r.state, r.why = unknown, err.Error()
		return r
	}
	defer c.Close()
	// A query for the name servers of the root: id, recursion desired, one question.
	query := []byte{0xde, 0x70, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1}
	if _, err := c.Write(query); err != nil {
		r.state, r.why = broken, fmt.Sprintf("a query to %s is not taken to port %d: %v", dst, want, reason(err))
		return r
	}
	buf, deadline := make([]byte, 1500), time.Now().Add(patience)
	if held {
		_ = c.SetReadDeadline(deadline)
		if _, err := c.Read(buf); err != nil {
			r.state, r.why = broken, fmt.Sprintf("a query to %s was not answered by whoever holds port %d: %v", dst, want, reason(err))
			return r
		}
		r.state, r.why = proved, fmt.Sprintf("somebody in the pod answers for %s, and port %d is held", dst, want)
		return r
	}
	_ = at.SetReadDeadline(deadline)
	if n, _, err := at.ReadFrom(buf); err != nil || string(buf[:n]) != string(query) {
		r.state, r.why = broken, fmt.Sprintf("a query to %s does not arrive at port %d", dst, want)
		return r
	}
	r.state, r.why = proved, fmt.Sprintf("a query to %s lands on port %d", dst, want)
	return r
}
