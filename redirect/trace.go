package redirect

import (
	"fmt"
	"net/netip"
	"slices"
)

// Trace walks the rules for one packet, as the kernel does: the chains of its
// hook by priority (raw, mangle, nat), those of the next one; and what leaves through lo comes
// in again at PREROUTING, where nat is not asked a second time. Where an opaque match decides, both ways are
// walked: if they end alike the answer stands, else it is Unknown.
func Trace(rs RuleSet, p Packet) Outcome {
	if p.State == 0 {
		p.State = CTNew
	}
	w := walk{rs: rs, packet: p, out: Outcome{Verdict: Passed, Mark: p.Mark, Saved: p.ConnMark}}
	if !w.familyHasRules() {
		return w.out
	}
	w.then = map[Hook][]Hook{Output: {Postrouting}, Prerouting: {Input}}[p.Hook]
	w.enter(p.Hook)
	return w.run()
}

// maxWalk bounds the rules that one packet meets, over all the ways that opaque
// matches open: foreign rules can jump in circles no kernel would load.
const maxWalk = 100_000

// frame is a place in a chain: where to go on after a Return.
type frame struct {
	chain Chain
	next  int
}

// walk is one packet on its way.
type walk struct {
	rs     RuleSet
	packet Packet
	out    Outcome
	hook   Hook
	then   []Hook  // still to come
	chains []Chain // of the hook, still to come
	stack  []frame
	again  bool   // on lo, after it was sent: nat is not asked a second time
	natted bool   // nat has decided at this hook
	newOut string // the way out that nat's rewrite gave: only the next hook sees it
	budget *int
}

func (w *walk) familyHasRules() bool {
	if w.packet.Dst.Addr().Is4() {
		return w.rs.V4()
	}
	return w.rs.V6()
}

// enter starts a hook: its chains in the order of their priority.
func (w *walk) enter(h Hook) {
	w.hook, w.stack, w.natted, w.chains = h, nil, false, nil
	if w.newOut != "" {
		w.packet.Out, w.newOut = w.newOut, ""
	}
	for _, c := range w.rs.Chains {
		if c.Hook == h && c.sees(w.packet.Dst.Addr().Is6()) && !c.idle() {
			w.chains = append(w.chains, c)
		}
	}
	slices.SortStableFunc(w.chains, Chain.order)
}

// run walks until the packet has passed every hook.
func (w *walk) run() Outcome {
	if w.budget == nil {
		w.budget = new(maxWalk)
	}
	for {
		if len(w.stack) == 0 {
			if n := w.tied(); n > 1 {
				return w.anyFirst(n)
			}
			if !w.nextChain() {
				return w.out
			}
		}
		top := &w.stack[len(w.stack)-1]
		if top.next >= len(top.chain.Rules) {
			if w.leave() {
				return w.out
			}
			continue
		}
		if *w.budget--; *w.budget < 0 {
			w.end(Unknown)
			return w.out
		}
		i := top.next
		top.next++
		rule := top.chain.Rules[i]
		matched := matches(rule.Match, w.packet)
		w.out.Steps = append(w.out.Steps, Step{w.hook, top.chain.Table, top.chain.Name, i, rule, matched, top.chain.scope()})
		if matched == CannotSay && changesTheWay(rule.Target) {
			return w.bothWays(rule.Target)
		}
		if matched == Yes && w.apply(rule.Target) {
			return w.out
		}
	}
}

// changesTheWay reports whether it matters that a rule matches.
func changesTheWay(t Target) bool {
	_, aside := t.(Aside)
	return t != nil && !aside
}

// bothWays goes on as if the rule had matched, and as if it had not.
func (w *walk) bothWays(t Target) Outcome {
	yes := w.fork()
	if !yes.apply(t) {
		yes.out = yes.run()
	}
	return w.joined(yes.out)
}

// tied is how many chains of nat come next with one priority. Which of them the kernel has
// first (it is the last that came) does not show: dumps are by table, and the legacy one's apart.
func (w *walk) tied() (n int) {
	for n < len(w.chains) && w.chains[n].Table == NAT && w.meetsNAT() && w.chains[n].order(w.chains[0]) == 0 {
		n++
	}
	return n
}

// anyFirst goes on with each of the next n chains first.
func (w *walk) anyFirst(n int) Outcome {
	var others []Outcome
	for i := 1; i < n; i++ {
		other := w.fork()
		other.chains = slices.Concat(w.chains[i:i+1], w.chains[:i], w.chains[i+1:])
		other.nextChain()
		others = append(others, other.run())
	}
	w.nextChain()
	return w.joined(others...)
}

// meetsNAT reports whether nat has still to decide: a connection's later packets, and the
// second round on lo, do not meet it.
func (w *walk) meetsNAT() bool { return w.packet.State&CTNew != 0 && !w.again && !w.natted }

// fork is the same packet at the same place, to go on another way. Only where that ends is
// asked: it has no steps, of which a copy for each opaque rule costs their square.
func (w *walk) fork() walk {
	other := *w
	other.stack = slices.Clone(w.stack)
	other.out.Steps = nil
	return other
}

