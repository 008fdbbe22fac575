package netfilter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/internal/netlink"
)

// namespace is the pod's namespace by way of a route socket that was opened in it.
type namespace struct{ route requester }

// requester is what a netlink socket does for us.
type requester interface {
	Do(message []byte) error
	Ask(message []byte, answer func(netlink.Message) error) error
	Dump(request []byte, each func(netlink.Message) error) error
}

// rulePriority is the priority of tproxy's ip rule. It is explicit: without one
// the kernel picks the next free, and a second ADD would add a second rule.
// Anything between local (0) and main (32766) does.
const rulePriority = 133

// loIndex is lo's interface index, the first in every namespace
// (LOOPBACK_IFINDEX, include/net/flow.h).
const loIndex = 1

// loopbackUp brings lo up, where it is down. The kernel gives it 127.0.0.1 and ::1
// as it comes up, and takes only ::1 back as it goes down (inetdev_event).
func (n namespace) loopbackUp(done *undo) error {
	up, err := n.loIsUp()
	if err != nil || up {
		return err
	}
	had, err := n.has(localhostObject())
	if err != nil {
		return err
	}
	if !had {
		done.add(func() error { return n.delete(localhostObject()) })
	}
	if err := n.route.Do(linkMessage(unix.IFF_UP)); err != nil {
		return err
	}
	done.add(func() error { return n.route.Do(linkMessage(0)) })
	return nil
}

// skipStats is RTEXT_FILTER_SKIP_STATS (linux/rtnetlink.h).
const skipStats = 1 << 3

// loIsUp asks for lo by its index, and for no statistics: one short answer.
func (n namespace) loIsUp() (bool, error) {
	var header [unix.SizeofIfInfomsg]byte
	binary.NativeEndian.PutUint32(header[4:], loIndex)
	up := false
	err := n.route.Ask(message(unix.RTM_GETLINK, 0, header[:], func(b *netlink.Batch) {
		b.Native32(unix.IFLA_EXT_MASK, skipStats)
	}), func(m netlink.Message) error {
		if len(m.Data) >= len(header) {
			up = binary.NativeEndian.Uint32(m.Data[8:])&unix.IFF_UP != 0
		}
		return nil
	})
	return up, err
}

// localhostObject is the IPv4 address that lo gets by itself.
func localhostObject() object {
	header := []byte{unix.AF_INET, 8, 0, unix.RT_SCOPE_HOST, 0, 0, 0, 0}
	binary.NativeEndian.PutUint32(header[4:], loIndex)
	return object{"address 127.0.0.1 on lo", unix.RTM_NEWADDR, header, func(b *netlink.Batch) {
		b.Attr(unix.IFA_LOCAL, []byte{127, 0, 0, 1})
	}}
}

// linkMessage sets lo's IFF_UP flag to flags (rtnetlink(7), struct ifinfomsg).
func linkMessage(flags uint32) []byte {
	var header [unix.SizeofIfInfomsg]byte
	binary.NativeEndian.PutUint32(header[4:], loIndex)
	binary.NativeEndian.PutUint32(header[8:], flags)
	binary.NativeEndian.PutUint32(header[12:], unix.IFF_UP)
	return message(unix.RTM_NEWLINK, unix.NLM_F_ACK, header[:], func(*netlink.Batch) {})
}

// object is one of the extras: an address, an ip rule or a route. Its RTM_NEW…
// message makes it, the same with the next type, RTM_DEL…, removes it.
type object struct {
	name   string
	typ    uint16
	header []byte
	attrs  func(*netlink.Batch)
}

// objects gives the extras one by one, in the order in which they are made.
func objects(e redirect.Extras) []object {
	var all []object
	for _, a := range e.LoopbackAddrs {
		all = append(all, addrObject(a))
	}
	if e.MarkV4 {
		all = append(all, ruleObject(unix.AF_INET, e.LocalMark), routeObject(unix.AF_INET, e.LocalMark))
	}
	if e.MarkV6 {
		all = append(all, ruleObject(unix.AF_INET6, e.LocalMark), routeObject(unix.AF_INET6, e.LocalMark))
	}
	return all
}

