package redirecttest

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect"
)

// Install puts rules into a namespace, and all that they need besides.
type Install func(netns string, rs redirect.RuleSet) error

// The waits end as soon as there is an answer; only a packet that is to be
// dropped costs silenceWait. A lost SYN is sent again after one second.
const (
	answerWait  = 3 * time.Second
	silenceWait = 250 * time.Millisecond
)

// Judge has the kernel judge a case's packets, in a pod of the test's own.
func Judge(t *testing.T, c Case, install Install) {
	t.Helper()
	rs, err := redirect.Compile(c.Spec)
	if err != nil {
		t.Fatal(err)
	}
	pod := Shape{Second: c.Rows[0].Second}.NewPod(t)
	if err := install(pod.Path, rs); err != nil {
		t.Fatal(err)
	}
	for _, row := range c.Rows {
		if err := pod.Try(c.Spec, row, row.Outcome(c.Spec)); err != nil {
			t.Errorf("%v\n\t%v", row, err)
		}
	}
}

// Try sends one row's packet for real, and says how what became of it differs
// from want. Marks and zones do not show from outside: only what they do.
func (p *Pod) Try(s redirect.Spec, r Row, want redirect.Outcome) error {
	w := world{pod: p, spec: s, row: r, v6: r.Packet.Dst.Addr().Is6(), wait: answerWait}
	if want.Verdict == redirect.Dropped {
		w.wait = silenceWait
	}
	defer w.close()
	if err := w.listen(want); err != nil {
		return err
	}
	packet := r.Packet
	switch {
	case packet.State == redirect.CTInvalid:
		return w.tryInvalid(want)
	case packet.State == redirect.CTRelated:
		return w.tryRelated(want)
	case packet.NoSocket:
		return w.tryPing()
	case packet.SYN && packet.Reply:
		return w.tryCalledBack(want)
	case packet.SYN:
		return w.tryAgain(want)
	case packet.State == redirect.CTEstablished && want.Verdict == redirect.TProxied:
		return w.tryCookie(want)
	case packet.State == redirect.CTEstablished:
		return w.tryEstablished()
	case packet.TransparentSocket:
		return w.tryDraining()
	}
	fd, got := p.place(w.call())
	hangUp(fd)
	return w.compare(got, want)
}

// world is a pod with everybody in it listening, for one row.
type world struct {
	pod     *Pod
	spec    redirect.Spec
	row     Row
	v6      bool
	wait    time.Duration
	servers []*server
}

func (w *world) close() {
	for _, s := range w.servers {
		_ = s.close() // its sockets are gone with it, whatever it says
	}
	w.servers = nil
}

// proxy is the owner of the proxy's sockets.
func (w *world) proxy() Owner {
	o := Owner{1000, 1000}
	if ids := w.spec.ProxyUIDs; len(ids) > 0 {
		o.UID = ids[0].First
	}
	if ids := w.spec.ProxyGIDs; len(ids) > 0 {
		o.GID = ids[0].First
	}
	return o
}

// proxyListeners is where the proxy listens in the pod.
func (w *world) proxyListeners() []listener {
	s, transparent := w.spec, w.spec.InboundMode == redirect.InboundTProxy
	var of []listener
	add := func(l listener) {
		for _, other := range of {
			if l.port == 0 || other.port == l.port && other.proto == l.proto {
				return
			}
		}
		of = append(of, l)
	}
	add(listener{redirect.TCPProto, s.OutboundPort, false})
	if !w.row.Packet.NoListener || w.row.Plain || w.row.Packet.TransparentSocket || w.row.Packet.SYN {
		add(listener{redirect.TCPProto, s.InboundPort, transparent && !w.row.Plain})
	}
	add(listener{redirect.TCPProto, s.TunnelPort, false})
	add(listener{redirect.TCPProto, s.DNSPort, false})
	add(listener{redirect.UDPProto, s.DNSPort, false})
	return of
}

// serverEnd is the end of the row's packet where somebody listens: its
// destination, but in the middle of a connection the smaller port's.
func (r Row) serverEnd() netip.AddrPort {
	p := r.Packet
	if p.Reply && !p.SYN {
		return p.Src
	}
	return p.Dst
}

// listen starts everybody who may be reached: the proxy, whoever the row calls,
// and whoever is to get a packet that is sent elsewhere.
func (w *world) listen(want redirect.Outcome) error {
	proxy := w.proxyListeners()
	if err := w.serve(InPod, w.proxy(), proxy); err != nil {
		return err
	}
	taken := map[Place][]listener{InPod: proxy}
	p := w.row.Packet
	ends := []netip.AddrPort{w.row.serverEnd()}
	if want.Verdict == redirect.DNATed {
		ends = append(ends, want.To)
	}
	for _, end := range ends {
		at := placeOf(end.Addr())
		l := listener{p.Proto, end.Port(), at != InPod}
		if l.port == 0 || p.Proto == redirect.ICMPProto || has(taken[at], l) || w.row.Packet.NoListener && at == InPod && l.port == w.spec.InboundPort {
			continue
		}
		taken[at] = append(taken[at], l)
		if err := w.serve(at, Owner{2000, 2000}, []listener{l}); err != nil {
			return err
		}
	}
	return nil
}

func has(list []listener, l listener) bool {
	for _, other := range list {
		if other.port == l.port && other.proto == l.proto {
			return true
		}
	}
	return false
}

func (w *world) serve(at Place, o Owner, listeners []listener) error {
	s, err := w.pod.serve(at, o, w.v6, listeners...)
	if err == nil {
		w.servers = append(w.servers, s)
	}
	return err
}

