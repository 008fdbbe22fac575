package redirect

import (
	"fmt"
	"net/netip"
)

// Packet is what rules can see of one packet. The zero value of each field is
// the usual case, so that a test names only what matters.
type Packet struct {
	Hook     Hook   // where it starts: Output in the pod, Prerouting from outside
	In, Out  string // interface names
	Proto    Proto
	Src, Dst netip.AddrPort
	UID, GID uint32 // of the socket that sent it (Output)
	NoSocket bool   // sent by the kernel itself: a reset, an echo reply

	State          CTStates // 0 is CTNew
	Reply          bool     // whom it is for has opened the connection, as conntrack saw it
	Mark, ConnMark uint32
	// Own are the addresses of this namespace besides the loopback network. Without them nobody
	// knows whether an address that DNAT gives is one.
	Own []netip.Addr
	// ForeignSrc: the source is not an address of this namespace.
	ForeignSrc bool
	// TransparentSocket: a socket with IP_TRANSPARENT has this connection already.
	TransparentSocket bool
	// SYN: it opens a connection, though there is one of these very addresses and ports:
	// conntrack still knows it (State), or a socket in TIME_WAIT holds it
	// (TransparentSocket). A new one's first packet is a SYN without a word here.
	SYN bool
	// NoListener: no transparent socket listens on the port that tproxy names.
	NoListener bool

	untracked bool // before conntrack: it has no state but invalid, and no connection's mark
}

// state is conntrack's, as far as it has looked.
func (p Packet) state() CTStates {
	if p.untracked {
		return CTInvalid
	}
	return p.State
}

// opens reports whether the packet is a TCP connection's first. One that a helper has
// told conntrack of (related) opens a connection like any other.
func (p Packet) opens() bool {
	first := p.State&(CTNew|CTRelated) != 0 && !p.TransparentSocket
	return p.Proto == TCPProto && (p.SYN || first)
}

// Verdict is what becomes of a packet.
type Verdict string

// The verdicts. Unknown is only ever the answer where an opaque match or target
// would change it.
const (
	Passed     Verdict = "pass"
	Redirected Verdict = "redirect"
	TProxied   Verdict = "tproxy"
	DNATed     Verdict = "dnat"
	Dropped    Verdict = "drop"
	Rejected   Verdict = "reject" // dropped, and the sender is told
	Unknown    Verdict = "unknown"
)

// Outcome is where a packet ends, and the rules that looked at it on the way.
type Outcome struct {
	Verdict Verdict
	Port    uint16         // Redirected, TProxied
	To      netip.AddrPort // DNATed
	Mark    uint32         // the packet's at the end
	Saved   uint32         // the connection's at the end
	Zone    uint16         // conntrack's
	Steps   []Step
}

// Same reports whether two outcomes are the same for the packet, whatever rules led there.
func (o Outcome) Same(p Outcome) bool {
	return o.Verdict == p.Verdict && o.Port == p.Port && o.To == p.To && o.Mark == p.Mark && o.Saved == p.Saved && o.Zone == p.Zone
}

// Answer is a yes, a no, or cannot say.
type Answer int8

// The answers of a match.
const (
	No Answer = iota
	Yes
	CannotSay
)

func (a Answer) String() string { return [...]string{"no", "yes", "cannot say"}[a] }

func answer(b bool) Answer {
	if b {
		return Yes
	}
	return No
}

// Step is one rule that looked at the packet.
type Step struct {
	Hook    Hook
	Table   Table
	Chain   string
	Index   int // of the rule in its chain, from 0
	Rule    Rule
	Matched Answer
	// Scope is the chain's Live.Scope; "" for compiled rules.
	Scope string
}

// Decided is the step after which the packet's end was certain: the one that rewrote or
// dropped it, or the last that let it go. false: no rule took it.
func (o Outcome) Decided() (s Step, ok bool) {
	for _, step := range o.Steps {
		if step.Matched == Yes && o.ends(step) {
			s, ok = step, true
		}
	}
	return s, ok
}

// Why says what decided, in the rule's own words where it has any.
func (o Outcome) Why() string {
	s, ok := o.Decided()
	if !ok {
		return "no rule takes it"
	}
	if t, tproxy := s.Rule.Target.(TProxyTo); tproxy && o.Verdict == Dropped {
		return fmt.Sprintf("no transparent listener on port %d: iptables' TPROXY drops the packet then", t.Port)
	}
	if s.Rule.Why != "" {
		return s.Rule.Why
	}
	return fmt.Sprintf("rule %d of %s", s.Index+1, s.Chain)
}

func (o Outcome) ends(s Step) bool {
	switch s.Rule.Target.(type) {
	case RedirectTo:
		return o.Verdict == Redirected
	case TProxyTo:
		return o.Verdict == TProxied || o.Verdict == Dropped
	case DNATTo:
		return o.Verdict == DNATed
	case Drop:
		return o.Verdict == Dropped
	case Reject:
		return o.Verdict == Rejected
	case Return, Accept:
		return o.Verdict == Passed && s.Table != Filter
	}
	return false
}
