package redirect

import (
	"cmp"
	"net/netip"
)

// RuleSet is a compiled Spec: what a namespace is to hold, said without a word
// of any backend. Chains that hang on a hook come before those they jump to.
type RuleSet struct {
	Chains []Chain
	// Families is which address families the rules are for.
	Families Families
	// LoopbackAddrs are the IPv6 sources that lo must have besides ::1, in pods
	// that have an IPv6 address of their own.
	LoopbackAddrs []netip.Addr
	// LocalMark, where Table is not 0, wants packets with Mark delivered here
	// whatever their address: an ip rule and a local default route per family.
	LocalMark LocalMark
	// Rerouted are the interfaces that need an address of each family: what
	// arrives there is redirected to it.
	Rerouted []Iface
}

// LocalMark is the policy routing behind tproxy.
type LocalMark struct{ Mark, Table uint32 }

// V4 reports whether the rules are for IPv4.
func (rs RuleSet) V4() bool { return rs.Families != FamiliesIPv6 }

// V6 reports whether the rules are for IPv6.
func (rs RuleSet) V6() bool { return rs.Families != FamiliesIPv4 }

// Chain is a list of rules, walked in order. At most one compiled chain hangs on
// each table and hook: the order of two would differ between backends.
type Chain struct {
	Name  string // at most 28 bytes: iptables takes no more
	Table Table
	Hook  Hook // NoHook: only jumped to
	Rules []Rule
	// Live says how a chain hangs that was read from a kernel; nil for compiled ones.
	Live *Live
}

// Live is where a chain hangs in a kernel, where there may be several on a hook.
type Live struct {
	// Scope is whose chains it can jump to: "nf_tables inet detour", "legacy ip nat".
	Scope    string
	Families Families // whose packets it sees
	Priority int      // netfilter's: the lowest is first
	Drop     bool     // what its policy does with packets that no rule ended
}

// order is the order of two chains on a hook. A nat chain's own priority only counts among
// those of nat.
func (c Chain) order(d Chain) int {
	if by := cmp.Compare(c.priority(), d.priority()); by != 0 || c.Live == nil || d.Live == nil {
		return by
	}
	if c.Table == NAT && d.Table == NAT {
		return cmp.Compare(c.Live.Priority, d.Live.Priority)
	}
	return 0
}

// natPlaces are where nat has its turn on each hook, once for all of its chains
// (NF_IP_PRI_NAT_DST and _SRC, linux/netfilter_ipv4.h); tablePlaces are iptables' own.
var (
	natPlaces   = map[Hook]int{Prerouting: -100, Output: -100, Input: 100, Postrouting: 100}
	tablePlaces = map[Table]int{Raw: -300, Mangle: -150, NAT: -100}
)

// priority is the place of a chain on its hook.
func (c Chain) priority() int {
	switch {
	case c.Live == nil:
		return tablePlaces[c.Table]
	case c.Table == NAT:
		return natPlaces[c.Hook]
	}
	return c.Live.Priority
}

// idle reports whether no packet notices the chain.
func (c Chain) idle() bool { return len(c.Rules) == 0 && (c.Live == nil || !c.Live.Drop) }

// scope is whose chain it is, among those of a kernel.
func (c Chain) scope() string {
	if c.Live != nil {
		return c.Live.Scope
	}
	return ""
}

// sees reports whether packets of the address family pass the chain.
func (c Chain) sees(v6 bool) bool {
	if c.Live == nil {
		return true
	}
	return c.Live.Families != map[bool]Families{true: FamiliesIPv4, false: FamiliesIPv6}[v6]
}

// reaches reports whether a rule of c can jump to another chain.
func (c Chain) reaches(to Chain) bool {
	if c.Live != nil && to.Live != nil {
		return c.Live.Scope == to.Live.Scope
	}
	return c.Table == to.Table
}

// Table is one of netfilter's, by what it may do; in the order a packet meets them.
type Table string

