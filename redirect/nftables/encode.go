package nftables

import (
	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect/internal/netlink"
)

// maxElements is how many elements a message takes: a nested attribute's length
// has 16 bits, and an element takes up to maxElement bytes.
const maxElements = 1000

// maxElement is the most bytes that an element of ours takes: four headers, its
// flags and an IPv6 address.
const maxElement = 4*unix.SizeofRtAttr + 4 + 16

// encoder writes one transaction. Its messages are numbered from 1.
type encoder struct {
	netlink.Batch
	family family
	seq    uint32
	sets   uint32
}

// roomy is the first size of a batch: the usual RuleSet without a second allocation.
const roomy = 12 << 10

func begin(f family) *encoder {
	e := &encoder{family: f}
	e.Grow(roomy)
	e.control(unix.NFNL_MSG_BATCH_BEGIN)
	return e
}

// end closes the transaction: its last message before that has asked for the
// one acknowledgement.
func (e *encoder) end() []byte {
	e.control(unix.NFNL_MSG_BATCH_END)
	return e.Bytes()
}

func (e *encoder) control(typ uint16) {
	e.seq++
	e.Message(typ, 0, e.seq, []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, unix.NFNL_SUBSYS_NFTABLES})
}

// message starts a message about a table of a family.
func (e *encoder) message(typ, flags uint16, f family) {
	e.seq++
	e.Message(unix.NFNL_SUBSYS_NFTABLES<<8|typ, flags, e.seq, []byte{byte(f), unix.NFNETLINK_V0, 0, 0})
}

func (e *encoder) delTable(f family, flags uint16) {
	e.message(unix.NFT_MSG_DELTABLE, flags, f)
	e.String(unix.NFTA_TABLE_NAME, tableName)
}

// newTable creates the table. One that is there already is EEXIST, which aborts
// the transaction: nobody's rules are added to.
func (e *encoder) newTable() {
	e.message(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, e.family)
	e.String(unix.NFTA_TABLE_NAME, tableName)
	e.Uint32(unix.NFTA_TABLE_FLAGS, 0)
}

// add creates every chain, then every rule: a jump needs its chain.
func (e *encoder) add(chains []chain) {
	for _, c := range chains {
		e.newChain(c)
	}
	for _, c := range chains {
		for _, r := range c.rules {
			e.newRule(c.name, r, 0)
		}
	}
}

func (e *encoder) newChain(c chain) {
	e.message(unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, e.family)
	e.String(unix.NFTA_CHAIN_TABLE, tableName)
	e.String(unix.NFTA_CHAIN_NAME, c.name)
	if c.base == nil {
		return
	}
	e.Nest(unix.NFTA_CHAIN_HOOK, func() {
		e.Uint32(unix.NFTA_HOOK_HOOKNUM, c.base.hook)
		e.Uint32(unix.NFTA_HOOK_PRIORITY, uint32(c.base.priority))
	})
	e.Uint32(unix.NFTA_CHAIN_POLICY, nfAccept)
	e.String(unix.NFTA_CHAIN_TYPE, c.base.typ)
}

// newRule appends a rule, after the sets that it looks into.
func (e *encoder) newRule(chain string, r rule, flags uint16) {
	first := e.sets
	for _, x := range r.exprs {
		if x.set != nil {
			e.newSet(x.set)
		}
	}
	e.message(unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_APPEND|flags, e.family)
	e.String(unix.NFTA_RULE_TABLE, tableName)
	e.String(unix.NFTA_RULE_CHAIN, chain)
	e.Nest(unix.NFTA_RULE_EXPRESSIONS, func() {
		for _, x := range r.exprs {
			if x.set != nil {
				first++
			}
			e.expr(x, first)
		}
	})
	e.Attr(unix.NFTA_RULE_USERDATA, comment(r.comment))
}

// commentType is NFTNL_UDATA_RULE_COMMENT: nft keeps in a rule's user data one
// byte of type, one of length, and the text with its NUL.
const commentType = 0

