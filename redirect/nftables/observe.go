package nftables

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/internal/netlink"
)

// Count is what one rule in the kernel has counted.
type Count struct {
	Chain          string
	Index          int // among the chain's rules in the kernel, from 0: see [Origins]
	Comment        string
	Packets, Bytes uint64
}

// Observe reads the counters of our rules, chain by chain in the kernel's order;
// none where there is nothing of ours.
func (Backend) Observe() (counts []Count, err error) {
	err = consistently(func(c *conn) error {
		counts = nil
		tables, err := c.tables()
		if err != nil || len(tables) == 0 {
			return err
		}
		r := &reader{family: tables[0]}
		for _, ask := range []func() error{
			func() error { return c.dump(unix.NFT_MSG_GETCHAIN, tables[0], r.message) },
			func() error { return c.dump(unix.NFT_MSG_GETRULE, tables[0], r.message, tableName) },
		} {
			if err := ask(); err != nil {
				return fmt.Errorf("nf_tables: read counters: %w", err)
			}
		}
		r.stampChain()
		for _, c := range r.chains {
			for i, rule := range c.rules {
				counts = append(counts, Count{c.name, i, rule.Comment, rule.packets, rule.bytes})
			}
		}
		return nil
	})
	return counts, err
}

// Origins gives, for each chain, the index of the Rule in the RuleSet that each
// rule in the kernel renders: a Rule may be two there, or none.
func Origins(rs redirect.RuleSet) map[string][]int {
	of := map[string][]int{}
	for _, c := range build(rs, familyOf(rs)).chains {
		for _, r := range c.rules {
			of[c.name] = append(of[c.name], r.of)
		}
	}
	return of
}

// generation is the number of the rules' generation in this namespace: it goes
// up with every transaction of anybody.
func (c *conn) generation() (gen uint32, err error) {
	if err := c.Send(c.request(unix.NFT_MSG_GETGEN, 0, unix.NFPROTO_UNSPEC).Bytes()); err != nil {
		return 0, fmt.Errorf("nf_tables: %w", err)
	}
	err = c.Receive(func(m netlink.Message) (bool, error) {
		if m.Err() != nil || len(m.Data) < 4 {
			return true, m.Err()
		}
		a, err := attrs(m.Data[4:])
		gen = uint32Of(a[unix.NFTA_GEN_ID])
		return true, err
	})
	return gen, err
}
