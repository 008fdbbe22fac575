package inspect

import (
	"fmt"
	"net/netip"

	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/live"
)

// Actor is who sends or gets a packet.
type Actor string

// The actors of a pod's traffic.
const (
	App    Actor = "app"
	Proxy  Actor = "proxy"
	Wire   Actor = "wire"
	Nobody Actor = "nobody"
)

// Way is a sample packet and where the rules lead it.
type Way struct {
	// Name is short and the same in each version: "app-out".
	Name string
	// Title says it for people: "the app calls out".
	Title string
	From  Actor
	// Meant is whom the sender means, Ends who gets it.
	Meant, Ends Actor
	Packet      redirect.Packet
	Outcome     redirect.Outcome
	// At is where it ends, if in the pod; Listener is the socket there.
	At       netip.AddrPort
	Listener *Socket
	// Decided is the rule that decided, Count its counter.
	Decided *redirect.Step
	Count   live.Count
}

// V6 reports whether the packet is one of IPv6.
func (w Way) V6() bool { return w.Packet.Dst.Addr().Is6() }

var stranger4, stranger6 = netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("2001:db8:1::1")

// Stranger is somebody on the wire: an address for documentation (RFC 5737, RFC 3849).
func Stranger(v6 bool) netip.Addr {
	if v6 {
		return stranger6
	}
	return stranger4
}

// localhost is where a call to it goes, and what REDIRECT makes of an address in OUTPUT.
func localhost(v6 bool) netip.Addr {
	if v6 {
		return netip.IPv6Loopback()
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

// Ways walks the rules with the packets that people ask about, for each family that the pod has.
func (p Pod) Ways() (ways []Way) {
	for _, v6 := range []bool{false, true} {
		own := p.addrs(v6)
		if len(own) == 0 {
			continue
		}
		out, local := Stranger(v6), localhost(v6)
		port := p.appPort()
		proxy, known := p.Proxy()
		ways = append(ways,
			p.sends("app-out", "the app calls out", App, Wire, p.App(), own[0], netip.AddrPortFrom(out, 80), redirect.TCPProto),
			p.arrives(netip.AddrPortFrom(out, 40000), netip.AddrPortFrom(own[0], port)),
			p.sends("app-self", "the app calls its own pod", App, App, p.App(), own[0], netip.AddrPortFrom(own[0], port), redirect.TCPProto),
			p.sends("app-localhost", "the app calls localhost", App, App, p.App(), local, netip.AddrPortFrom(local, port), redirect.TCPProto),
		)
		if known {
			ways = append(ways,
				p.sends("proxy-out", "the proxy calls out", Proxy, Wire, proxy, own[0], netip.AddrPortFrom(out, 80), redirect.TCPProto),
				p.sends("proxy-app", "the proxy calls its app", Proxy, App, proxy, local, netip.AddrPortFrom(local, port), redirect.TCPProto),
			)
		}
		if ns := p.nameserver(v6); ns.IsValid() {
			meant := Wire
			if p.Has(ns) {
				meant = App
			}
			ways = append(ways, p.sends("dns", "the app asks for a name", App, meant, p.App(), own[0], netip.AddrPortFrom(ns, 53), redirect.UDPProto))
		}
	}
	return ways
}

// nameserver is one of the family; the stranger stands in where only the rules ask for it.
func (p Pod) nameserver(v6 bool) netip.Addr {
	for _, a := range p.Nameservers {
		if a.Is6() == v6 {
			return a
		}
	}
	if len(p.Nameservers) == 0 && !v6 {
		return Stranger(v6)
	}
	return netip.Addr{}
}

// appPort is one that the app listens on, else the usual example.
func (p Pod) appPort() uint16 {
	proxy, known := p.Proxy()
	for _, s := range p.Sockets {
		if s.Proto == redirect.TCPProto && (!known || s.UID != proxy.UID) && !s.Addr.Addr().IsLoopback() {
			return s.Addr.Port()
		}
	}
	return 8080
}

// sends is a packet of a socket in the pod.
func (p Pod) sends(name, title string, from, meant Actor, who Owner, src netip.Addr, dst netip.AddrPort, proto redirect.Proto) Way {
	out := p.Uplink
	if p.Has(dst.Addr()) {
		out = "lo"
	}
	return p.walk(Way{Name: name, Title: title, From: from, Meant: meant, Packet: redirect.Packet{
		Hook: redirect.Output, Out: out, Proto: proto, UID: who.UID, GID: who.GID, Src: netip.AddrPortFrom(src, 40000), Dst: dst}})
}

// arrives is a connection from outside.
func (p Pod) arrives(src, dst netip.AddrPort) Way {
	return p.walk(Way{Name: "wire-in", Title: "somebody calls the pod", From: Wire, Meant: App, Packet: redirect.Packet{
		Hook: redirect.Prerouting, In: p.Uplink, Proto: redirect.TCPProto, Src: src, Dst: dst, ForeignSrc: true}})
}

// walk finds where the way ends.
func (p Pod) walk(w Way) Way {
	w.Packet.NoListener, w.Packet.Own = !p.Transparent(w.Packet), p.EveryAddr()
	w.Outcome = redirect.Trace(p.Rules.RuleSet(), w.Packet)
	if s, ok := w.Outcome.Decided(); ok {
		w.Decided = &s
		w.Count = p.Rules.Count(s)
	}
	w.Ends, w.At = w.Meant, netip.AddrPort{}
	dst := w.Packet.Dst
	switch o := w.Outcome; o.Verdict {
	case redirect.Redirected, redirect.TProxied:
		to := dst.Addr()
		if o.Verdict == redirect.Redirected && w.Packet.Hook == redirect.Output {
			to = localhost(w.V6())
		}
		w.Ends, w.At = Proxy, netip.AddrPortFrom(to, o.Port)
	case redirect.DNATed:
		w.Ends = Wire
		if p.Has(o.To.Addr()) {
			w.Ends, w.At = Proxy, o.To
		}
	case redirect.Dropped, redirect.Rejected, redirect.Unknown:
		w.Ends = Nobody
	default:
		if w.Meant != Wire {
			w.At = dst
		}
	}
	if w.At.IsValid() {
		if s, ok := p.Listener(w.Packet.Proto, w.At); ok {
			w.Listener = &s
		}
	}
	return w
}

// Transparent reports whether a socket waits on the port of a tproxy rule: without one the
// kernel goes on to the next rule.
func (p Pod) Transparent(packet redirect.Packet) bool {
	for _, c := range p.Rules.Chains {
		for _, r := range c.Rules {
			if t, ok := r.Target.(redirect.TProxyTo); ok {
				for _, s := range p.Sockets {
					if s.Proto == packet.Proto && s.Addr.Port() == t.Port {
						return true
					}
				}
			}
		}
	}
	return false
}

// Where says in few words where the way ends.
func (w Way) Where() string {
	switch o := w.Outcome; o.Verdict {
	case redirect.Redirected, redirect.TProxied:
		return fmt.Sprintf("%s, port %d", Proxy, o.Port)
	case redirect.DNATed:
		return o.To.String()
	case redirect.Dropped:
		return "dropped"
	case redirect.Rejected:
		return "rejected"
	case redirect.Unknown:
		return "unknown: a rule that cannot be read decides"
	}
	if w.Ends == Wire {
		return "outside, untouched"
	}
	return fmt.Sprintf("port %d, untouched", w.Packet.Dst.Port())
}
