package netfilter

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/internal/netlink"
	"github.com/detour-cni/detour/redirect/nftables"
)

// undo is how to take back what was changed so far.
type undo []func() error

func (u *undo) add(f func() error) { *u = append(*u, f) }

// run takes the changes back, the last one first, as far as it gets.
func (u undo) run() error {
	var errs []error
	for _, f := range slices.Backward(u) {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

// commit runs in the pod's namespace.
func commit(rs redirect.RuleSet, o Options) (Result, error) {
	was, err := installed(o.Backend)
	if err != nil {
		return Result{}, err
	}
	if was.stamp != nil && was.stamp.Is(redirect.Attachment{ContainerID: o.Owner.ContainerID, IfName: was.stamp.Owner.IfName}) {
		o.Owner = was.stamp.Owner // a second interface of the container: the rules stay the first one's, and so does their DEL
	}
	socket, err := netlink.Open(unix.NETLINK_ROUTE)
	if err != nil {
		return Result{}, err
	}
	defer socket.Close()
	pod := namespace{route: socket}
	choice := find
	if was.none {
		choice = findFresh
	}
	change, extras, name, err := pod.choose(choice, rs, o)
	if err != nil {
		return Result{}, err
	}
	result := Result{Change: change, Backend: name}
	for _, old := range append(was.more, was) {
		if old.stamp == nil || old.name == name && change == redirect.Unchanged {
			continue
		}
		result.Warnings = append(result.Warnings, pod.removeStale(old.stamp.Extras, extras)...)
		if old.name != name {
			if _, err := old.tool.Remove(); err != nil {
				result.Warnings = append(result.Warnings, fmt.Sprintf("rules of another backend stay: %v", err))
			}
		}
	}
	result.Warnings = append(result.Warnings, rerouteWarnings(rs)...)
	return result, nil
}

// choose installs by the backend that is asked for. Auto is nftables first, and
// iptables where the kernel turns out to lack something.
func (n namespace) choose(find func(Backend) (tool, Backend, error), rs redirect.RuleSet, o Options) (redirect.Change, redirect.Extras, Backend, error) {
	t, name, err := find(o.Backend)
	if err != nil {
		return "", redirect.Extras{}, name, err
	}
	change, extras, err := n.install(t, rs, o.Owner)
	if o.Backend != Auto || !errors.Is(err, nftables.ErrUnsupported) {
		return change, extras, name, err
	}
	t, name, other := find(IPTables)
	if other != nil {
		return "", extras, name, fmt.Errorf("%w; and %w", err, other)
	}
	change, extras, err = n.install(t, rs, o.Owner)
	return change, extras, name, err
}

// install makes the changes: lo first, because what the pod has of IPv6 shows
// there; the rules last, because they are one transaction.
func (n namespace) install(t tool, rs redirect.RuleSet, owner redirect.Attachment) (change redirect.Change, extras redirect.Extras, err error) {
	var done undo
	defer func() {
		if err != nil {
			err = errors.Join(err, done.run())
		}
	}()
	if err := n.loopbackUp(&done); err != nil {
		return "", extras, fmt.Errorf("lo up: %w", err)
	}
	addrs, err := readAddrs()
	if err != nil {
		return "", extras, err
	}
	extras = extrasOf(rs, addrs.hasIPv6())
	if err := n.addExtras(extras, addrs, &done); err != nil {
		return "", extras, err
	}
	change, err = t.Commit(rs, owner, extras)
	return change, extras, err
}

// extrasOf is what a RuleSet needs besides rules, in a pod with or without IPv6.
func extrasOf(rs redirect.RuleSet, v6 bool) redirect.Extras {
	var e redirect.Extras
	if v6 {
		e.LoopbackAddrs = rs.LoopbackAddrs
	}
	e.MarkV4, e.MarkV6 = rs.V4(), rs.V6() && v6
	if rs.LocalMark.Table != 0 && (e.MarkV4 || e.MarkV6) {
		e.LocalMark = rs.LocalMark
		return e
	}
	e.MarkV4, e.MarkV6 = false, false
	return e
}

// verify runs in the pod's namespace.
func verify(rs redirect.RuleSet, b Backend) (moved bool, err error) {
	was, err := installed(b)
	if err != nil {
		return false, err
	}
	t := was.tool
	if t == nil {
		if t, _, err = find(b); err != nil {
			return false, err
		}
	}
	got, stamp, err := t.List()
	if err != nil {
		return false, err
	}
	moved, err = redirect.Check(t.Want(rs), got, stamp)
	if err != nil {
		return moved, err
	}
	socket, err := netlink.Open(unix.NETLINK_ROUTE)
	if err != nil {
		return moved, err
	}
	defer socket.Close()
	return moved, namespace{route: socket}.verifyExtras(stamp.Extras)
}

// remove runs in the pod's namespace.
func remove(owner redirect.Attachment) (removed bool, err error) {
	was, err := installed(Auto)
	if err != nil {
		return false, err
	}
	var errs []error
	for _, old := range append(was.more, was) {
		if old.stamp == nil || !old.stamp.Is(owner) {
			continue
		}
		if _, err := old.tool.Remove(); err != nil {
			errs = append(errs, err)
			continue
		}
		removed = true
		errs = append(errs, removeExtras(old.stamp.Extras))
	}
	return removed, errors.Join(errs...)
}

// removeExtras takes away all that an ADD made besides rules.
func removeExtras(e redirect.Extras) error {
	socket, err := netlink.Open(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer socket.Close()
	var errs []error
	for _, w := range (namespace{route: socket}).removeStale(e, redirect.Extras{}) {
		errs = append(errs, errors.New(w))
	}
	return errors.Join(errs...)
}
