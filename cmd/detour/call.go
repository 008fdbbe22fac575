package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/detour-cni/detour/inspect"
	"github.com/detour-cni/detour/inspect/words"
	"github.com/detour-cni/detour/redirect"
)

// call is a packet as a person says it.
type call struct {
	from, to, src, proto, in string
	podIPs                   []string
}

func (c *call) register(flags *pflag.FlagSet) {
	flags.StringVar(&c.from, "from", "", "who sends: app, proxy, wire, or UID[:GID]")
	flags.StringVar(&c.to, "to", "", "where to: ADDRESS:PORT, or :PORT for the pod's own address")
	flags.StringVar(&c.src, "src", "", "from which address, or ADDRESS:PORT (default: the pod's, or a stranger's)")
	flags.StringVar(&c.proto, "proto", "tcp", "tcp, udp or icmp")
	flags.StringVar(&c.in, "in", "eth0", "the interface that leads out, or that the packet comes in by")
	flags.StringSliceVar(&c.podIPs, "pod-ip", []string{"192.0.2.2", "2001:db8::2"}, "the pod's addresses")
}

// place is what a packet is asked about in: a pod to be, or one that lives.
type place struct {
	own    []netip.Addr // the pod's addresses
	uplink string       // the interface that leads out
	app    inspect.Owner
	proxy  *inspect.Owner // nil where nobody knows it
	// has reports whether an interface of the pod has the address.
	has func(netip.Addr) bool
}

// packet parses the call for a pod with this redirect.
func (c call) packet(s redirect.Spec) (redirect.Packet, error) {
	own, err := c.own()
	if err != nil {
		return redirect.Packet{}, err
	}
	return c.at(place{own: own, uplink: c.in, app: inspect.Owner{UID: inspect.AppID, GID: inspect.AppID}, proxy: proxyOf(s),
		// Passthrough sources are the pod's: the loopback network, and what ADD gives lo.
		has: func(a netip.Addr) bool {
			return slices.Contains(own, a) || a.IsLoopback() || slices.Contains(s.PassthroughSource, a)
		}})
}

// live parses the call for a pod that is there.
func (c call) live(seen inspect.Pod) (p redirect.Packet, err error) {
	at := place{own: seen.Own(), uplink: seen.Uplink, app: seen.App(), has: seen.Has}
	if proxy, ok := seen.Proxy(); ok {
		at.proxy = &proxy
	}
	if len(at.own) == 0 {
		return p, errors.New("the namespace has no address of its own")
	}
	if c.in != "" {
		at.uplink = c.in
	}
	p, err = c.at(at)
	p.NoListener, p.Own = !seen.Transparent(p), seen.EveryAddr()
	return p, err
}

// proxyOf is the owner that a redirect knows the proxy by.
func proxyOf(s redirect.Spec) *inspect.Owner {
	if len(s.ProxyUIDs)+len(s.ProxyGIDs) == 0 {
		return nil
	}
	proxy := inspect.Owner{UID: inspect.AppID, GID: inspect.AppID}
	if len(s.ProxyUIDs) > 0 {
		proxy.UID = s.ProxyUIDs[0].First
	}
	if len(s.ProxyGIDs) > 0 {
		proxy.GID = s.ProxyGIDs[0].First
	}
	return &proxy
}

