package redirect

import "net/netip"

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
	Mark, ConnMark uint32
	// ForeignSrc: the source is not an address of this namespace.
	ForeignSrc bool
	// TransparentSocket: a socket with IP_TRANSPARENT has this connection already.
	TransparentSocket bool
	// NoListener: no transparent socket listens on the port that tproxy names.
	NoListener bool
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
}
