package main

import (
	"net/netip"

	"github.com/detour-cni/detour/demo/proxy"
)

// watch calls an address from a namespace, and gives what the pod's proxy saw meanwhile.
func (p *pod) watch(netns string, uid uint32, to string) (call, []proxy.Seen, error) {
	got, err := callFrom(netns, uid, to)
	if err != nil {
		return got, nil, err
	}
	seen, err := p.proxy.seen()
	return got, seen, err
}

// told prints one call: who called, what the proxy saw, who answered.
func (s *screen) told(who, what string, seen []proxy.Seen, got call) {
	s.saw(who, "%s, from port %d", what, port(got.Local))
	s.took("proxy", seen)
	s.answered(who, got)
}

func (s *screen) took(who string, seen []proxy.Seen) {
	for _, e := range seen {
		s.saw(who, "%s: a call from %s, meant for %s", e.Side, e.Client, e.Original)
	}
	if len(seen) == 0 {
		s.saw(who, "saw nothing")
	}
}

func (s *screen) answered(who string, got call) {
	if got.Err != "" {
		s.saw(who, "got no answer: %s", got.Err)
		return
	}
	s.saw(got.Name, "answered a call from %s", got.Caller)
}

// one reports whether the proxy saw exactly this connection.
func one(seen []proxy.Seen, side proxy.Side, client, original string) bool {
	return len(seen) == 1 && seen[0].Side == side && seen[0].Err == "" &&
		seen[0].Original.String() == original && (client == "" || seen[0].Client.String() == client)
}

func port(addr string) uint16 {
	a, err := netip.ParseAddrPort(addr)
	if err != nil {
		return 0 // nobody answered: there is no address
	}
	return a.Port()
}

func name(family string) string { return map[string]string{"v4": "IPv4", "v6": "IPv6"}[family] }

// remove takes a pod off its network, and looks what is left in it.
func (s *screen) remove(p *pod) error {
	deleted, err := cnitool("del", p)
	if err != nil {
		return err
	}
	left, err := nft(p.netns, "list", "ruleset")
	if err != nil {
		return err
	}
	s.check(deleted.err == "" && left == "", "DEL succeeds, and no rule is left in "+p.name, deleted.err, left)
	return nil
}