// at parses the call for a place.
func (c call) at(pod place) (p redirect.Packet, err error) {
	if c.from == "" || c.to == "" {
		return p, errors.New("of which packet? want --from WHO and --to ADDRESS:PORT")
	}
	if p.Proto, err = protocol(c.proto); err != nil {
		return p, err
	}
	own := pod.own
	p.Own = own
	if p.Dst, err = c.destination(own); err != nil {
		return p, err
	}
	inside := slices.Contains(own, p.Dst.Addr()) || p.Dst.Addr().IsLoopback()
	v6 := p.Dst.Addr().Is6()
	if c.from == "wire" {
		if p.Dst.Addr().IsLoopback() {
			return p, fmt.Errorf("--to: %s: nothing comes in by the wire for it", p.Dst.Addr())
		}
		p.Hook, p.In = redirect.Prerouting, pod.uplink
		err := c.source(&p, inspect.Stranger(v6))
		p.ForeignSrc = !pod.has(p.Src.Addr())
		return p, err
	}
	p.Hook, p.Out = redirect.Output, pod.uplink
	if inside {
		p.Out = "lo"
	}
	if p.UID, p.GID, err = c.owner(pod); err != nil {
		return p, err
	}
	usual := p.Dst.Addr()
	if !inside {
		i := slices.IndexFunc(own, func(a netip.Addr) bool { return a.Is6() == v6 })
		if i < 0 {
			return p, fmt.Errorf("--to: %s: the pod has no address of this family (it has %s)", p.Dst.Addr(), words.List(own))
		}
		usual = own[i]
	}
	if err := c.source(&p, usual); err != nil {
		return p, err
	}
	p.ForeignSrc = !pod.has(p.Src.Addr())
	return p, nil
}

func protocol(name string) (redirect.Proto, error) {
	for _, p := range []redirect.Proto{redirect.TCPProto, redirect.UDPProto, redirect.ICMPProto} {
		if p.String() == name {
			return p, nil
		}
	}
	return 0, fmt.Errorf("--proto: %q (want tcp, udp or icmp)", name)
}

func (c call) own() ([]netip.Addr, error) {
	var all []netip.Addr
	for _, text := range c.podIPs {
		a, err := redirect.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("--pod-ip: %w", err)
		}
		all = append(all, a)
	}
	if len(all) == 0 {
		return nil, errors.New("--pod-ip: want an address")
	}
	return all, nil
}

func (c call) destination(own []netip.Addr) (netip.AddrPort, error) {
	if port, ok := strings.CutPrefix(c.to, ":"); ok {
		n, err := redirect.ParsePort(port)
		if err != nil {
			return netip.AddrPort{}, fmt.Errorf("--to: %w", err)
		}
		return netip.AddrPortFrom(own[0], n), nil
	}
	if c.proto == redirect.ICMPProto.String() {
		a, err := redirect.ParseAddr(c.to)
		if err != nil {
			return netip.AddrPort{}, fmt.Errorf("--to: %w", err)
		}
		return netip.AddrPortFrom(a, 0), nil
	}
	to, err := netip.ParseAddrPort(c.to)
	if err != nil {
		return to, fmt.Errorf("--to: %q (want ADDRESS:PORT, an IPv6 address in brackets, or :PORT)", c.to)
	}
	return to, nil
}

// source sets the packet's source: the one asked for, or the usual.
func (c call) source(p *redirect.Packet, usual netip.Addr) error {
	p.Src = netip.AddrPortFrom(usual, 0)
	if c.src == "" {
		return nil
	}
	if a, err := redirect.ParseAddr(c.src); err == nil {
		p.Src = netip.AddrPortFrom(a, 0)
	} else if p.Src, err = netip.ParseAddrPort(c.src); err != nil {
		return fmt.Errorf("--src: %q (want ADDRESS or ADDRESS:PORT)", c.src)
	}
	if p.Src.Addr().Is6() != p.Dst.Addr().Is6() {
		return fmt.Errorf("--src: %s and --to %s: want addresses of one family", p.Src.Addr(), p.Dst.Addr())
	}
	return nil
}

// owner gives the ids of the socket that sends.
func (c call) owner(pod place) (uid, gid uint32, err error) {
	switch c.from {
	case "app":
		return pod.app.UID, pod.app.GID, nil
	case "proxy":
		if pod.proxy == nil {
			return 0, 0, errors.New("--from: proxy: this redirect knows no proxy (want UID[:GID])")
		}
		return pod.proxy.UID, pod.proxy.GID, nil
	}
	first, second, two := strings.Cut(c.from, ":")
	if uid, err = redirect.ParseID(first); err != nil {
		return 0, 0, fmt.Errorf("--from: %q (want app, proxy, wire, or UID[:GID])", c.from)
	}
	if !two {
		return uid, uid, nil
	}
	if gid, err = redirect.ParseID(second); err != nil {
		return 0, 0, fmt.Errorf("--from: %w", err)
	}
	return uid, gid, nil
}