// addrObject is an IPv6 address on lo (struct ifaddrmsg). No duplicate address
// detection: the address would be tentative for a second.
func addrObject(a netip.Addr) object {
	header := []byte{unix.AF_INET6, 128, unix.IFA_F_NODAD, unix.RT_SCOPE_UNIVERSE, 0, 0, 0, 0}
	binary.NativeEndian.PutUint32(header[4:], loIndex)
	return object{"address " + a.String() + " on lo", unix.RTM_NEWADDR, header, func(b *netlink.Batch) {
		b.Attr(unix.IFA_LOCAL, a.AsSlice())
		b.Attr(unix.IFA_ADDRESS, a.AsSlice())
	}}
}

// ruleObject is "ip rule add fwmark M lookup T priority 133" (struct fib_rule_hdr).
func ruleObject(family byte, m redirect.LocalMark) object {
	header := []byte{family, 0, 0, 0, unix.RT_TABLE_UNSPEC, 0, 0, unix.FR_ACT_TO_TBL, 0, 0, 0, 0}
	return object{fmt.Sprintf("ip%s rule fwmark %d lookup %d", familyName(family), m.Mark, m.Table), unix.RTM_NEWRULE, header, func(b *netlink.Batch) {
		b.Native32(unix.FRA_PRIORITY, rulePriority)
		b.Native32(unix.FRA_FWMARK, m.Mark)
		b.Native32(unix.FRA_FWMASK, 1<<32-1)
		b.Native32(unix.FRA_TABLE, m.Table)
	}}
}

// routeObject is "ip route add local default dev lo table T" (struct rtmsg).
func routeObject(family byte, m redirect.LocalMark) object {
	header := []byte{family, 0, 0, 0, unix.RT_TABLE_UNSPEC, unix.RTPROT_STATIC, unix.RT_SCOPE_HOST, unix.RTN_LOCAL, 0, 0, 0, 0}
	return object{fmt.Sprintf("ip%s local default route in table %d", familyName(family), m.Table), unix.RTM_NEWROUTE, header, func(b *netlink.Batch) {
		b.Native32(unix.RTA_OIF, loIndex)
		b.Native32(unix.RTA_TABLE, m.Table)
	}}
}

func familyName(family byte) string {
	if family == unix.AF_INET6 {
		return " -6"
	}
	return ""
}

// create makes the object; made is false when it was there already. A route is
// EEXIST to the kernel also when the one in its place leads elsewhere.
func (n namespace) create(o object) (made bool, err error) {
	err = n.route.Do(message(o.typ, unix.NLM_F_ACK|unix.NLM_F_CREATE|unix.NLM_F_EXCL, o.header, o.attrs))
	if !errors.Is(err, unix.EEXIST) || o.typ == unix.RTM_NEWADDR {
		return err == nil, ignore(err, unix.EEXIST)
	}
	same, err := n.has(o)
	if err == nil && !same {
		err = errors.New("another is in its place")
	}
	return false, err
}

// ignore gives nil for an error that is one of these.
func ignore(err error, these ...error) error {
	for _, e := range these {
		if errors.Is(err, e) {
			return nil
		}
	}
	return err
}

// delete takes the object away, where it still is.
func (n namespace) delete(o object) error {
	err := n.route.Do(message(o.typ+1, unix.NLM_F_ACK, o.header, o.attrs))
	return ignore(err, unix.ENOENT, unix.ESRCH, unix.EADDRNOTAVAIL)
}

// addExtras adds what is not there yet. What was there before is not taken back.
func (n namespace) addExtras(e redirect.Extras, have addrs6, done *undo) error {
	for _, o := range objects(e) {
		if o.typ == unix.RTM_NEWADDR && have.onLo(e.LoopbackAddrs[0]) {
			continue // the usual second ADD: nothing to ask
		}
		made, err := n.create(o)
		if err != nil {
			return fmt.Errorf("add %s: %w", o.name, err)
		}
		if made {
			done.add(func() error { return n.delete(o) })
		}
	}
	return nil
}

// removeStale takes away what an earlier ADD made and this one does not want.
func (n namespace) removeStale(was, now redirect.Extras) (warnings []string) {
	keep := map[string]bool{}
	for _, o := range objects(now) {
		keep[o.name] = true
	}
	for _, o := range objects(was) {
		if keep[o.name] {
			continue
		}
		if err := n.delete(o); err != nil {
			warnings = append(warnings, fmt.Sprintf("%s stays: %v", o.name, err))
		}
	}
	return warnings
}

