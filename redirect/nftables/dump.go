package nftables

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/internal/netlink"
)

// conn is a netlink socket in the current namespace.
type conn struct {
	*netlink.Socket
	seq uint32
}

func open() (*conn, error) {
	s, err := netlink.Open(unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, unsupported(fmt.Errorf("nf_tables: %w", err))
	}
	return &conn{Socket: s}, nil
}

func (c *conn) close() { _ = c.Socket.Close() } // nothing is buffered in it

// request is one message on its own: a dump, or a question.
func (c *conn) request(typ, flags uint16, f family) *netlink.Batch {
	c.seq++
	b := new(netlink.Batch)
	b.Message(unix.NFNL_SUBSYS_NFTABLES<<8|typ, flags, c.seq, []byte{byte(f), unix.NFNETLINK_V0, 0, 0})
	return b
}

// dump asks for everything of a type. Attributes narrow it: the table first.
func (c *conn) dump(typ uint16, f family, each func(netlink.Message) error, names ...string) error {
	b := c.request(typ, unix.NLM_F_DUMP, f)
	for i, name := range names {
		b.String(uint16(i+1), name) // NFTA_RULE_TABLE, NFTA_RULE_CHAIN; NFTA_SET_…_TABLE, _SET
	}
	return c.Dump(b.Bytes(), each)
}

// tables gives the families in which a table of our name is, inet first.
func (c *conn) tables() ([]family, error) {
	var found []family
	err := c.eachTable(func(f family, name string) {
		if f.ours() && name == tableName {
			found = append(found, f)
		}
	})
	slices.Sort(found)
	return found, err
}

// tables is conn.tables on its own, whatever else changes meanwhile.
func tables() (found []family, err error) {
	err = consistently(func(c *conn) error {
		found, err = c.tables()
		return err
	})
	return found, err
}

// eachTable names every table of the namespace: one question for all families. A
// kernel without nf_tables answers EINVAL.
func (c *conn) eachTable(each func(family, string)) error {
	err := c.dump(unix.NFT_MSG_GETTABLE, unix.NFPROTO_UNSPEC, func(m netlink.Message) error {
		if len(m.Data) < 4 {
			return nil
		}
		a, err := attrs(m.Data[4:])
		if err == nil {
			each(family(m.Data[0]), text(a[unix.NFTA_TABLE_NAME]))
		}
		return err
	})
	if err != nil {
		return unsupported(fmt.Errorf("nf_tables: list tables: %w", err), unix.EINVAL)
	}
	return nil
}

// read reads one table: sets before the rules that look into them.
func (c *conn) read(f family) (*reader, error) {
	r := &reader{family: f}
	if err := c.dump(unix.NFT_MSG_GETTABLE, f, r.message); err != nil {
		return nil, err
	}
	if err := c.dump(unix.NFT_MSG_GETSET, f, r.message, tableName); err != nil {
		return nil, err
	}
	for _, s := range r.sets {
		if err := c.dump(unix.NFT_MSG_GETSETELEM, f, r.message, tableName, s.name); err != nil {
			return nil, err
		}
	}
	if err := c.dump(unix.NFT_MSG_GETCHAIN, f, r.message); err != nil {
		return nil, err
	}
	return r, c.dump(unix.NFT_MSG_GETRULE, f, r.message, tableName)
}

// list reads our tables: the Listing, and the stamp where there is a valid one.
func (c *conn) list(tables []family) (redirect.Listing, *redirect.Stamp, error) {
	if len(tables) == 0 {
		return redirect.Listing{}, nil, nil
	}
	r, err := c.read(tables[0])
	if err != nil {
		return redirect.Listing{}, nil, fmt.Errorf("nf_tables: list table %s %s: %w", tables[0], tableName, err)
	}
	others := r.others()
	stamp := parseStamp(r.stampChain())
	l := r.listing()
	if others > 0 {
		l.Chains = append(l.Chains, foreign(fmt.Sprintf("%d objects or flowtables", others)))
	}
	for _, f := range tables[1:] {
		l.Chains = append(l.Chains, foreign(fmt.Sprintf("table %s %s", f, tableName)))
	}
	sortChains(l)
	return l, stamp, nil
}

// others is how much hangs on the table besides chains and sets: named counters,
// flowtables. The kernel counts uses of a table, anonymous sets not among them.
func (r *reader) others() int {
	known := len(r.chains)
	for _, s := range r.sets {
		if s.flags&unix.NFT_SET_ANONYMOUS == 0 {
			known++
		}
	}
	return max(int(r.uses)-known, 0)
}

// parseStamp reads a stamp: nil where there is none that is valid.
func parseStamp(c *readChain) *redirect.Stamp {
	if c == nil || c.attached != "" {
		return nil
	}
	var comments []string
	for _, r := range c.rules {
		comments = append(comments, r.Comment)
	}
	s, err := redirect.ParseStamp(comments)
	if err != nil {
		return nil
	}
	return &s
}

// maxReads is how often a table is read that changes meanwhile: somebody in the
// pod may be at work on rules of their own, and one of our reads is a few dumps.
const maxReads = 10

// consistently reads until nothing has changed in between, each time on a
// socket of its own: what is left of the last answer must not be taken for the next.
func consistently(read func(*conn) error) error {
	for n := 1; ; n++ {
		c, err := open()
		if err != nil {
			return err
		}
		err = read(c)
		c.close()
		if n < maxReads && (errors.Is(err, unix.EINTR) || errors.Is(err, errMoved)) {
			continue
		}
		return err
	}
}
