package inspect

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"

	"github.com/vishvananda/netlink"

	"github.com/detour-cni/detour/redirect/live"
	"github.com/detour-cni/detour/redirect/netfilter"
)

// Look reads the namespace at path, which must not be the host's own.
func Look(path string, all *Processes) (p Pod, err error) {
	err = netfilter.Look(path, func() error {
		if p.Rules, err = live.Read(); err != nil {
			return err
		}
		if p.Ifaces, err = ifaces(); err != nil {
			return err
		}
		if err := p.routing(); err != nil {
			return err
		}
		p.Sockets, err = sockets()
		return err
	})
	if err != nil {
		return p, fmt.Errorf("look into %s: %w", path, err)
	}
	inside := all.inside(path)
	name(p.Sockets, inside)
	p.Nameservers = nameservers(inside)
	return p, nil
}

// A Glance is one of LookAll's.
type Glance struct {
	Pod Pod
	Err error
}

// LookAll looks into the namespaces at paths, several at once: most of a look is the kernel
// walking its table of sockets, a few milliseconds for each namespace.
func LookAll(paths []string) []Glance {
	processes := ReadProcesses()
	all := make([]Glance, len(paths))
	next := make(chan int)
	var wait sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(paths)) {
		wait.Go(func() {
			for i := range next {
				all[i].Pod, all[i].Err = Look(paths[i], processes)
			}
		})
	}
	for i := range paths {
		next <- i
	}
	close(next)
	wait.Wait()
	return all
}

func ifaces() (all []Iface, err error) {
	links, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	for _, l := range links {
		i := Iface{Name: l.Name}
		addrs, err := l.Addrs()
		if err != nil {
			return nil, err
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok {
				if a, ok := netip.AddrFromSlice(n.IP); ok {
					i.Addrs = append(i.Addrs, a.Unmap())
				}
			}
		}
		all = append(all, i)
	}
	return all, nil
}

// routing reads the default route, and what is not as the kernel starts a namespace.
func (p *Pod) routing() error {
	links, err := netlink.LinkList()
	if err != nil {
		return err
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		if err := p.routes(family, names); err != nil {
			return err
		}
	}
	return nil
}

func (p *Pod) routes(family int, names map[int]string) error {
	routes, err := netlink.RouteList(nil, family)
	if err != nil {
		return err
	}
	for _, r := range routes {
		if (r.Dst == nil || r.Dst.IP.IsUnspecified()) && p.Uplink == "" {
			p.Uplink = names[r.LinkIndex]
		}
	}
	rules, err := netlink.RuleList(family)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	ip := map[int]string{netlink.FAMILY_V4: "ip", netlink.FAMILY_V6: "ip -6"}[family]
	for _, r := range rules {
		if r.Table >= 253 { // default, main and local are the kernel's own (ip-rule(8))
			continue
		}
		line := fmt.Sprintf("%s rule %d: ", ip, r.Priority)
		if r.Mark != 0 {
			line += fmt.Sprintf("fwmark %d ", r.Mark)
		}
		p.Routing = append(p.Routing, fmt.Sprintf("%slookup %d", line, r.Table))
		table, err := netlink.RouteListFiltered(family, &netlink.Route{Table: r.Table}, netlink.RT_FILTER_TABLE)
		if err != nil {
			return err
		}
		for _, t := range table {
			to := "default"
			if t.Dst != nil && !t.Dst.IP.IsUnspecified() {
				to = t.Dst.String()
			}
			kind := map[int]string{1: "", 2: "local "}[t.Type] // RTN_UNICAST, RTN_LOCAL
			p.Routing = append(p.Routing, fmt.Sprintf("%s route table %d: %s%s dev %s", ip, r.Table, kind, to, names[t.LinkIndex]))
		}
	}
	return nil
}
