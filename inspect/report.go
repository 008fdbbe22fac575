package inspect

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/live"
)

// Report is all that is to be shown of a pod.
type Report struct {
	// Name is namespace/name, or what it was asked for by; Found says how it was found.
	Name, Found, Netns string
	Wanted             Wanted
	Seen               Pod
	Ways               []Way
	Findings           []Finding
	// Before are the counters Elapsed ago, for rates; nil for none.
	Before  *live.Rules
	Elapsed time.Duration
}

// counted is a rule's packets, and how many a second there were since Before.
func (r Report) counted(s redirect.Step) string {
	now := r.Seen.Rules.Count(s)
	text := packets(now)
	if r.Before == nil || !now.Counted || r.Elapsed <= 0 {
		return text
	}
	// A rule that was written anew starts at 0.
	before := min(r.Before.Count(s).Packets, now.Packets)
	return fmt.Sprintf("%s (%.1f/s)", text, float64(now.Packets-before)/r.Elapsed.Seconds())
}

// Wanted is what the pod's annotations and the node's options ask for.
type Wanted struct {
	// Why is one sentence; "" where nobody knows the pod's annotations.
	Why      string
	Redirect bool
	// Unasked says that nobody knows the node's options, so that nobody can say what is wanted.
	Unasked bool
	// Drift is how the namespace differs from that; nil for not at all.
	Drift error
	// Moved says that ADD would install other rules today than it did, or none. Without Drift those that
	// it did install are intact, or none are wanted.
	Moved bool
}

// Finding is something that an operator should know.
type Finding struct {
	// Wrong is false for what nobody could tell.
	Wrong bool
	What  string
	Do    string
}

// NewReport walks the sample packets, and looks for what is wrong.
func NewReport(name, found, netns string, seen Pod, wanted Wanted) Report {
	r := Report{Name: name, Found: found, Netns: netns, Wanted: wanted, Seen: seen, Ways: seen.Ways()}
	r.Findings = slices.Concat(r.unwanted(), r.unheard(), r.dropped(), r.looping(), r.oneFamily(), r.untold())
	return r
}

// Wrong reports whether there is a finding that is one.
func (r Report) Wrong() bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Wrong })
}

func wrong(do, what string, args ...any) Finding {
	return Finding{Wrong: true, What: fmt.Sprintf(what, args...), Do: do}
}

// unwanted compares with the annotations.
func (r Report) unwanted() []Finding {
	if r.Wanted.Drift == nil && r.Wanted.Moved {
		today := "others"
		if !r.Wanted.Redirect {
			today = "none"
		}
		return []Finding{wrong("delete the pod when it suits: the next one is as ADD makes it today",
			"rules of before: ADD would install %s today, as the node's configuration or detour itself has changed since", today)}
	}
	if r.Wanted.Drift == nil {
		return nil
	}
	return []Finding{wrong("delete the pod: the next one gets its rules from ADD; if it comes back, look for who else writes rules",
		"not as the annotations say: %v", r.Wanted.Drift)}
}

// consequence is what happens where nobody listens.
func consequence(w Way) string {
	return map[string]string{
		"app-out": "every outbound call will be refused", "wire-in": "every inbound call will be refused",
		"app-self": "calls to the pod's own address will be refused", "app-localhost": "calls to localhost will be refused",
		"dns": "no name will be found",
	}[w.Name]
}

// unheard looks for ports that traffic is bent to and where nobody listens.
func (r Report) unheard() (all []Finding) {
	said := map[string]bool{}
	for _, w := range r.Ways {
		if w.Outcome.Verdict == redirect.Passed || !w.At.IsValid() || w.Listener != nil {
			continue
		}
		what := fmt.Sprintf("nobody listens on %d (%s)", w.At.Port(), w.Packet.Proto)
		if c := consequence(w); c != "" {
			what += ": " + c
		}
		if !said[what] {
			said[what] = true
			all = append(all, wrong("look at the proxy's container: is it there, has it started, is it configured for this port?", "%s", what))
		}
	}
	return all
}

// dropped looks for ways that end at a rule.
func (r Report) dropped() (all []Finding) {
	said := map[string]bool{}
	for _, w := range r.Ways {
		what := fmt.Sprintf("%s: %s: %s", w.Title, w.Where(), w.Reason())
		if (w.Outcome.Verdict == redirect.Dropped || w.Outcome.Verdict == redirect.Rejected) && !said[what] {
			said[what] = true
			all = append(all, wrong("if the rule means it, nothing is to be done; if it waits for a listener, look at the proxy's container", "%s", what))
		}
	}
	return all
}

// looping looks for the proxy's own calls coming back to it.
func (r Report) looping() []Finding {
	for _, w := range r.Ways {
		if w.Name == "proxy-out" && w.Ends == Proxy {
			return []Finding{wrong("make the proxy run as the user or group that the rules leave alone",
				"the proxy's own calls (user %d, group %d) come back to port %d: they loop", w.Packet.UID, w.Packet.GID, w.At.Port())}
		}
	}
	return nil
}

