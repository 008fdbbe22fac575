package main

import (
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/detour-cni/detour/inspect"
	"github.com/detour-cni/detour/inspect/words"
	"github.com/detour-cni/detour/redirect"
)

// A change is what becomes of the same packet under two redirects.
type change struct {
	who, proto, to string
	ports          []redirect.PortRange
	before, after  string
}

// diff asks both redirects about every packet that a rule of one of them could single out: an
// edge of each range of ports and ids, an address of each prefix, and those that none means.
func (c call) diff(before, after decided) ([]change, error) {
	rules, err := before.rules()
	if err != nil {
		return nil, err
	}
	others, err := after.rules()
	if err != nil {
		return nil, err
	}
	own, err := c.own()
	if err != nil {
		return nil, err
	}
	m := newMeant(own, append(slices.Clone(rules.Chains), others.Chains...))
	var all []change
	for _, p := range m.packets(c.in) {
		x, y := redirect.Trace(rules, p.Packet), redirect.Trace(others, p.Packet)
		if x.Verdict == y.Verdict && x.Port == y.Port && x.To == y.To {
			continue
		}
		add(&all, change{p.who, strings.ToUpper(p.Proto.String()), p.Dst.Addr().String(), []redirect.PortRange{{First: p.Dst.Port(), Last: p.Dst.Port()}}, ends(x), ends(y)})
	}
	return all, nil
}

// add puts ports that change alike on one line.
func add(all *[]change, c change) {
	for i, old := range *all {
		if old.who == c.who && old.proto == c.proto && old.to == c.to && old.before == c.before && old.after == c.after {
			(*all)[i].ports = append(old.ports, c.ports...)
			return
		}
	}
	*all = append(*all, c)
}

func ends(o redirect.Outcome) string {
	switch o.Verdict {
	case redirect.Redirected, redirect.TProxied:
		return fmt.Sprintf("%s :%d", o.Verdict, o.Port)
	case redirect.DNATed:
		return fmt.Sprintf("%s %s", o.Verdict, o.To)
	}
	return string(o.Verdict)
}

// meant is what rules tell apart.
type meant struct {
	own, addrs, sources []netip.Addr
	ports               []uint16
	users, groups       []uint32
}

func newMeant(own []netip.Addr, chains []redirect.Chain) meant {
	strangers := []netip.Addr{inspect.Stranger(false), inspect.Stranger(true)}
	m := meant{own: own, addrs: slices.Concat(strangers, own, []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}),
		sources: slices.Concat(strangers, own), ports: []uint16{53, 80, 8080}}
	for _, c := range chains {
		for _, r := range c.Rules {
			for _, cond := range r.Match {
				m.mean(cond)
			}
		}
	}
	for _, a := range []*[]netip.Addr{&m.addrs, &m.sources} {
		slices.SortStableFunc(*a, func(x, y netip.Addr) int { return cmp.Compare(x.BitLen(), y.BitLen()) })
		*a = unique(*a)
	}
	slices.Sort(m.ports)
	m.ports = slices.Compact(m.ports)
	m.users, m.groups = unique(m.users), unique(m.groups)
	return m
}

func (m *meant) mean(c redirect.Cond) {
	switch c := c.(type) {
	case redirect.Not:
		m.mean(c.Cond)
	case redirect.DstPort:
		for _, r := range c.Ports {
			m.ports = append(m.ports, r.First)
		}
	case redirect.Dst:
		for _, p := range c.Prefixes {
			if p.Bits() > 0 {
				m.addrs = append(m.addrs, p.Addr())
			}
		}
	case redirect.Src:
		for _, p := range c.Prefixes {
			if p.Bits() > 0 {
				m.sources = append(m.sources, p.Addr())
			}
		}
	case redirect.UID:
		for _, r := range c.IDs {
			m.users = append(m.users, r.First)
		}
	case redirect.GID:
		for _, r := range c.IDs {
			m.groups = append(m.groups, r.First)
		}
	}
}

func unique[T comparable](all []T) (once []T) {
	for _, a := range all {
		if !slices.Contains(once, a) {
			once = append(once, a)
		}
	}
	return once
}

// spoken is a packet, and who sends it, in words.
type spoken struct {
	redirect.Packet
	who string
}

func (m meant) packets(uplink string) (all []spoken) {
	for _, port := range m.ports {
		for _, proto := range []redirect.Proto{redirect.TCPProto, redirect.UDPProto} {
			for _, dst := range m.addrs {
				to := netip.AddrPortFrom(dst, port)
				all = append(all, m.arriving(to, proto, uplink)...)
				all = append(all, m.leaving(to, proto, uplink)...)
			}
		}
	}
	return all
}

// leaving are the pod's own, of each user and group that a rule means, and of the app.
func (m meant) leaving(to netip.AddrPort, proto redirect.Proto, uplink string) (all []spoken) {
	p := redirect.Packet{Hook: redirect.Output, Out: uplink, Proto: proto, Src: netip.AddrPortFrom(to.Addr(), 40000), Dst: to, Own: m.own, UID: inspect.AppID, GID: inspect.AppID}
	if slices.Contains(m.own, to.Addr()) || to.Addr().IsLoopback() {
		p.Out = "lo"
	} else if i := slices.IndexFunc(m.own, func(a netip.Addr) bool { return a.Is6() == to.Addr().Is6() }); i >= 0 {
		p.Src = netip.AddrPortFrom(m.own[i], 40000)
	} else {
		return nil // the pod has no address of this family
	}
	all = append(all, spoken{p, "app"})
	for _, id := range m.users {
		p := p
		p.UID = id
		all = append(all, spoken{p, fmt.Sprintf("user %d", id)})
	}
	for _, id := range m.groups {
		p := p
		p.GID = id
		all = append(all, spoken{p, fmt.Sprintf("group %d", id)})
	}
	return all
}

// arriving are those from outside, from each source that a rule means.
func (m meant) arriving(to netip.AddrPort, proto redirect.Proto, uplink string) (all []spoken) {
	if !slices.Contains(m.own, to.Addr()) {
		return nil
	}
	for _, src := range m.sources {
		if src.Is6() != to.Addr().Is6() || slices.Contains(m.own, src) || src.IsLoopback() {
			continue
		}
		who := "wire"
		if src != inspect.Stranger(src.Is6()) {
			who = "wire, from " + src.String()
		}
		all = append(all, spoken{redirect.Packet{Hook: redirect.Prerouting, In: uplink, Proto: proto, Src: netip.AddrPortFrom(src, 40000), Dst: to, ForeignSrc: true}, who})
	}
	return all
}

// printChanges shows them as a table. Changes are findings.
func printChanges(w io.Writer, all []change) error {
	if len(all) == 0 {
		_, err := io.WriteString(w, "no packet changes its way\n")
		return err
	}
	slices.SortStableFunc(all, func(a, b change) int { return cmp.Compare(a.who, b.who) })
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	words.Fprintf(t, "WHO\tPROTO\tTO\tPORTS\tBEFORE\tAFTER\n")
	for _, c := range all {
		words.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", c.who, c.proto, c.to, words.List(c.ports), c.before, c.after)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return exit{code: exitFindings}
}