// The tables: conntrack starts between raw and mangle; nat sees only the first
// packet of a connection.
const (
	Raw    Table = "raw"
	Mangle Table = "mangle"
	NAT    Table = "nat"
	// Filter is where none of ours is.
	Filter Table = "filter"
)

// Hook is where a chain hangs.
type Hook string

// The hooks that a pod's own packets, and those sent to it, pass through.
const (
	NoHook     Hook = ""
	Prerouting Hook = "PREROUTING"
	Output     Hook = "OUTPUT"
	// On these hang only other people's chains.
	Input       Hook = "INPUT"
	Forward     Hook = "FORWARD"
	Postrouting Hook = "POSTROUTING"
)

// Rule is one line of policy. All of Match must hold; an empty Match always
// does. Why is for people: it ends up in the rule's comment, and says nothing
// that comes from outside.
type Rule struct {
	Match  Match
	Target Target
	Why    string
}

// CommentPrefix begins the comment of every rule of ours.
const CommentPrefix = "detour: "

// Comment is the rule's reason as the kernel keeps it.
func (r Rule) Comment() string { return CommentPrefix + r.Why }

// Match is conditions that must all hold.
type Match []Cond

// Cond is one condition on a packet. The set is closed: a backend's switch
// lists every one.
type Cond interface{ cond() }

// The conditions. Those over lists hold when one member does; lists are merged.
type (
	// TCP holds for TCP.
	TCP struct{}
	// UDP holds for UDP.
	UDP struct{}
	// InIface holds for packets that came in through the interface (Prerouting only).
	InIface struct{ Iface Iface }
	// OutIface holds for packets that are routed out through the interface (Output only).
	OutIface struct{ Iface Iface }
	// Src holds for sources inside one of the prefixes. A family without a
	// prefix in the list never matches.
	Src struct{ Prefixes []netip.Prefix }
	// Dst is Src for destinations.
	Dst struct{ Prefixes []netip.Prefix }
	// DstPort holds for destination ports; TCP or UDP stands before it in the Match.
	DstPort struct{ Ports []PortRange }
	// UID holds for packets of sockets that these uids created (Output only).
	UID struct{ IDs []IDRange }
	// GID is UID for the socket's group.
	GID struct{ IDs []IDRange }
	// Mark holds for packets with this mark.
	Mark struct{ Value uint32 }
	// ConnMark holds for packets of connections with this mark.
	ConnMark struct{ Value uint32 }
	// CTState holds for conntrack states.
	CTState struct{ States CTStates }
	// CTReply holds for packets against the direction in which conntrack saw their
	// connection open: nft's ct direction reply.
	CTReply struct{}
	// SYN holds for the packet that opens a TCP connection, as iptables' --syn does: SYN,
	// and none of ACK, RST and FIN. TCP stands before it in the Match.
	SYN struct{}
	// LocalSrc holds for sources that are addresses of this namespace.
	LocalSrc struct{}
	// TransparentSocket holds where a socket with IP_TRANSPARENT takes the packet.
	TransparentSocket struct{}
	// Not holds where Cond does not. Never of UID or GID: see the package comment.
	Not struct{ Cond Cond }
	// Protocol holds for one of these; only in rules that were read from a kernel, like
	// SrcPort and LocalDst.
	Protocol struct{ Protos []Proto }
	// SrcPort is DstPort for source ports.
	SrcPort struct{ Ports []PortRange }
	// LocalDst holds for destinations that are addresses of this namespace.
	LocalDst struct{}
	// Flags holds where these of TCP's flags, of those in Mask, are set and no other; only read from a
	// kernel, like Fragment.
	Flags struct{ Mask, Set uint8 }
	// Fragment holds for all but the first of an IPv4 packet's fragments. The packets here are whole.
	Fragment struct{}
	// Opaque is a condition of somebody else's rule that nobody here can read.
	Opaque struct{ Text string }
)