// joined goes on, and is sure only of what the other ways end in as well.
func (w *walk) joined(others ...Outcome) Outcome {
	o := w.run()
	if slices.ContainsFunc(others, func(other Outcome) bool { return !o.Same(other) }) {
		o.Verdict, o.Port, o.To = Unknown, 0, netip.AddrPort{}
	}
	return o
}

// nextChain enters the next chain on the packet's way; false when there is none.
func (w *walk) nextChain() bool {
	for {
		for len(w.chains) > 0 {
			c := w.chains[0]
			w.chains = w.chains[1:]
			if c.Table == NAT && !w.meetsNAT() {
				continue
			}
			w.stack = []frame{{chain: c}}
			// Conntrack has not looked yet (NF_IP_PRI_CONNTRACK is -200). What comes back in through
			// lo it knows from the way out.
			w.packet.untracked = !w.again && c.priority() < -200
			return true
		}
		if len(w.then) == 0 {
			if w.again || w.packet.Out != "lo" {
				return false
			}
			w.again = true
			w.packet.In, w.packet.Out = "lo", ""
			w.then = []Hook{Prerouting, Input}
		}
		h := w.then[0]
		w.then = w.then[1:]
		w.enter(h)
	}
}

// leave comes back from a chain; true when a policy ends the packet's way.
func (w *walk) leave() bool {
	base := w.stack[0].chain
	w.stack = w.stack[:len(w.stack)-1]
	if len(w.stack) == 0 && base.Live != nil && base.Live.Drop {
		return w.end(Dropped)
	}
	return false
}

// end is a verdict after which there is no way on, whatever was to become of the packet before.
func (w *walk) end(v Verdict) bool {
	w.out.Verdict, w.out.Port, w.out.To = v, 0, netip.AddrPort{}
	return true
}

// apply carries a target out; true when the packet's way ends with it.
func (w *walk) apply(t Target) bool {
	switch t := t.(type) {
	case nil, Aside:
	case Return:
		return w.leave()
	case Accept:
		w.stack = nil
	case Drop:
		return w.end(Dropped)
	case Reject:
		return w.end(Rejected)
	case Jump:
		return w.jump(t)
	case RedirectTo:
		w.redirect(t.Port)
	case DNATTo:
		return w.dnat(t.To)
	case TProxyTo:
		if w.packet.NoListener && t.DropsUnheard {
			return w.end(Dropped)
		}
		if !w.packet.NoListener {
			w.out.Verdict, w.out.Port = TProxied, t.Port
			w.mark(t.Mark)
			w.stack = nil
		}
	case SetMark:
		w.mark(t.Value)
	case SaveMark:
		if !w.packet.untracked {
			w.packet.ConnMark, w.out.Saved = w.packet.Mark, w.packet.Mark
		}
	case RestoreMark:
		if !w.packet.untracked {
			w.mark(w.packet.ConnMark)
		}
	case CTZone:
		w.out.Zone = t.Zone
	case OpaqueTarget:
		return w.end(Unknown)
	default:
		panic(fmt.Sprintf("trace: target %T", t))
	}
	return false
}

func (w *walk) mark(m uint32) { w.packet.Mark, w.out.Mark = m, m }

func (w *walk) jump(to Jump) bool {
	from := w.stack[len(w.stack)-1].chain
	for _, c := range w.rs.Chains {
		if c.Name == to.Chain && from.reaches(c) {
			if to.Goto {
				w.stack[len(w.stack)-1].next = len(from.Rules)
			}
			w.stack = append(w.stack, frame{chain: c})
			return false
		}
	}
	return w.end(Unknown) // no kernel has such a rule
}

// redirect rewrites the destination to this host, and ends nat's work.
func (w *walk) redirect(p uint16) {
	if p == 0 { // without a port it keeps the packet's
		p = w.packet.Dst.Port()
	}
	w.out.Verdict, w.out.Port = Redirected, p
	to := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	switch {
	case w.hook == Prerouting:
		to = w.packet.Dst.Addr() // the interface's own address: no rule can tell
	case w.packet.Dst.Addr().Is6():
		to = netip.IPv6Loopback()
	}
	w.rewrite(netip.AddrPortFrom(to, p))
}

// dnat gives the packet another destination; true when its way ends with it.
func (w *walk) dnat(to netip.AddrPort) bool {
	w.out.Verdict, w.out.To = DNATed, to
	w.rewrite(to)
	if w.hook != Output || w.newOut == "lo" || w.packet.Own != nil {
		return false
	}
	inside := w.fork() // if the address is one of this namespace
	inside.newOut = "lo"
	w.out = w.joined(inside.run())
	return true
}

// rewrite changes the destination. In OUTPUT the packet gets another way out by that, which
// the rest of the hook does not see: the kernel has kept the old one for all of it.
func (w *walk) rewrite(to netip.AddrPort) {
	if w.hook == Output && (to.Addr().IsLoopback() || slices.Contains(w.packet.Own, to.Addr())) {
		w.newOut = "lo"
	}
	w.packet.Dst = to
	w.stack, w.natted = nil, true
}
