package iptables

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/internal/netlink"
	"github.com/detour-cni/detour/redirect/internal/procnet"
)

// nftChain is a chain of nf_tables in one of the families that iptables-nft uses.
type nftChain struct {
	family      byte // NFPROTO_IPV4, NFPROTO_IPV6
	table, name string
}

// nftChains lists the chains that iptables-nft could have made. It asks the
// kernel, for what a child process would take: nothing is created by that.
func nftChains() ([]nftChain, error) {
	s, err := netlink.Open(unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var b netlink.Batch
	b.Message(nftMessage(unix.NFT_MSG_GETCHAIN), unix.NLM_F_DUMP, 1, nfgenmsg(unix.AF_UNSPEC))
	var chains []nftChain
	err = s.Dump(b.Bytes(), func(m netlink.Message) error {
		if len(m.Data) < len(nfgenmsg(0)) {
			return fmt.Errorf("a chain of %d bytes", len(m.Data))
		}
		c := nftChain{family: m.Data[0]}
		for a, err := range netlink.Attrs(m.Data[len(nfgenmsg(0)):]) {
			switch {
			case err != nil:
				return err
			case a.Type == unix.NFTA_CHAIN_TABLE:
				c.table = cString(a.Value)
			case a.Type == unix.NFTA_CHAIN_NAME:
				c.name = cString(a.Value)
			}
		}
		if c.family == unix.NFPROTO_IPV4 || c.family == unix.NFPROTO_IPV6 {
			chains = append(chains, c)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list chains of nf_tables: %w", err)
	}
	return chains, nil
}

func nftMessage(typ uint16) uint16 { return unix.NFNL_SUBSYS_NFTABLES<<8 | typ }

// nfgenmsg is struct nfgenmsg (linux/netfilter/nfnetlink.h).
func nfgenmsg(family byte) []byte { return []byte{family, unix.NFNETLINK_V0, 0, 0} }

func cString(b []byte) string { return strings.TrimRight(string(b), "\x00") }

func anyOurs(chains []nftChain) bool {
	for _, c := range chains {
		if strings.HasPrefix(c.name, chainPrefix) {
			return true
		}
	}
	return false
}

// maybeOurs reports whether there may be something of ours, without a child
// process; when in doubt it says yes, and the tool is asked.
func (b *Backend) maybeOurs() (bool, error) {
	if b.variant == Legacy {
		return LegacyInUse()
	}
	chains, err := nftChains()
	switch {
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EOPNOTSUPP):
		return false, nil // a kernel without nf_tables
	case errors.Is(err, unix.EINTR):
		return true, nil // it changed while it was read
	}
	return anyOurs(chains), err
}

// LegacyInUse reports whether a table of the legacy variant holds more than its
// built-in chains' policies. A table that is not there yet is not asked for:
// that would create it.
func LegacyInUse() (bool, error) {
	for _, family := range []struct {
		domain, level int
		list          string
	}{
		{unix.AF_INET, unix.SOL_IP, "ip_tables_names"},
		{unix.AF_INET6, unix.SOL_IPV6, "ip6_tables_names"},
	} {
		names, err := procnet.Read(family.list)
		if errors.Is(err, os.ErrNotExist) {
			continue // no such module in this kernel
		}
		if err != nil {
			return false, err
		}
		for _, name := range strings.Fields(string(names)) {
			used, err := legacyHasRules(family.domain, family.level, name)
			if used || err != nil {
				return used, err
			}
		}
	}
	return false, nil
}

// getInfo is IPT_SO_GET_INFO and IP6T_SO_GET_INFO (linux/netfilter_ipv4/ip_tables.h).
const getInfo = 64

// tableInfo is struct ipt_getinfo, and ip6t_getinfo.
type tableInfo struct {
	Name               [32]byte
	ValidHooks         uint32
	HookEntry, Unders  [5]uint32
	NumEntries, Length uint32
}

// legacyHasRules asks how many entries a table has. An empty one has a policy for
// each of its hooks and one entry at the end; a chain or a rule makes it more.
func legacyHasRules(domain, level int, name string) (bool, error) {
	fd, err := unix.Socket(domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return false, fmt.Errorf("table %s: socket: %w", name, err)
	}
	defer unix.Close(fd)
	var info tableInfo
	copy(info.Name[:len(info.Name)-1], name)
	size := uint32(binary.Size(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), getInfo,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return false, fmt.Errorf("table %s: getsockopt: %w", name, errno)
	}
	empty := uint32(1)
	for hooks := info.ValidHooks; hooks != 0; hooks &= hooks - 1 {
		empty++
	}
	return info.NumEntries > empty, nil
}

// ErrForeignUserNS says that the namespace belongs to another user namespace than
// this process, where the kernel refuses owner matches (xt_owner.c, EINVAL).
var ErrForeignUserNS = errors.New("the pod has a user namespace of its own (hostUsers: false), in which iptables cannot match owners (want backend: nftables)")

// refuseForeign gives ErrForeignUserNS where the rules could not work.
func refuseForeign(rs redirect.RuleSet) error {
	if !matchesOwners(rs) {
		return nil
	}
	foreign, err := foreignUserNS()
	if foreign && err == nil {
		return ErrForeignUserNS
	}
	return err
}

func matchesOwners(rs redirect.RuleSet) bool {
	for _, c := range rs.Chains {
		for _, r := range c.Rules {
			for _, cond := range r.Match {
				switch cond.(type) {
				case redirect.UID, redirect.GID:
					return true
				}
			}
		}
	}
	return false
}

// foreignUserNS compares the owner of the thread's network namespace with the
// user namespace that we are in.
func foreignUserNS() (bool, error) {
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, fmt.Errorf("open network namespace: %w", err)
	}
	defer unix.Close(fd)
	owner, err := unix.IoctlRetInt(fd, unix.NS_GET_USERNS)
	if errors.Is(err, unix.EPERM) {
		return true, nil // it is an ancestor of ours, or no relation (ioctl_ns(2))
	}
	if err != nil {
		return false, fmt.Errorf("owner of the network namespace: %w", err)
	}
	defer unix.Close(owner)
	var theirs, ours unix.Stat_t
	if err := unix.Fstat(owner, &theirs); err != nil {
		return false, err
	}
	if err := unix.Stat("/proc/thread-self/ns/user", &ours); err != nil {
		return false, err
	}
	return theirs.Dev != ours.Dev || theirs.Ino != ours.Ino, nil
}