// call is the row's own call.
func (w *world) call() call {
	p := w.row.Packet
	c := call{from: InPod, owner: Owner{p.UID, p.GID}, src: p.Src, dst: p.Dst, wait: w.wait,
		kind: socketKind{proto: p.Proto, v6: w.v6, mark: p.Mark, transparent: p.ForeignSrc}}
	if p.Hook == redirect.Prerouting {
		c.from, c.owner = w.outside(), Owner{}
	}
	return c
}

// outside is who sends what comes in at the row's interface.
func (w *world) outside() Place {
	if w.row.Packet.In == "eth0" {
		return InPeer
	}
	return InSide
}

// compare says how an answer differs from what was wanted.
func (w *world) compare(got result, want redirect.Outcome) error {
	if want.Verdict == redirect.Dropped {
		// A datagram that its own host drops is EPERM to sendto (netfilter's NF_DROP in OUTPUT).
		if errors.Is(got.err, errSilence) || errors.Is(got.err, unix.EPERM) && w.row.Packet.Proto == redirect.UDPProto {
			return nil
		}
		return fmt.Errorf("got %v, want silence", got)
	}
	if want.Verdict == redirect.Rejected {
		if got.err != nil && !errors.Is(got.err, errSilence) {
			return nil
		}
		return fmt.Errorf("got %v, want a refusal", got)
	}
	if got.err != nil {
		return fmt.Errorf("got %w, want %s", got.err, want.Verdict)
	}
	if w.row.Packet.Proto == redirect.ICMPProto {
		return nil
	}
	a, expect := got.answer, w.expected(want)
	if a.Place != expect.Place || a.Port != expect.Port {
		return fmt.Errorf("port %d in the %s answered (%v), want port %d in the %s", a.Port, a.Place, a, expect.Port, expect.Place)
	}
	if a.Client != got.self {
		return fmt.Errorf("the server saw %v calling, want the client's own %v", a.Client, got.self)
	}
	if expect.Local.IsValid() && a.Local != expect.Local {
		return fmt.Errorf("the server was called as %v, want %v", a.Local, expect.Local)
	}
	if expect.Orig.IsValid() && a.Orig != expect.Orig {
		return fmt.Errorf("the server takes %v for the original destination, want %v", a.Orig, expect.Orig)
	}
	return nil
}

// expected is the answer that shows an outcome; what it leaves open does not matter.
func (w *world) expected(want redirect.Outcome) answer {
	p := w.row.Packet
	tcp := p.Proto == redirect.TCPProto
	switch want.Verdict {
	case redirect.Redirected:
		a := answer{Place: InPod, Port: want.Port}
		if tcp {
			a.Orig = p.Dst
		}
		return a
	case redirect.TProxied:
		return answer{Place: InPod, Port: want.Port, Local: p.Dst}
	case redirect.DNATed:
		a := answer{Place: placeOf(want.To.Addr()), Port: want.To.Port(), Local: want.To}
		if tcp && a.Place == InPod {
			a.Orig = p.Dst
		}
		return a
	default:
		return answer{Place: placeOf(p.Dst.Addr()), Port: p.Dst.Port(), Local: p.Dst}
	}
}

// tryInvalid: what conntrack cannot place is reset, or it is dropped.
func (w *world) tryInvalid(want redirect.Outcome) error {
	p := w.row.Packet
	src, dst, from := p.Src, p.Dst, w.outside()
	if p.NoSocket { // the row is the reset itself: it needs something to answer
		src, dst, from = p.Dst, p.Src, placeOf(p.Dst.Addr())
	}
	err := w.pod.unsolicited(from, src, dst, w.wait)
	if want.Verdict == redirect.Dropped {
		if errors.Is(err, errSilence) {
			return nil
		}
		return fmt.Errorf("got %w, want silence", err)
	}
	return err
}

// tryPing: the kernel's own echo reply from the pod.
func (w *world) tryPing() error {
	p := w.row.Packet
	fd, got := w.pod.place(call{from: placeOf(p.Dst.Addr()), kind: socketKind{proto: redirect.ICMPProto, v6: w.v6}, src: p.Dst, dst: p.Src, wait: w.wait})
	hangUp(fd)
	return got.err
}

// tryEstablished: a packet in the middle of a connection. Whoever has the larger
// port has opened it; it works if both directions do.
func (w *world) tryEstablished() error {
	p := w.row.Packet
	c := w.call()
	if w.row.serverEnd() == p.Src { // the row's packet is an answer
		c.src, c.dst = p.Dst, p.Src
		switch {
		case p.Hook == redirect.Prerouting || p.ConnMark != 0:
			c.from, c.owner, c.kind.transparent = InPod, w.proxy(), !isPods(p.Dst.Addr())
		default:
			c.from, c.owner = placeOf(p.Dst.Addr()), Owner{}
		}
	}
	fd, got := w.pod.place(c)
	defer hangUp(fd)
	if got.err != nil {
		return got.err
	}
	if got.answer.Client != got.self {
		return fmt.Errorf("the server saw %v calling, want the client's own %v", got.answer.Client, got.self)
	}
	return say(fd, w.wait)
}

// tryDraining: a connection that the proxy has, when its listener is closed and
// conntrack has forgotten it.
func (w *world) tryDraining() error {
	fd, got := w.pod.place(w.call())
	defer hangUp(fd)
	if got.err != nil {
		return got.err
	}
	if err := w.servers[0].closeListeners(); err != nil {
		return err
	}
	if err := w.pod.forgetConnections(); err != nil {
		return fmt.Errorf("forget connections: %w", err)
	}
	return say(fd, w.wait)
}
