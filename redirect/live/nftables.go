package live

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/internal/netlink"
)

// dump is all of nf_tables in a namespace.
type dump struct {
	chains  []*Chain
	sets    map[string]*set // by table and name
	unread  map[string]bool
	dormant map[string]bool // tables whose chains no packet meets
	gen     uint16
}

// errMoved says that rules changed while they were read.
var errMoved = errors.New("the rules change while they are read")

const maxReads = 3

func readNFTables() (Rules, error) {
	for n := 1; ; n++ {
		d := &dump{sets: map[string]*set{}, unread: map[string]bool{}, dormant: map[string]bool{}}
		err := d.read()
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPROTONOSUPPORT) {
			return Rules{}, nil // a kernel without nf_tables has no rules in it
		}
		if n < maxReads && (errors.Is(err, unix.EINTR) || errors.Is(err, errMoved)) {
			continue
		}
		var r Rules
		for _, c := range d.chains {
			r.Chains = append(r.Chains, *c)
		}
		for what := range d.unread {
			r.Unread = append(r.Unread, what)
		}
		return r, err
	}
}

func (d *dump) read() error {
	s, err := netlink.Open(unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer s.Close()
	seq := uint32(0)
	ask := func(typ uint16, family byte, names ...string) error {
		seq++
		var b netlink.Batch
		b.Message(unix.NFNL_SUBSYS_NFTABLES<<8|typ, unix.NLM_F_DUMP, seq, []byte{family, unix.NFNETLINK_V0, 0, 0})
		for i, name := range names {
			b.String(uint16(i+1), name)
		}
		return s.Dump(b.Bytes(), d.message)
	}
	if err := ask(unix.NFT_MSG_GETTABLE, unix.NFPROTO_UNSPEC); err != nil || len(d.dormant) == 0 {
		return err
	}
	if err := ask(unix.NFT_MSG_GETCHAIN, unix.NFPROTO_UNSPEC); err != nil || len(d.chains) == 0 {
		return err
	}
	if err := ask(unix.NFT_MSG_GETSET, unix.NFPROTO_UNSPEC); err != nil {
		return err
	}
	for _, set := range d.sets {
		if err := ask(unix.NFT_MSG_GETSETELEM, set.family, set.table, set.name); err != nil {
			return err
		}
	}
	return ask(unix.NFT_MSG_GETRULE, unix.NFPROTO_UNSPEC)
}

// familyOf is the name nft prints for a family and the packets that meet it.
func familyOf(family byte) (name string, of redirect.Families, known bool) {
	switch family {
	case unix.NFPROTO_INET:
		return "inet", redirect.FamiliesAuto, true
	case unix.NFPROTO_IPV4:
		return "ip", redirect.FamiliesIPv4, true
	case unix.NFPROTO_IPV6:
		return "ip6", redirect.FamiliesIPv6, true
	case unix.NFPROTO_NETDEV:
		return "netdev", redirect.FamiliesAuto, true
	}
	return "", redirect.FamiliesAuto, false
}

func (d *dump) message(m netlink.Message) error {
	if m.Type>>8 != unix.NFNL_SUBSYS_NFTABLES || len(m.Data) < 4 {
		return nil
	}
	if gen := binary.BigEndian.Uint16(m.Data[2:]); d.gen == 0 {
		d.gen = gen
	} else if gen != d.gen {
		return errMoved
	}
	a, err := attributes(m.Data[4:])
	if err != nil {
		return err
	}
	family, of, known := familyOf(m.Data[0])
	table := text(a[1]) // NFTA_…_TABLE in all of them
	scope := "nf_tables " + family + " " + table
	if m.Type&0xff == unix.NFT_MSG_NEWTABLE {
		d.dormant[scope] = num(a[unix.NFTA_TABLE_FLAGS])&1 != 0 // NFT_TABLE_F_DORMANT
		return nil
	}
	if m.Data[0] == unix.NFPROTO_NETDEV {
		if m.Type&0xff == unix.NFT_MSG_NEWCHAIN {
			return d.ofDevice(a, scope)
		}
		return nil
	}
	if !known {
		d.unread[fmt.Sprintf("nf_tables: table %s of family %d, which no IP packet of the pod's meets", table, m.Data[0])] = true
		return nil
	}
	switch m.Type & 0xff {
	case unix.NFT_MSG_NEWCHAIN:
		return d.chain(a, scope, of)
	case unix.NFT_MSG_NEWSET:
		d.sets[scope+" "+text(a[unix.NFTA_SET_NAME])] = &set{family: m.Data[0], table: table, name: text(a[unix.NFTA_SET_NAME]), flags: num(a[unix.NFTA_SET_FLAGS])}
	case unix.NFT_MSG_NEWSETELEM:
		if s := d.sets[scope+" "+text(a[unix.NFTA_SET_ELEM_LIST_SET])]; s != nil {
			return s.add(a[unix.NFTA_SET_ELEM_LIST_ELEMENTS])
		}
	case unix.NFT_MSG_NEWRULE:
		return d.rule(a, scope, m.Data[0])
	}
	return nil
}

func (d *dump) chain(a map[uint16][]byte, scope string, of redirect.Families) error {
	c := &Chain{Chain: redirect.Chain{Name: text(a[unix.NFTA_CHAIN_NAME]), Table: redirect.Filter, Live: &redirect.Live{Scope: scope, Families: of}}}
	d.chains = append(d.chains, c)
	// iptables-nft has chains that it only jumps to in the table of that name.
	if name := redirect.Table(scope[strings.LastIndex(scope, " ")+1:]); name == redirect.NAT || name == redirect.Mangle || name == redirect.Raw {
		c.Table = name
	}
	if a[unix.NFTA_CHAIN_HOOK] == nil || d.dormant[scope] {
		return nil
	}
	h, err := attributes(a[unix.NFTA_CHAIN_HOOK])
	if err != nil {
		return err
	}
	n := num(h[unix.NFTA_HOOK_HOOKNUM])
	if int(n) >= len(hookNames) { // NF_INET_INGRESS
		return d.ofDevice(a, scope)
	}
	c.Hook, c.Live.Priority = hookNames[n], int(int32(num(h[unix.NFTA_HOOK_PRIORITY])))
	c.Live.Drop = a[unix.NFTA_CHAIN_POLICY] != nil && num(a[unix.NFTA_CHAIN_POLICY]) == 0
	switch typ := text(a[unix.NFTA_CHAIN_TYPE]); {
	case typ == "nat":
		c.Table = redirect.NAT
	case c.Live.Priority <= -200:
		c.Table = redirect.Raw
	case typ == "route" || c.Live.Priority < 0:
		c.Table = redirect.Mangle
	default:
		c.Table = redirect.Filter
	}
	return nil
}

func (d *dump) rule(a map[uint16][]byte, scope string, family byte) error {
	name := text(a[unix.NFTA_RULE_CHAIN])
	for _, c := range d.chains {
		if c.Name != name || c.Live.Scope != scope {
			continue
		}
		m := &machine{family: family, sets: func(name string) *set { return d.sets[scope+" "+name] }}
		if err := m.run(a[unix.NFTA_RULE_EXPRESSIONS]); err != nil {
			return err
		}
		if why := userComment(a[unix.NFTA_RULE_USERDATA]); why != "" {
			m.why = why
		}
		for _, r := range m.rules() {
			c.Rules, c.Counts = append(c.Rules, r), append(c.Counts, m.count)
		}
		return nil
	}
	return errMoved
}

// userComment finds NFTNL_UDATA_RULE_COMMENT in a rule's user data.
func userComment(b []byte) string {
	for len(b) >= 2 && int(b[1]) <= len(b)-2 {
		if b[0] == 0 {
			return strings.TrimRight(string(b[2:2+b[1]]), "\x00")
		}
		b = b[2+b[1]:]
	}
	return ""
}

func attributes(b []byte) (map[uint16][]byte, error) {
	all := map[uint16][]byte{}
	for a, err := range netlink.Attrs(b) {
		if err != nil {
			return nil, err
		}
		all[a.Type] = a.Value
	}
	return all, nil
}

func text(b []byte) string { return strings.TrimRight(string(b), "\x00") }

// num is a number in network order, 0 where it is none.
func num(b []byte) uint32 {
	if len(b) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

func num64(b []byte) uint64 {
	if len(b) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}
