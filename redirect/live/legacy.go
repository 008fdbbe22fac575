package live

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect"
)

// layout is where things stand in an entry of a legacy table (struct ipt_entry and
// ip6t_entry: linux/netfilter_ipv4/ip_tables.h, linux/netfilter_ipv6/ip6_tables.h).
type layout struct {
	v6            bool
	names, family string
	domain, level int
	addr          int // bytes of an address
	ifaces        int // two names of 16 bytes, and their masks
	proto         int
	flags, invert int
	offsets       int // of the target and the next entry
	counters      int
	matches       int
}

var layouts = [...]layout{
	{names: "ip_tables_names", family: "ip", domain: unix.AF_INET, level: unix.SOL_IP, addr: 4, ifaces: 16, proto: 80, flags: 82, invert: 83, offsets: 88, counters: 96, matches: 112},
	{v6: true, names: "ip6_tables_names", family: "ip6", domain: unix.AF_INET6, level: unix.SOL_IPV6, addr: 16, ifaces: 64, proto: 128, flags: 131, invert: 132, offsets: 140, counters: 152, matches: 168},
}

// Questions to the legacy tables (IPT_SO_GET_INFO, IPT_SO_GET_ENTRIES; the same for IPv6).
const soGetInfo, soGetEntries = 64, 65

// readLegacy reads the legacy tables that the kernel has for this namespace; asking for
// any other would make it (ip_tables_names lists those that are there).
func readLegacy() (r Rules) {
	for _, l := range layouts {
		tables, err := os.ReadFile("/proc/thread-self/net/" + l.names)
		if err != nil {
			continue // a kernel without legacy tables has no such file
		}
		for _, name := range strings.Fields(string(tables)) {
			what := fmt.Sprintf("legacy %s %s", l.family, name)
			chains, err := l.table(name, what)
			if err != nil {
				r.Unread = append(r.Unread, fmt.Sprintf("%s: %v", what, err))
				chains = l.unreadable(what)
			}
			r.Chains = append(r.Chains, chains...)
		}
	}
	return r
}

var errShort = errors.New("an entry that ends too early")

// ask is getsockopt with the table's name in front of the answer's room.
func ask(fd, level, option int, b []byte) error {
	size := uint32(len(b))
	_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option), uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&size)), 0)
	if e != 0 {
		return e
	}
	return nil
}

func (l layout) table(name, scope string) ([]Chain, error) {
	fd, err := unix.Socket(l.domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	info := make([]byte, 84) // struct ipt_getinfo
	copy(info[:31], name)
	if err := ask(fd, l.level, soGetInfo, info); err != nil {
		return nil, err
	}
	size := u32(info, 80)
	entries := make([]byte, 40+size) // struct ipt_get_entries
	copy(entries[:31], name)
	*(*uint32)(unsafe.Pointer(&entries[32])) = size
	if err := ask(fd, l.level, soGetEntries, entries); err != nil {
		return nil, err // EAGAIN: it changed meanwhile
	}
	return l.chains(redirect.Table(name), scope, info, entries[40:])
}

// base gives the chain that begins at an offset, if it hangs on a hook, and where its policy is.
func (l layout) base(t redirect.Table, scope string, info []byte, at uint32) (c Chain, policy uint32, ok bool) {
	for i, hook := range hookNames {
		if u32(info, 32)&(1<<i) == 0 || u32(info, 36+4*i) != at {
			continue
		}
		priority := map[redirect.Table]int{redirect.Raw: -300, redirect.Mangle: -150, redirect.NAT: -100, "security": 50}[t]
		if t == redirect.NAT && (hook == redirect.Input || hook == redirect.Postrouting) {
			priority = 100
		}
		c = l.chain(string(hook), t, scope)
		c.Hook, c.Live.Priority = hook, priority
		return c, u32(info, 56+4*i), true
	}
	return c, 0, false
}

func (l layout) chain(name string, t redirect.Table, scope string) Chain {
	return Chain{Chain: redirect.Chain{Name: name, Table: t, Live: &redirect.Live{
		Scope: scope, Families: map[bool]redirect.Families{true: redirect.FamiliesIPv6, false: redirect.FamiliesIPv4}[l.v6],
	}}}
}

// chains takes a table apart. A jump names an offset; the chain there begins after an
// entry with the target ERROR, which has its name.
func (l layout) chains(t redirect.Table, scope string, info, b []byte) ([]Chain, error) {
	var all []Chain
	starts := map[uint32]string{}
	var jumps []*redirect.Rule
	policy := uint32(len(b))
	for at := uint32(0); int(at) < len(b); {
		if len(b) < int(at)+l.matches {
			return nil, errShort
		}
		e := b[at:]
		target, next := u16(e, l.offsets), u16(e, l.offsets+2)
		if int(next) < l.matches+32 || int(target)+32 > int(next) || int(next) > len(e) {
			return nil, errShort
		}
		e = e[:next]
		if c, end, ok := l.base(t, scope, info, at); ok {
			all, policy = append(all, c), end
		}
		name, data := text(head(e[target+2:])), e[target+32:]
		switch {
		case name == "ERROR":
			if chain := text(head(data)); chain != "ERROR" {
				all = append(all, l.chain(chain, t, scope))
				starts[at+uint32(next)] = chain
				policy = uint32(len(b))
			}
		case len(all) == 0:
			return nil, errShort
		case at == policy:
			all[len(all)-1].Live.Drop = len(data) >= 4 && int32(u32(data, 0)) == -1 // -NF_DROP-1
		case policy == uint32(len(b)) && lastOfChain(b, l, at, uint32(next)):
			// The return at the end that iptables gives each chain of its own.
		default:
			c := &all[len(all)-1]
			rule, err := l.rule(e, int(target), name)
			if err != nil {
				return nil, err
			}
			if to, ok := rule.Target.(offset); ok && to.at == at+uint32(next) {
				rule.Target = nil // a rule without -j goes on to the next
			}
			c.Rules = append(c.Rules, rule)
			c.Counts = append(c.Counts, Count{u64(e, l.counters), u64(e, l.counters+8), true})
		}
		at += uint32(next)
	}
	for i := range all {
		for j := range all[i].Rules {
			jumps = append(jumps, &all[i].Rules[j])
		}
	}
	for _, r := range jumps {
		if to, ok := r.Target.(offset); ok {
			r.Target = redirect.Jump{Chain: starts[to.at], Goto: to.goTo}
		}
	}
	return all, nil
}

// lastOfChain reports whether the next entry begins another chain, or ends the table.
func lastOfChain(b []byte, l layout, at, next uint32) bool {
	e := b[at+next:]
	if len(e) < l.matches {
		return true
	}
	target := int(u16(e, l.offsets))
	return len(e) >= target+32 && text(head(e[target+2:])) == "ERROR"
}

// head is the name at the start, up to its NUL.
func head(b []byte) []byte {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return b[:i]
	}
	return b
}

// offset is a jump to an offset that has no name yet.
type offset struct {
	redirect.OpaqueTarget
	at   uint32
	goTo bool
}
