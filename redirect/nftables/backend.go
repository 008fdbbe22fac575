package nftables

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/internal/netlink"
)

// Backend works in the network namespace of the current thread.
type Backend struct {
	// Fresh says that the namespace is known to have no table of ours (Look):
	// Commit does not ask again. Should there be one all the same, it finds out.
	Fresh bool
}

// Look asks, in one question, for what an earlier ADD may have left: a table of
// ours, or one of those in which iptables-nft keeps its rules.
func Look() (ours, iptables bool, err error) {
	err = consistently(func(c *conn) error {
		ours, iptables = false, false
		return c.eachTable(func(f family, name string) {
			ours = ours || f.ours() && name == tableName
			iptables = iptables || (f == ip4 || f == ip6) && name != tableName
		})
	})
	return ours, iptables, err
}

// Want gives what Commit of this RuleSet leaves in the kernel, as List reads it.
func (Backend) Want(rs redirect.RuleSet) redirect.Listing {
	return listingOf(encode(build(rs, familyOf(rs)), nil))
}

// List reads our table back: no stamp where there is no valid one, an empty
// Listing where there is nothing of ours.
func (Backend) List() (l redirect.Listing, stamp *redirect.Stamp, err error) {
	err = consistently(func(c *conn) error {
		tables, err := c.tables()
		if err != nil {
			return err
		}
		l, stamp, err = c.list(tables)
		return err
	})
	return l, stamp, err
}

// Commit makes the namespace hold these rules and the stamp, in one
// transaction. Where they are there already, of the same attachment, it sends nothing.
func (b Backend) Commit(rs redirect.RuleSet, owner redirect.Attachment, extras redirect.Extras) (redirect.Change, error) {
	c, err := open()
	if err != nil {
		return "", err
	}
	defer c.close()
	if b.Fresh {
		change, err := c.install(rs, owner, extras, nil)
		if !errors.Is(err, unix.EEXIST) {
			return change, err
		}
	}
	tables, err := tables()
	if err != nil {
		return "", err
	}
	if len(tables) == 0 {
		return c.install(rs, owner, extras, nil)
	}
	e, stamp := stamped(rs, installedFamily(rs, tables), owner, extras, tables)
	same, err := b.holds(e, stamp)
	if err != nil {
		return "", err
	}
	if same {
		return redirect.Unchanged, nil
	}
	return c.install(rs, owner, extras, tables)
}

// holds reports whether the kernel has what a batch would put there.
func (b Backend) holds(e *encoder, stamp redirect.Stamp) (bool, error) {
	got, found, err := b.List()
	if err != nil || found == nil {
		return false, err
	}
	same := found.Digest == stamp.Digest && got.Digest() == stamp.Digest
	return same && found.Version == stamp.Version && found.Is(stamp.Owner) && found.Extras.String() == stamp.Extras.String(), nil
}

// installedFamily is the family in which a RuleSet would be in these tables:
// that of familyOf, unless the kernel has no IPv6, and so no inet.
func installedFamily(rs redirect.RuleSet, tables []family) family {
	f := familyOf(rs)
	if f == inet && tables[0] == ip4 && !hasIPv6() {
		return ip4
	}
	return f
}

// hasIPv6 asks for a socket: only the kernel can tell.
func hasIPv6() bool {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return !errors.Is(err, unix.EAFNOSUPPORT)
	}
	_ = unix.Close(fd) // nothing was done with it
	return true
}

// install sends the transaction. The inet family is refused by a kernel without
// IPv6: then it is ip, with the rules for IPv4.
func (c *conn) install(rs redirect.RuleSet, owner redirect.Attachment, extras redirect.Extras, replace []family) (redirect.Change, error) {
	f := familyOf(rs)
	e, _ := stamped(rs, f, owner, extras, replace)
	err := c.transact(e.Bytes())
	if f == inet && errors.Is(err, unix.EOPNOTSUPP) && !hasIPv6() {
		e, _ = stamped(rs, ip4, owner, extras, replace)
		err = c.transact(e.Bytes())
	}
	switch {
	case err != nil:
		return "", err
	case len(replace) > 0:
		return redirect.Replaced, nil
	default:
		return redirect.Installed, nil
	}
}