func comment(text string) []byte {
	b := append(make([]byte, 0, len(text)+3), commentType, byte(len(text)+1))
	return append(append(b, text...), 0)
}

// anonymous is what every set is called: the kernel puts a number there, and
// NFTA_SET_ID tells sets apart within the transaction.
const anonymous = "__set%d"

// Set user data of nft: NFTNL_UDATA_SET_KEYBYTEORDER (four bytes, host order)
// says how to print keys (enum byteorder: 1 host, 2 network).
const keyOrder, hostOrder, networkOrder = 0, 1, 2

func (e *encoder) newSet(s *set) {
	e.sets++
	flags, order := uint32(unix.NFT_SET_ANONYMOUS|unix.NFT_SET_CONSTANT), uint32(networkOrder)
	if !s.plain {
		flags |= unix.NFT_SET_INTERVAL
	}
	if s.kind.hostOrder {
		order = hostOrder
	}
	elements := s.elements()
	e.Grow(len(elements) * maxElement)
	e.message(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, e.family)
	e.String(unix.NFTA_SET_TABLE, tableName)
	e.String(unix.NFTA_SET_NAME, anonymous)
	e.Uint32(unix.NFTA_SET_FLAGS, flags)
	e.Uint32(unix.NFTA_SET_KEY_TYPE, s.kind.typ)
	e.Uint32(unix.NFTA_SET_KEY_LEN, s.kind.size)
	e.Nest(unix.NFTA_SET_DESC, func() { e.Uint32(unix.NFTA_SET_DESC_SIZE, uint32(len(elements))) })
	e.Uint32(unix.NFTA_SET_ID, e.sets)
	e.Attr(unix.NFTA_SET_USERDATA, append([]byte{keyOrder, 4}, native32(order)...))
	for from := 0; from < len(elements); from += maxElements {
		e.newElements(elements[from:min(from+maxElements, len(elements))])
	}
}

func (e *encoder) newElements(elements []element) {
	e.message(unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE, e.family)
	e.String(unix.NFTA_SET_ELEM_LIST_TABLE, tableName)
	e.String(unix.NFTA_SET_ELEM_LIST_SET, anonymous)
	e.Uint32(unix.NFTA_SET_ELEM_LIST_SET_ID, e.sets)
	e.Nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS, func() {
		for _, el := range elements {
			e.Nest(unix.NFTA_LIST_ELEM, func() {
				if el.end {
					e.Uint32(unix.NFTA_SET_ELEM_FLAGS, unix.NFT_SET_ELEM_INTERVAL_END)
				}
				e.Nest(unix.NFTA_SET_ELEM_KEY, func() { e.Attr(unix.NFTA_DATA_VALUE, el.key) })
			})
		}
	})
}

// expr writes an expression; setID is its set's, if it has one.
func (e *encoder) expr(x expr, setID uint32) {
	e.Nest(unix.NFTA_LIST_ELEM, func() {
		e.String(unix.NFTA_EXPR_NAME, x.name)
		e.Nest(unix.NFTA_EXPR_DATA, func() {
			if x.set != nil {
				e.String(unix.NFTA_LOOKUP_SET, anonymous)
				e.Uint32(unix.NFTA_LOOKUP_SET_ID, setID)
			}
			for _, a := range x.attrs {
				e.attr(a)
			}
		})
	})
}

func (e *encoder) attr(a attr) {
	switch a.form {
	case number:
		e.Uint32(a.typ, a.num)
	case octet:
		e.Attr(a.typ, []byte{byte(a.num)})
	case value:
		e.Nest(a.typ, func() { e.Attr(unix.NFTA_DATA_VALUE, a.data) })
	case verdict:
		e.Nest(a.typ, func() {
			e.Nest(unix.NFTA_DATA_VERDICT, func() {
				e.Uint32(unix.NFTA_VERDICT_CODE, a.num)
				if len(a.data) > 0 {
					e.String(unix.NFTA_VERDICT_CHAIN, string(a.data))
				}
			})
		})
	default:
		panic("nftables: attribute form")
	}
}
