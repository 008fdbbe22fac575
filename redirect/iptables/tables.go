package iptables

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect/internal/netlink"
)

// dropNewTables deletes the tables that a failed first ADD made: iptables-nft
// makes a table, and its built-in chains, with its first rule. They go only if
// they are empty, and all or none: NLM_F_NONREC refuses what still holds something.
func dropNewTables(before []nftChain) error {
	now, err := nftChains()
	if err != nil {
		return err
	}
	old := map[nftChain]bool{}
	for _, c := range before {
		old[c.inTable()] = true
	}
	fresh := map[nftChain][]nftChain{}
	for _, c := range now {
		if t := c.inTable(); !old[t] {
			fresh[t] = append(fresh[t], c)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	s, err := netlink.Open(unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer s.Close()
	var errs []error
	for t, chains := range fresh {
		err := s.Do(deleteTable(t, chains))
		if err != nil && !errors.Is(err, unix.EBUSY) { // somebody else uses it by now
			errs = append(errs, fmt.Errorf("delete table %s: %w", t.table, err))
		}
	}
	return errors.Join(errs...)
}

func (c nftChain) inTable() nftChain { return nftChain{family: c.family, table: c.table} }

// deleteTable is one transaction; only its last message asks for an answer,
// an error in another is answered all the same.
func deleteTable(t nftChain, chains []nftChain) []byte {
	var b netlink.Batch
	mark := []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, unix.NFNL_SUBSYS_NFTABLES} // res_id in network order
	b.Message(unix.NFNL_MSG_BATCH_BEGIN, 0, 1, mark)
	for _, c := range chains {
		b.Message(nftMessage(unix.NFT_MSG_DELCHAIN), unix.NLM_F_NONREC, 2, nfgenmsg(c.family))
		b.String(unix.NFTA_CHAIN_TABLE, c.table)
		b.String(unix.NFTA_CHAIN_NAME, c.name)
	}
	b.Message(nftMessage(unix.NFT_MSG_DELTABLE), unix.NLM_F_NONREC|unix.NLM_F_ACK, 3, nfgenmsg(t.family))
	b.String(unix.NFTA_TABLE_NAME, t.table)
	b.Message(unix.NFNL_MSG_BATCH_END, 0, 4, mark)
	return b.Bytes()
}