// oneFamily looks for traffic that is bent in IPv4 only, or in IPv6 only.
func (r Report) oneFamily() (all []Finding) {
	for _, w := range r.Ways {
		if r.slips(w) {
			all = append(all, wrong("a mesh that bends one family only lets the other slip: give the rules both, or the pod one",
				"%s: %s goes to the proxy, %s slips past it", w.Title, family(!w.V6()), family(w.V6())))
		}
	}
	return all
}

// slips reports whether a way passes that the other family's does not.
func (r Report) slips(w Way) bool {
	return w.Ends != Proxy && w.Outcome.Verdict == redirect.Passed && slices.ContainsFunc(r.Ways, func(other Way) bool {
		return w.Name == other.Name && w.V6() != other.V6() && other.Ends == Proxy
	})
}

// untold names what nobody could read, and where it matters.
func (r Report) untold() (all []Finding) {
	for _, u := range r.Seen.Rules.Unread {
		all = append(all, Finding{What: "not read: " + u})
	}
	for _, w := range r.Ways {
		if w.Outcome.Verdict == redirect.Unknown {
			all = append(all, Finding{What: fmt.Sprintf("%s (%s): a rule that cannot be interpreted decides", w.Title, family(w.V6())), Do: "detour explain names the rule"})
		}
	}
	return all
}

func family(v6 bool) string {
	if v6 {
		return "IPv6"
	}
	return "IPv4"
}

// Whose says whose rules there are, in a few words.
func (r Report) Whose() string {
	var ours, others [2]int
	for _, c := range r.Seen.Rules.Chains {
		count := &others
		if c.Ours() {
			count = &ours
		}
		count[0]++
		count[1] += len(c.Rules)
	}
	var all []string
	if ours[1] > 0 {
		all = append(all, fmt.Sprintf("detour's: %d rules in %d chains", ours[1], ours[0]))
	}
	if others[1] > 0 {
		all = append(all, fmt.Sprintf("somebody else's: %d rules in %d chains", others[1], others[0]))
	}
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, "; ")
}

// lane is a way, with the families for which it is the same.
type lane struct {
	Way
	Families string
}

// lanes are the ways in their order, those that are the same in both families as one.
func (r Report) lanes() (all []lane) {
	for _, w := range r.Ways {
		i := slices.IndexFunc(all, func(l lane) bool {
			return l.Name == w.Name && l.Outcome.Verdict == w.Outcome.Verdict && l.Outcome.Port == w.Outcome.Port && l.Outcome.To == w.Outcome.To &&
				(l.Listener == nil) == (w.Listener == nil)
		})
		if i < 0 {
			all = append(all, lane{w, family(w.V6())})
			continue
		}
		all[i].Families += ", " + family(w.V6())
		if w.Decided != nil && (all[i].Decided == nil || w.Decided.Scope != all[i].Decided.Scope) {
			all[i].Count.Packets += w.Count.Packets
			all[i].Count.Bytes += w.Count.Bytes
			all[i].Count.Counted = all[i].Count.Counted || w.Count.Counted
		}
	}
	slices.SortStableFunc(all, func(a, b lane) int { return order(a.Name) - order(b.Name) })
	return all
}

func order(name string) int {
	return slices.Index([]string{"app-out", "proxy-out", "wire-in", "proxy-app", "app-self", "app-localhost", "dns"}, name)
}

// Listening says who takes what ends here; "" where that is not in the pod.
func (w Way) Listening() string {
	switch {
	case !w.At.IsValid():
		return ""
	case w.Listener == nil:
		return "nobody listens"
	}
	return w.Listener.Owner()
}

// Owner says whose socket it is: "envoy (uid 1337)".
func (s Socket) Owner() string {
	if s.Process.Name == "" {
		return fmt.Sprintf("uid %d", s.UID)
	}
	return fmt.Sprintf("%s (uid %d)", s.Process.Name, s.UID)
}

// Reason is why the way ends where it does.
func (w Way) Reason() string { return w.Outcome.Why() }

// Trail is the chains from the hook to the rule that decided, and its place in the last:
// "DETOUR_TPROXY › DETOUR_DIVERT, rule 2". The built-in chain of the hook is not said again.
// "" where no rule did.
func (w Way) Trail() string {
	if w.Decided == nil {
		return ""
	}
	trail := []string{w.Decided.Chain}
	for _, s := range slices.Backward(w.Outcome.Steps) {
		if to, ok := s.Rule.Target.(redirect.Jump); ok && to.Chain == trail[0] && s.Scope == w.Decided.Scope && s.Matched != redirect.No {
			trail = append([]string{s.Chain}, trail...)
		}
	}
	if len(trail) > 1 && trail[0] == string(w.Packet.Hook) {
		trail = trail[1:]
	}
	return fmt.Sprintf("%s, rule %d", strings.Join(trail, " › "), w.Decided.Index+1)
}