func (TCP) cond()               {}
func (UDP) cond()               {}
func (InIface) cond()           {}
func (OutIface) cond()          {}
func (Src) cond()               {}
func (Dst) cond()               {}
func (DstPort) cond()           {}
func (UID) cond()               {}
func (GID) cond()               {}
func (Mark) cond()              {}
func (ConnMark) cond()          {}
func (CTState) cond()           {}
func (CTReply) cond()           {}
func (SYN) cond()               {}
func (LocalSrc) cond()          {}
func (TransparentSocket) cond() {}
func (Not) cond()               {}
func (Protocol) cond()          {}
func (SrcPort) cond()           {}
func (LocalDst) cond()          {}
func (Flags) cond()             {}
func (Fragment) cond()          {}
func (Opaque) cond()            {}

// The flags of TCP (RFC 9293, 3.1) that SYN compares: FlagSYN alone of FlagsSYN, which
// are FIN, SYN, RST and ACK.
const (
	FlagSYN  = 0x02
	FlagsSYN = 0x17
)

// CTStates is a set of conntrack states; the bits are netfilter's
// (NF_CT_STATE_BIT, linux/netfilter/nf_conntrack_common.h), as nft's ct state has them.
type CTStates uint32

// The conntrack states.
const (
	CTInvalid     CTStates = 1
	CTEstablished CTStates = 2
	CTRelated     CTStates = 4
	CTNew         CTStates = 8
)

// Target is what a rule does with a packet. The set is closed.
type Target interface{ target() }

// The targets.
type (
	// Return leaves the chain; from a chain on a hook the packet goes on.
	Return struct{}
	// Accept ends the table's work on this packet.
	Accept struct{}
	// Drop drops it, without a word to the sender.
	Drop struct{}
	// Jump walks another chain of the same table, and comes back if that one returns;
	// with Goto (never ours) it comes back to where this chain was jumped to from.
	Jump struct {
		Chain string
		Goto  bool
	}
	// RedirectTo rewrites the destination to this host's Port: 127.0.0.1 or ::1
	// in Output, the first address of the incoming interface in Prerouting.
	RedirectTo struct{ Port uint16 }
	// TProxyTo gives the packet, unchanged, to the transparent socket that listens
	// on Port, marks it and accepts. Where there is no such socket the next rule decides;
	// iptables' own target then drops the packet (DropsUnheard, of live rules only).
	TProxyTo struct {
		Port         uint16
		Mark         uint32
		DropsUnheard bool
	}
	// DNATTo rewrites the destination; the Match keeps it to To's own family.
	DNATTo struct{ To netip.AddrPort }
	// SetMark sets the packet's mark, and goes on.
	SetMark struct{ Value uint32 }
	// SaveMark copies the packet's mark to its connection, and goes on.
	SaveMark struct{}
	// RestoreMark copies the connection's mark to the packet, and goes on.
	RestoreMark struct{}
	// CTZone has conntrack look the packet up in this zone, for the original
	// direction of its connection: answers need no rule. Raw only. It goes on.
	CTZone struct{ Zone uint16 }
	// Reject drops the packet and tells its sender. Only read from a kernel, like Aside.
	Reject struct{}
	// Aside does something that does not change where the packet ends (a log, a
	// source address), and goes on.
	Aside struct{ Text string }
	// OpaqueTarget is what somebody else's rule does and nobody here can read.
	OpaqueTarget struct{ Text string }
)

func (Return) target()       {}
func (Accept) target()       {}
func (Drop) target()         {}
func (Jump) target()         {}
func (RedirectTo) target()   {}
func (TProxyTo) target()     {}
func (DNATTo) target()       {}
func (SetMark) target()      {}
func (SaveMark) target()     {}
func (RestoreMark) target()  {}
func (CTZone) target()       {}
func (Reject) target()       {}
func (Aside) target()        {}
func (OpaqueTarget) target() {}
