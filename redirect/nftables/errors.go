package nftables

import (
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect/internal/netlink"
)

// ErrUnsupported says that this kernel cannot do it: it has no nf_tables, no nat
// in the inet family (Linux before 5.2), or lacks an expression. Another backend
// may still work. Every other error is a refusal.
var ErrUnsupported = errors.New("not in this kernel")

// unsupported marks an error as ErrUnsupported where its errno says so.
func unsupported(err error, missing ...error) error {
	for _, m := range append(missing, unix.EPROTONOSUPPORT, unix.EAFNOSUPPORT, unix.EOPNOTSUPP) {
		if errors.Is(err, m) {
			return fmt.Errorf("%w: %w", err, ErrUnsupported)
		}
	}
	return err
}

// refused names the message of a batch that the kernel's answer is about. A
// missing chain type or expression is ENOENT, and it means a missing module.
func refused(batch []byte, seq uint32, cause error) error {
	what, adds := "commit", false
	rules := map[string]int{}
	for m, err := range netlink.Messages(batch) {
		if err != nil {
			break // we wrote it ourselves
		}
		name := nameOf(m, rules)
		if m.Seq == seq {
			if name != "" {
				what = name
			}
			adds = m.Type != unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_DELTABLE
			break
		}
	}
	err := fmt.Errorf("nf_tables: %s: %w", what, cause)
	if adds {
		return unsupported(err, unix.ENOENT)
	}
	return unsupported(err)
}

// nameOf says what a message of a batch does; rules counts those of each chain.
// The messages that begin and end a batch stand for the commit.
func nameOf(m netlink.Message, rules map[string]int) string {
	if m.Type>>8 != unix.NFNL_SUBSYS_NFTABLES || len(m.Data) < 4 {
		return ""
	}
	a, err := attrs(m.Data[4:])
	if err != nil {
		return ""
	}
	table := family(m.Data[0]).String() + " " + text(a[unix.NFTA_TABLE_NAME])
	switch m.Type & 0xff {
	case unix.NFT_MSG_DELTABLE:
		return "delete table " + table
	case unix.NFT_MSG_NEWTABLE:
		return "add table " + table
	case unix.NFT_MSG_NEWCHAIN:
		return "add chain " + text(a[unix.NFTA_CHAIN_NAME])
	case unix.NFT_MSG_NEWSET:
		return "add set " + strconv.Itoa(int(uint32Of(a[unix.NFTA_SET_ID])))
	case unix.NFT_MSG_NEWSETELEM:
		return "add elements of set " + strconv.Itoa(int(uint32Of(a[unix.NFTA_SET_ELEM_LIST_SET_ID])))
	case unix.NFT_MSG_NEWRULE:
		chain := text(a[unix.NFTA_RULE_CHAIN])
		rules[chain]++
		return fmt.Sprintf("add rule %d of %s, %q", rules[chain], chain, commentOf(a[unix.NFTA_RULE_USERDATA]))
	}
	return ""
}
