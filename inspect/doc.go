// Package inspect reads what a live pod's network namespace does with packets, and shows it.
//
//	processes -\
//	namespace --Look--> Pod --Ways--> where sample packets end --NewReport--> Report
//	                                                                             |
//	                                          table, wide, JSON, SVG, HTML <-----+
//
// The rules may be anybody's: package live reads them, redirect.Trace walks them. Look is the
// only part that touches the system, and it only reads.
package inspect

import (
	"net/netip"
	"slices"

	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/live"
)

// Pod is what is in a network namespace.
type Pod struct {
	Rules   live.Rules
	Sockets []Socket
	Ifaces  []Iface
	// Uplink is the interface of the default route; "" without one.
	Uplink string
	// Routing are the ip rules besides the kernel's three, and the routes they lead to.
	Routing []string
	// Nameservers are those of a process in the namespace; none where no process is seen.
	Nameservers []netip.Addr
}

// Iface is an interface with its addresses.
type Iface struct {
	Name  string
	Addrs []netip.Addr
}

// Socket is one that takes connections or datagrams.
type Socket struct {
	Proto redirect.Proto
	Addr  netip.AddrPort
	// UID owns it, as this process' user namespace counts (proc_pid_net(5)).
	UID uint32
	// Process has it open; the zero Process where nobody may look.
	Process Process
	inode   uint64
}

// Process is somebody in the namespace.
type Process struct {
	PID  int
	Name string
	GID  uint32
}

// addrs are the pod's own, by family, without those of lo and link-local ones.
func (p Pod) addrs(v6 bool) (own []netip.Addr) {
	for _, i := range p.Ifaces {
		for _, a := range i.Addrs {
			if i.Name != "lo" && !a.IsLinkLocalUnicast() && a.Is6() == v6 {
				own = append(own, a)
			}
		}
	}
	return own
}

// Own are the pod's addresses that others reach it by.
func (p Pod) Own() []netip.Addr { return slices.Concat(p.addrs(false), p.addrs(true)) }

// Has reports whether an interface of the pod, lo among them, has the address.
func (p Pod) Has(a netip.Addr) bool {
	return a.IsLoopback() && a.Is4() || slices.Contains(p.EveryAddr(), a)
}

// EveryAddr are those of all interfaces, lo's and the links' own among them.
func (p Pod) EveryAddr() (all []netip.Addr) {
	for _, i := range p.Ifaces {
		all = append(all, i.Addrs...)
	}
	return all
}

// Listener is the socket that takes what is sent to the address. One on [::] takes IPv4 as
// well, unless another on 0.0.0.0 does (ipv6(7), IPV6_V6ONLY is not to be seen from outside).
func (p Pod) Listener(proto redirect.Proto, at netip.AddrPort) (Socket, bool) {
	var found Socket
	best := 0
	for _, s := range p.Sockets {
		if s.Proto != proto || s.Addr.Port() != at.Port() {
			continue
		}
		fits := 0
		switch a := s.Addr.Addr(); {
		case a == at.Addr():
			fits = 3
		case a.IsUnspecified() && a.Is6() == at.Addr().Is6():
			fits = 2
		case a == netip.IPv6Unspecified():
			fits = 1
		}
		if fits > best {
			found, best = s, fits
		}
	}
	return found, best > 0
}

// Ports are those that redirecting rules name.
func (p Pod) Ports() (ports []uint16) {
	for _, c := range p.Rules.Chains {
		for _, r := range c.Rules {
			switch t := r.Target.(type) {
			case redirect.RedirectTo:
				ports = append(ports, t.Port)
			case redirect.TProxyTo:
				ports = append(ports, t.Port)
			}
		}
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}

// Owner is who a socket's packets are from.
type Owner struct{ UID, GID uint32 }

// Proxy is who the proxy seems to be: the owner of a socket on one of the redirect's ports,
// else the first owner that the rules name.
func (p Pod) Proxy() (Owner, bool) {
	ports := p.Ports()
	for _, s := range p.Sockets {
		if slices.Contains(ports, s.Addr.Port()) {
			gid := s.UID
			if s.Process.PID != 0 {
				gid = s.Process.GID
			}
			return Owner{s.UID, gid}, true
		}
	}
	if len(ports) == 0 {
		return Owner{}, false
	}
	for _, c := range p.Rules.Chains {
		for _, r := range c.Rules {
			for _, cond := range r.Match {
				switch cond := cond.(type) {
				case redirect.UID:
					return Owner{cond.IDs[0].First, cond.IDs[0].First}, true
				case redirect.GID:
					return Owner{AppID, cond.IDs[0].First}, true
				}
			}
		}
	}
	return Owner{}, false
}

// AppID is what "app" is in explain and inspect: a user and group that no rule means.
const AppID = 1000

// App is any user but the proxy.
func (p Pod) App() Owner {
	app := Owner{AppID, AppID}
	if proxy, ok := p.Proxy(); ok && (proxy.UID == AppID || proxy.GID == AppID) {
		app = Owner{AppID + 1, AppID + 1}
	}
	return app
}
