package nftables

import (
	"encoding/binary"
	"errors"
	"slices"
	"sort"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/internal/netlink"
)

// reader collects what messages say about our table: those of a dump, or those
// of a batch that is about to be sent.
type reader struct {
	family  family
	dormant bool
	uses    uint32 // chains, sets and whatever else hangs on the table
	chains  []*readChain
	sets    map[string]*readSet
	gen     uint16 // the generation of the rules that a dump speaks of; 0: none yet
}

type readChain struct {
	name, attached string
	rules          []readRule
}

type readRule struct {
	redirect.ListedRule
	packets, bytes uint64
}

// readSet is a set under its name, or under its number in a batch.
type readSet struct {
	name     string
	flags    uint32
	elements []readElement
	text     string // of the elements, once somebody has asked
}

// errMoved says that rules changed while they were read.
var errMoved = errors.New("the rules change while they are read")

// message takes one message in. Those of other tables do not count.
func (r *reader) message(m netlink.Message) error {
	if m.Type>>8 != unix.NFNL_SUBSYS_NFTABLES || len(m.Data) < 4 || family(m.Data[0]) != r.family {
		return nil
	}
	if gen := binary.BigEndian.Uint16(m.Data[2:]); r.gen == 0 {
		r.gen = gen
	} else if gen != r.gen {
		return errMoved
	}
	a, err := attrs(m.Data[4:])
	if err != nil || text(a[1]) != tableName { // NFTA_…_TABLE and NFTA_TABLE_NAME are 1 in all of them
		return err
	}
	switch m.Type & 0xff {
	case unix.NFT_MSG_NEWTABLE:
		r.dormant = uint32Of(a[unix.NFTA_TABLE_FLAGS])&unix.NFT_TABLE_F_DORMANT != 0
		r.uses = uint32Of(a[unix.NFTA_TABLE_USE])
	case unix.NFT_MSG_NEWCHAIN:
		return r.chain(a)
	case unix.NFT_MSG_NEWSET:
		r.set(a)
	case unix.NFT_MSG_NEWSETELEM:
		return r.elements(a)
	case unix.NFT_MSG_NEWRULE:
		return r.rule(a)
	}
	return nil
}

// attributes are those of one level, by number. Numbers that matter are below;
// the others are kept under 0.
type attributes [16][]byte

func attrs(b []byte) (*attributes, error) {
	a := new(attributes)
	return a, a.read(b)
}

// read is for the innermost levels, where it saves an allocation each.
func (a *attributes) read(b []byte) error {
	clear(a[:])
	for at, err := range netlink.Attrs(b) {
		if err != nil {
			return err
		}
		if int(at.Type) >= len(a) {
			at.Type = 0
		}
		a[at.Type] = at.Value
	}
	return nil
}

func (r *reader) chain(a *attributes) error {
	c := &readChain{name: text(a[unix.NFTA_CHAIN_NAME])}
	if hook := a[unix.NFTA_CHAIN_HOOK]; hook != nil {
		h, err := attrs(hook)
		if err != nil {
			return err
		}
		c.attached = r.attached(text(a[unix.NFTA_CHAIN_TYPE]), h, uint32Of(a[unix.NFTA_CHAIN_POLICY]))
	}
	r.chains = append(r.chains, c)
	return nil
}

// attached gives "inet nat output -100 accept".
func (r *reader) attached(typ string, hook *attributes, policy uint32) string {
	names := [...]string{"prerouting", "input", "forward", "output", "postrouting"}
	at := "hook " + strconv.Itoa(int(uint32Of(hook[unix.NFTA_HOOK_HOOKNUM])))
	if n := uint32Of(hook[unix.NFTA_HOOK_HOOKNUM]); int(n) < len(names) {
		at = names[n]
	}
	s := r.family.String() + " " + typ + " " + at + " " + strconv.Itoa(int(int32(uint32Of(hook[unix.NFTA_HOOK_PRIORITY]))))
	if policy == nfDrop {
		s += " drop"
	} else {
		s += " accept"
	}
	if hook[unix.NFTA_HOOK_DEV] != nil {
		s += " dev " + text(hook[unix.NFTA_HOOK_DEV])
	}
	if r.dormant {
		s += " dormant"
	}
	return s
}

func (r *reader) rule(a *attributes) error {
	name := text(a[unix.NFTA_RULE_CHAIN])
	i := slices.IndexFunc(r.chains, func(c *readChain) bool { return c.name == name })
	if i < 0 {
		return errMoved
	}
	rule, err := r.readRule(a)
	if err != nil {
		return err
	}
	r.chains[i].rules = append(r.chains[i].rules, rule)
	return nil
}

// stampChain takes the chain with the stamp out; nil where there is none.
func (r *reader) stampChain() *readChain {
	i := slices.IndexFunc(r.chains, func(c *readChain) bool { return c.name == redirect.ChainStamp })
	if i < 0 {
		return nil
	}
	c := r.chains[i]
	r.chains = slices.Delete(r.chains, i, i+1)
	return c
}

// listing gives what was read; without the stamp, if that was taken out.
func (r *reader) listing() redirect.Listing {
	var l redirect.Listing
	for _, c := range r.chains {
		listed := redirect.ListedChain{Name: c.name, Attached: c.attached}
		for _, rule := range c.rules {
			listed.Rules = append(listed.Rules, rule.ListedRule)
		}
		l.Chains = append(l.Chains, listed)
	}
	for _, s := range r.sets {
		if s.flags&unix.NFT_SET_ANONYMOUS == 0 {
			l.Chains = append(l.Chains, foreign("set "+s.name))
		}
	}
	sortChains(l)
	return l
}

// foreign is how something that is no chain shows up in a Listing, where it
// cannot but be a difference.
func foreign(what string) redirect.ListedChain { return redirect.ListedChain{Name: "(" + what + ")"} }

func sortChains(l redirect.Listing) {
	sort.Slice(l.Chains, func(i, j int) bool { return l.Chains[i].Name < l.Chains[j].Name })
}

// text is a NUL-terminated string.
func text(b []byte) string {
	if n := len(b); n > 0 && b[n-1] == 0 {
		b = b[:n-1]
	}
	return string(b)
}

func uint32Of(b []byte) uint32 {
	if len(b) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

func uint64Of(b []byte) uint64 {
	if len(b) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}
