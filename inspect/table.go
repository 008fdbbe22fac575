package inspect

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/detour-cni/detour/inspect/words"
	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/live"
)

// Table shows a report on a terminal; wide has the rules, sockets and routes besides.
func Table(r Report, wide bool) string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	words.Fprintf(t, "pod\t%s\n", r.Name)
	words.Fprintf(t, "found\t%s\n", r.Found)
	words.Fprintf(t, "addresses\t%s\n", words.List(r.Seen.Own()))
	words.Fprintf(t, "rules\t%s\n", r.Whose())
	if r.Wanted.Why != "" {
		words.Fprintf(t, "annotations\t%s\n", r.Wanted.Why)
	}
	flush(t)
	b.WriteString("\n")
	t = tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	words.Fprintf(t, "WAY\tFAMILIES\tENDS AT\tLISTENING\tPACKETS\tWHY\n")
	for _, l := range r.lanes() {
		words.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", l.Title, l.Families, l.Where(), dash(l.Listening()), r.passed(l), l.Reason())
	}
	flush(t)
	if wide {
		b.WriteString(details(r))
	}
	b.WriteString("\n")
	if len(r.Findings) == 0 {
		b.WriteString("nothing wrong found\n")
	}
	for _, f := range r.Findings {
		mark := map[bool]string{true: "!!", false: " ?"}[f.Wrong]
		words.Fprintf(&b, "%s %s\n", mark, f.What)
		if f.Do != "" {
			words.Fprintf(&b, "   %s\n", f.Do)
		}
	}
	return b.String()
}

func flush(t *tabwriter.Writer) {
	t.Flush() //nolint:errcheck // a strings.Builder takes everything
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// passed is what the rule that decides a lane has counted; two families may have one each.
func (r Report) passed(l lane) string {
	if l.Decided == nil || r.Before == nil {
		return packets(l.Count)
	}
	return r.counted(*l.Decided)
}

func packets(c live.Count) string {
	if !c.Counted {
		return "-"
	}
	return fmt.Sprint(c.Packets)
}

// details are the chains, the sockets and the routing.
func details(r Report) string {
	var b strings.Builder
	for _, c := range r.Seen.Rules.Chains {
		words.Fprintf(&b, "\n%s, %s\n", c.Name, hangs(c))
		t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		for i, rule := range c.Rules {
			words.Fprintf(t, "  %d\t%s\t%s\t%s\t%s\n", i+1, r.counted(redirect.Step{Scope: c.Live.Scope, Chain: c.Name, Index: i}), words.Match(rule.Match), words.Target(rule.Target), rule.Why)
		}
		flush(t)
	}
	b.WriteString("\nsockets\n")
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, s := range r.Seen.Sockets {
		words.Fprintf(t, "  %s\t%s\t%s\n", s.Proto, s.Addr, s.Owner())
	}
	flush(t)
	for _, line := range r.Seen.Routing {
		words.Fprintf(&b, "\n%s", line)
	}
	if len(r.Seen.Routing) > 0 {
		b.WriteString("\n")
	}
	return b.String()
}

// hangs says where a chain is met.
func hangs(c live.Chain) string {
	at := c.Live.Scope
	if c.Hook == redirect.NoHook {
		return at + ", only jumped to"
	}
	at = fmt.Sprintf("%s, %s at %d", at, c.Hook, c.Live.Priority)
	if c.Live.Drop {
		at += ", drops the rest"
	}
	return at
}
