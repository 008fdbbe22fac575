package live

import (
	"math"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/internal/netlink"
)

// blind is a chain in place of rules that are not read: whatever meets it, nobody can say
// where it ends.
func blind(name, scope, what string, hook redirect.Hook, m redirect.Match) Chain {
	return Chain{
		Chain: redirect.Chain{Name: name, Table: redirect.Raw, Hook: hook,
			Rules: []redirect.Rule{{Match: m, Target: redirect.OpaqueTarget{Text: what}}},
			Live:  &redirect.Live{Scope: scope, Families: redirect.FamiliesAuto, Priority: math.MinInt32}},
		Counts: []Count{{}},
	}
}

// unreadable stands for a legacy table that the kernel did not give.
func (l layout) unreadable(scope string) (all []Chain) {
	for _, hook := range []redirect.Hook{redirect.Prerouting, redirect.Output} {
		c := blind(string(hook), scope, "a table that could not be read", hook, nil)
		c.Live.Families = map[bool]redirect.Families{true: redirect.FamiliesIPv6, false: redirect.FamiliesIPv4}[l.v6]
		all = append(all, c)
	}
	return all
}

// ofDevice puts a blind chain where one hangs on a device instead of on IP: what comes in by the device
// meets it before all others (ingress), what leaves by it after them (egress). One without a rule and a
// policy does nothing.
func (d *dump) ofDevice(a map[uint16][]byte, scope string) error {
	if a[unix.NFTA_CHAIN_HOOK] == nil || num(a[unix.NFTA_CHAIN_USE]) == 0 && num(a[unix.NFTA_CHAIN_POLICY]) == 1 || d.dormant[scope] {
		return nil
	}
	h, err := attributes(a[unix.NFTA_CHAIN_HOOK])
	if err != nil {
		return err
	}
	devices := []string{text(h[unix.NFTA_HOOK_DEV])}
	// 4 is NFTA_HOOK_DEVS.
	for dev, err := range netlink.Attrs(h[4]) {
		if err != nil {
			return err
		}
		devices = append(devices, text(dev.Value))
	}
	for _, dev := range devices {
		if dev == "" {
			continue
		}
		hook, cond := redirect.Prerouting, redirect.Cond(redirect.InIface{Iface: redirect.Iface(dev)})
		if num(h[unix.NFTA_HOOK_HOOKNUM]) == unix.NF_NETDEV_EGRESS {
			hook, cond = redirect.Postrouting, redirect.OutIface{Iface: redirect.Iface(dev)}
		}
		c := blind(text(a[unix.NFTA_CHAIN_NAME]), scope, "rules of the device's own, which are not read", hook, redirect.Match{cond})
		if hook == redirect.Postrouting {
			c.Live.Priority = math.MaxInt32
		}
		d.chains = append(d.chains, &c)
	}
	return nil
}