// verifyExtras gives the first object that is missing, as a *redirect.Drift. lo comes
// before its addresses, which the kernel takes away as it goes down.
func (n namespace) verifyExtras(e redirect.Extras) error {
	up, err := n.loIsUp()
	if err != nil {
		return fmt.Errorf("lo: %w", err)
	}
	if !up {
		return &redirect.Drift{What: "lo is down"}
	}
	addrs, err := readAddrs()
	if err != nil {
		return err
	}
	for _, a := range e.LoopbackAddrs {
		if !addrs.onLo(a) {
			return &redirect.Drift{What: addrObject(a).name + " is missing"}
		}
	}
	for _, o := range objects(e) {
		if o.typ == unix.RTM_NEWADDR {
			continue
		}
		found, err := n.has(o)
		if err != nil {
			return fmt.Errorf("list %s: %w", o.name, err)
		}
		if !found {
			return &redirect.Drift{What: o.name + " is missing"}
		}
	}
	return nil
}

// has dumps the addresses, rules or routes of the object's family and looks for one that has
// all of its attributes, and its header's fields that say what it does.
func (n namespace) has(o object) (bool, error) {
	var b netlink.Batch
	o.attrs(&b)
	want := b.Bytes()
	header := make([]byte, len(o.header))
	header[0] = o.header[0]                                                         // the family
	request := message(o.typ+2, unix.NLM_F_DUMP, header, func(b *netlink.Batch) {}) // RTM_GET… is two after RTM_NEW…
	found := false
	err := n.route.Dump(request, func(m netlink.Message) error {
		if len(m.Data) < len(o.header) || m.Data[0] != o.header[0] || m.Data[1] != o.header[1] || m.Data[7] != o.header[7] {
			return nil
		}
		if narrowed, err := narrowed(o.typ, m.Data); narrowed || err != nil {
			return err
		}
		same, err := holdsAttrs(m.Data[len(o.header):], want)
		found = found || same
		return err
	})
	return found, err
}

// narrows are the attributes by which a rule is not for all packets with its mark, nor for
// all routes of its table: one bit each. The kernel leaves out those that say nothing, and
// the last ones are newer than package unix (dscp, flowlabel, masks; linux/fib_rules.h).
const narrows = 1<<unix.FRA_DST | 1<<unix.FRA_SRC | 1<<unix.FRA_IIFNAME | 1<<unix.FRA_OIFNAME | 1<<unix.FRA_FLOW | 1<<unix.FRA_TUN_ID |
	1<<unix.FRA_SUPPRESS_IFGROUP | 1<<unix.FRA_L3MDEV | 1<<unix.FRA_UID_RANGE | 1<<unix.FRA_IP_PROTO |
	1<<unix.FRA_SPORT_RANGE | 1<<unix.FRA_DPORT_RANGE | 1<<25 | 1<<26 | 1<<27 | 1<<28 | 1<<29

// narrowed reports whether a rule or a route as it was read holds for some packets only:
// those from a prefix, of a tos, without the mark, on an interface.
func narrowed(typ uint16, data []byte) (bool, error) {
	if typ == unix.RTM_NEWADDR {
		return false, nil
	}
	if data[2] != 0 || data[3] != 0 || typ == unix.RTM_NEWRULE && binary.NativeEndian.Uint32(data[8:])&unix.FIB_RULE_INVERT != 0 {
		return true, nil
	}
	if typ == unix.RTM_NEWROUTE {
		return false, nil
	}
	for a, err := range netlink.Attrs(data[unix.SizeofRtMsg:]) { // struct fib_rule_hdr is as long
		if err != nil {
			return false, err
		}
		all := a.Type != unix.FRA_SUPPRESS_PREFIXLEN || len(a.Value) == 4 && binary.NativeEndian.Uint32(a.Value) == 1<<32-1
		if !all || a.Type < 64 && uint64(narrows)>>a.Type&1 != 0 {
			return true, nil
		}
	}
	return false, nil
}

// holdsAttrs reports whether every attribute of want stands in got as well.
func holdsAttrs(got, want []byte) (bool, error) {
	values := map[uint16]string{}
	for a, err := range netlink.Attrs(got) {
		if err != nil {
			return false, err
		}
		values[a.Type] = string(a.Value)
	}
	for a, err := range netlink.Attrs(want) {
		if err != nil {
			return false, err
		}
		if v, ok := values[a.Type]; !ok || v != string(a.Value) {
			return false, nil
		}
	}
	return true, nil
}

// message gives one rtnetlink message.
func message(typ, flags uint16, header []byte, attrs func(*netlink.Batch)) []byte {
	var b netlink.Batch
	b.Message(typ, flags, 1, header)
	attrs(&b)
	return b.Bytes()
}