// encode begins a transaction with a table, after the deletion of those in replace.
func encode(t table, replace []family) *encoder {
	e := begin(t.family)
	for _, f := range replace {
		e.delTable(f, 0)
	}
	e.newTable()
	e.add(t.chains)
	return e
}

// stamped gives a whole transaction. The stamp's last rule asks for the acknowledgement.
func stamped(rs redirect.RuleSet, f family, owner redirect.Attachment, extras redirect.Extras, replace []family) (*encoder, redirect.Stamp) {
	e := encode(build(rs, f), replace)
	stamp := redirect.Stamp{Version: redirect.RulesVersion, Digest: listingOf(e).Digest(), Owner: owner, Extras: extras}
	chain := stamp.Chain()
	e.newChain(chainOf(chain))
	for i, r := range chain.Rules {
		var flags uint16
		if i == len(chain.Rules)-1 {
			flags = unix.NLM_F_ACK
		}
		e.newRule(chain.Name, rule{exprs: []expr{decide(unix.NFT_RETURN, "")}, comment: r.Comment()}, flags)
	}
	e.end()
	return e, stamp
}

// chainOf is a chain that no hook leads to, without its rules.
func chainOf(c redirect.Chain) chain { return chain{name: c.Name} }

// listingOf reads what a transaction puts into the kernel.
func listingOf(e *encoder) redirect.Listing {
	r := reader{family: e.family}
	for m, err := range netlink.Messages(e.Bytes()) {
		if err == nil {
			err = r.message(m)
		}
		if err != nil {
			panic(fmt.Sprintf("nftables: a batch of ours: %v", err))
		}
	}
	return r.listing()
}

// sendRoom is how large a batch goes through a socket as the kernel makes it
// (net.core.wmem_default, 212,992 bytes, less its own overhead).
const sendRoom = 128 << 10

// transact sends a batch and reads the first answer: the acknowledgement that
// its last message asks for comes after every error.
func (c *conn) transact(batch []byte) error {
	if len(batch) > sendRoom {
		if err := c.SetSendBuffer(2 * len(batch)); err != nil {
			return fmt.Errorf("nf_tables: room for a batch of %d bytes: %w", len(batch), err)
		}
	}
	if err := c.Send(batch); err != nil {
		return fmt.Errorf("nf_tables: %w", err)
	}
	return c.Receive(func(m netlink.Message) (bool, error) {
		if m.Type != unix.NLMSG_ERROR {
			return false, nil
		}
		if err := m.Err(); err != nil {
			return true, refused(batch, m.Seq, err)
		}
		return true, nil
	})
}

// Remove deletes our tables; false where there was none.
func (Backend) Remove() (bool, error) {
	tables, err := tables()
	if err != nil || len(tables) == 0 {
		return false, err
	}
	c, err := open()
	if err != nil {
		return false, err
	}
	defer c.close()
	e := begin(tables[0])
	for i, f := range tables {
		var flags uint16
		if i == len(tables)-1 {
			flags = unix.NLM_F_ACK
		}
		e.delTable(f, flags)
	}
	err = c.transact(e.end())
	if errors.Is(err, unix.ENOENT) {
		return false, nil // somebody else was quicker
	}
	return err == nil, err
}

// Stamp reads the stamp only; nil where there is no valid one.
func (Backend) Stamp() (stamp *redirect.Stamp, err error) {
	err = consistently(func(c *conn) error {
		stamp = nil
		tables, err := c.tables()
		if err != nil || len(tables) == 0 {
			return err
		}
		r := &reader{family: tables[0], chains: []*readChain{{name: redirect.ChainStamp}}}
		err = c.dump(unix.NFT_MSG_GETRULE, tables[0], r.message, tableName, redirect.ChainStamp)
		if errors.Is(err, unix.ENOENT) {
			return nil // no such chain
		}
		if err != nil {
			return fmt.Errorf("nf_tables: list chain %s: %w", redirect.ChainStamp, err)
		}
		stamp = parseStamp(r.stampChain())
		return nil
	})
	return stamp, err
}

// Available asks the kernel whether nf_tables answers, and changes nothing.
func Available() error {
	c, err := open()
	if err != nil {
		return err
	}
	defer c.close()
	if _, err := c.generation(); err != nil {
		return unsupported(fmt.Errorf("nf_tables: ask for the generation: %w", err), unix.EINVAL)
	}
	return nil
}
