package inspect

import (
	"github.com/detour-cni/detour/inspect/words"
	"github.com/detour-cni/detour/redirect"
)

// Schema names the form of Document.
const Schema = "detour-cni.dev/inspect/v1"

// Document is `detour inspect -o json`.
type Document struct {
	Schema string    `json:"schema"`
	Pods   []podJSON `json:"pods"`
}

type (
	podJSON struct {
		Name        string        `json:"name"`
		Found       string        `json:"found"`
		Netns       string        `json:"netns"`
		Annotations string        `json:"annotations,omitempty"`
		Addresses   []string      `json:"addresses"`
		Uplink      string        `json:"uplink,omitempty"`
		Nameservers []string      `json:"nameservers,omitempty"`
		Findings    []findingJSON `json:"findings"`
		Ways        []wayJSON     `json:"ways"`
		Chains      []chainJSON   `json:"chains"`
		Sockets     []socketJSON  `json:"sockets"`
		Routing     []string      `json:"routing,omitempty"`
		Unread      []string      `json:"unread,omitempty"`
	}
	findingJSON struct {
		Wrong bool   `json:"wrong"`
		What  string `json:"what"`
		Do    string `json:"do,omitempty"`
	}
	wayJSON struct {
		Way      string     `json:"way"`
		Title    string     `json:"title"`
		Family   string     `json:"family"`
		From     Actor      `json:"from"`
		Meant    Actor      `json:"meant"`
		Ends     Actor      `json:"ends"`
		Outcome  string     `json:"outcome"`
		Port     uint16     `json:"port,omitempty"`
		To       string     `json:"to,omitempty"`
		Listener string     `json:"listener,omitempty"`
		Chain    string     `json:"chain,omitempty"`
		Rule     int        `json:"rule,omitempty"` // from 1
		Why      string     `json:"why"`
		Counter  *countJSON `json:"counter,omitempty"`
	}
	countJSON struct {
		Packets uint64 `json:"packets"`
		Bytes   uint64 `json:"bytes"`
	}
	chainJSON struct {
		Name     string         `json:"name"`
		Scope    string         `json:"scope"`
		Table    redirect.Table `json:"table"`
		Hook     redirect.Hook  `json:"hook,omitempty"`
		Priority int            `json:"priority"`
		Ours     bool           `json:"ours"`
		Drops    bool           `json:"drops,omitempty"`
		Rules    []ruleJSON     `json:"rules"`
	}
	ruleJSON struct {
		Match   string     `json:"match"`
		Then    string     `json:"then"`
		Why     string     `json:"why,omitempty"`
		Counter *countJSON `json:"counter,omitempty"`
	}
	socketJSON struct {
		Proto   string `json:"proto"`
		Address string `json:"address"`
		UID     uint32 `json:"uid"`
		Process string `json:"process,omitempty"`
		PID     int    `json:"pid,omitempty"`
	}
)

// NewDocument says reports for programs.
func NewDocument(reports []Report) Document {
	d := Document{Schema: Schema, Pods: []podJSON{}}
	for _, r := range reports {
		p := podJSON{Name: r.Name, Found: r.Found, Netns: r.Netns, Annotations: r.Wanted.Why, Addresses: texts(r.Seen.Own()), Uplink: r.Seen.Uplink,
			Nameservers: texts(r.Seen.Nameservers), Findings: []findingJSON{}, Ways: []wayJSON{}, Sockets: []socketJSON{},
			Chains: chainsJSON(r.Seen), Routing: r.Seen.Routing, Unread: r.Seen.Rules.Unread}
		for _, f := range r.Findings {
			p.Findings = append(p.Findings, findingJSON(f))
		}
		for _, w := range r.Ways {
			p.Ways = append(p.Ways, newWayJSON(w))
		}
		for _, s := range r.Seen.Sockets {
			p.Sockets = append(p.Sockets, socketJSON{s.Proto.String(), s.Addr.String(), s.UID, s.Process.Name, s.Process.PID})
		}
		d.Pods = append(d.Pods, p)
	}
	return d
}

func newWayJSON(w Way) wayJSON {
	j := wayJSON{Way: w.Name, Title: w.Title, Family: family(w.V6()), From: w.From, Meant: w.Meant, Ends: w.Ends,
		Outcome: string(w.Outcome.Verdict), Port: w.Outcome.Port, Why: w.Reason()}
	if w.Outcome.Verdict == redirect.DNATed {
		j.To = w.Outcome.To.String()
	}
	if w.Listener != nil {
		j.Listener = w.Listener.Owner()
	}
	if w.Decided != nil {
		j.Chain, j.Rule = w.Decided.Chain, w.Decided.Index+1
	}
	if w.Count.Counted {
		j.Counter = &countJSON{w.Count.Packets, w.Count.Bytes}
	}
	return j
}

func chainsJSON(p Pod) []chainJSON {
	all := []chainJSON{}
	for _, c := range p.Rules.Chains {
		chain := chainJSON{Name: c.Name, Scope: c.Live.Scope, Table: c.Table, Hook: c.Hook, Priority: c.Live.Priority, Ours: c.Ours(),
			Drops: c.Live.Drop, Rules: []ruleJSON{}}
		for i, r := range c.Rules {
			rule := ruleJSON{Match: words.Match(r.Match), Then: words.Target(r.Target), Why: r.Why}
			if n := c.Counts[i]; n.Counted {
				rule.Counter = &countJSON{n.Packets, n.Bytes}
			}
			chain.Rules = append(chain.Rules, rule)
		}
		all = append(all, chain)
	}
	return all
}

func texts[T interface{ String() string }](items []T) []string {
	all := []string{}
	for _, i := range items {
		all = append(all, i.String())
	}
	return all
}
