package live

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/internal/netlink"
)

// machine runs a rule's expressions without a packet: what is loaded, what it is
// compared with, what is done (nft(8); linux/netfilter/nf_tables.h).
type machine struct {
	family  byte
	sets    func(string) *set
	regs    map[uint32]value
	match   redirect.Match
	targets []redirect.Target
	when    []redirect.Match // what was asked before each of them
	mapped  []redirect.Rule  // by a verdict map: one for each of its verdicts
	why     string
	count   Count
	// last is the expression before, if it compared: a second one narrows it, >= and <=.
	last struct {
		reg   uint32
		of    interval
		conds int
	}
}

// value is what is in a register: something of the packet, or a constant.
type value struct {
	from      string // "meta", "payload", "ct", "fib", "socket", "constant"
	key, base uint32
	length    uint32
	data      []byte
	mask      []byte
	network   bool // turned into network order
}

func (m *machine) run(expressions []byte) error {
	m.regs = map[uint32]value{}
	for e, err := range netlink.Attrs(expressions) {
		if err != nil {
			return err
		}
		x, err := attributes(e.Value)
		if err != nil {
			return err
		}
		d, err := attributes(x[unix.NFTA_EXPR_DATA])
		if err != nil {
			return err
		}
		if err := m.expression(text(x[unix.NFTA_EXPR_NAME]), d); err != nil {
			return err
		}
	}
	return nil
}

// reg gives a register its number in words of 32 bits: 1 to 4 are names for four of those.
func reg(b []byte) uint32 {
	n := num(b)
	if n >= 1 && n <= 4 {
		return 8 + (n-1)*4
	}
	return n
}

func (m *machine) expression(name string, d map[uint16][]byte) error {
	if name != "cmp" { // the register may be another value by then
		m.last.of = interval{}
	}
	switch name {
	case "counter":
		m.count = Count{num64(d[unix.NFTA_COUNTER_PACKETS]), num64(d[unix.NFTA_COUNTER_BYTES]), true}
	case "meta", "ct":
		m.key(name, d)
	case "payload":
		m.payload(d)
	case "fib":
		m.regs[reg(d[unix.NFTA_FIB_DREG])] = value{from: name, key: num(d[unix.NFTA_FIB_RESULT]), base: num(d[unix.NFTA_FIB_FLAGS])}
	case "socket":
		m.regs[reg(d[2])] = value{from: name, key: num(d[1])} // NFTA_SOCKET_DREG, NFTA_SOCKET_KEY
	case "bitwise":
		return m.bitwise(d)
	case "byteorder":
		v := m.regs[reg(d[unix.NFTA_BYTEORDER_SREG])]
		v.network = true
		m.regs[reg(d[unix.NFTA_BYTEORDER_DREG])] = v
	case "cmp":
		return m.compare(d)
	case "range":
		return m.between(d)
	case "lookup":
		m.lookup(d)
	case "immediate":
		return m.immediate(d)
	case "match", "target":
		m.xt(name, d)
	default:
		m.effect(name, d)
	}
	return nil
}

// payload loads bytes of the packet, or writes them.
func (m *machine) payload(d map[uint16][]byte) {
	v := value{from: "payload", base: num(d[unix.NFTA_PAYLOAD_BASE]), key: num(d[unix.NFTA_PAYLOAD_OFFSET]), length: num(d[unix.NFTA_PAYLOAD_LEN])}
	switch {
	case d[unix.NFTA_PAYLOAD_SREG] == nil:
		m.regs[reg(d[unix.NFTA_PAYLOAD_DREG])] = v
	case v.base == unix.NFT_PAYLOAD_NETWORK_HEADER && v.key+v.length <= 4: // in both families; DSCP is there
		m.does(redirect.Aside{Text: "sets the type of service"})
	default:
		m.does(redirect.OpaqueTarget{Text: "rewrites the packet"})
	}
}

// key loads a key of the packet's or its connection's, or sets it.
func (m *machine) key(name string, d map[uint16][]byte) {
	// NFTA_META_DREG and NFTA_CT_DREG are 1, the keys 2; NFTA_META_SREG is 3, NFTA_CT_SREG 4.
	key := num(d[2])
	sreg := d[map[string]uint16{"meta": unix.NFTA_META_SREG, "ct": unix.NFTA_CT_SREG}[name]]
	if sreg == nil {
		m.regs[reg(d[1])] = value{from: name, key: key}
		return
	}
	from := m.regs[reg(sreg)]
	switch {
	case name == "meta" && key == unix.NFT_META_MARK && from.from == "constant" && len(from.data) == 4:
		m.does(redirect.SetMark{Value: binary.NativeEndian.Uint32(from.data)})
	case name == "meta" && key == unix.NFT_META_MARK && from.is("ct", unix.NFT_CT_MARK):
		m.does(redirect.RestoreMark{})
	case name == "ct" && key == unix.NFT_CT_MARK && from.is("meta", unix.NFT_META_MARK):
		m.does(redirect.SaveMark{})
	case name == "ct" && key == unix.NFT_CT_ZONE && from.from == "constant" && len(from.data) >= 2:
		m.does(redirect.CTZone{Zone: binary.NativeEndian.Uint16(from.data)})
	case name == "meta" && key != unix.NFT_META_MARK:
		m.does(redirect.Aside{Text: fmt.Sprintf("sets meta key %d", key)})
	default:
		m.does(redirect.OpaqueTarget{Text: fmt.Sprintf("sets %s key %d", name, key)})
	}
}

func (v value) is(from string, key uint32) bool {
	return v.from == from && v.key == key && v.mask == nil
}

func (m *machine) bitwise(d map[uint16][]byte) error {
	v := m.regs[reg(d[unix.NFTA_BITWISE_SREG])]
	mask, err := attributes(d[unix.NFTA_BITWISE_MASK])
	if err != nil {
		return err
	}
	xor, err := attributes(d[unix.NFTA_BITWISE_XOR])
	if err != nil {
		return err
	}
	v.mask = mask[unix.NFTA_DATA_VALUE]
	if v.mask == nil || v.data != nil || slices.ContainsFunc(xor[unix.NFTA_DATA_VALUE], func(b byte) bool { return b != 0 }) {
		v = value{from: "computed"}
	}
	m.regs[reg(d[unix.NFTA_BITWISE_DREG])] = v
	return nil
}

func (m *machine) compare(d map[uint16][]byte) error {
	a, err := attributes(d[unix.NFTA_CMP_DATA])
	if err != nil {
		return err
	}
	data := a[unix.NFTA_DATA_VALUE]
	if len(data) == 0 {
		m.opaque("a comparison without a value")
		return nil
	}
	sreg := reg(d[unix.NFTA_CMP_SREG])
	lowest, highest := make([]byte, len(data)), bytes.Repeat([]byte{0xff}, len(data))
	of := interval{data, data}
	switch num(d[unix.NFTA_CMP_OP]) {
	case unix.NFT_CMP_EQ:
		m.among(sreg, []interval{of}, false)
		return nil
	case unix.NFT_CMP_NEQ:
		m.among(sreg, []interval{of}, true)
		return nil
	case unix.NFT_CMP_GTE:
		of.last = highest
	case unix.NFT_CMP_GT:
		of = interval{step(data, 1), highest}
	case unix.NFT_CMP_LTE:
		of.first = lowest
	case unix.NFT_CMP_LT:
		of = interval{lowest, step(data, -1)}
	}
	if m.last.of.first != nil && m.last.reg == sreg && m.last.conds == len(m.match) && len(m.match) > 0 && len(m.last.of.first) == len(data) {
		of = interval{slices.MaxFunc([][]byte{of.first, m.last.of.first}, bytes.Compare), slices.MinFunc([][]byte{of.last, m.last.of.last}, bytes.Compare)}
		m.match = m.match[:len(m.match)-1]
	}
	m.among(sreg, []interval{of}, false)
	m.last.reg, m.last.of, m.last.conds = sreg, of, len(m.match)
	return nil
}

func (m *machine) between(d map[uint16][]byte) error {
	from, err := attributes(d[unix.NFTA_RANGE_FROM_DATA])
	if err != nil {
		return err
	}
	to, err := attributes(d[unix.NFTA_RANGE_TO_DATA])
	if err != nil {
		return err
	}
	m.among(reg(d[unix.NFTA_RANGE_SREG]), []interval{{from[unix.NFTA_DATA_VALUE], to[unix.NFTA_DATA_VALUE]}}, num(d[unix.NFTA_RANGE_OP]) == unix.NFT_RANGE_NEQ)
	return nil
}

func (m *machine) lookup(d map[uint16][]byte) {
	name := text(d[unix.NFTA_LOOKUP_SET])
	of, ok := m.sets(name).values()
	switch {
	case d[unix.NFTA_LOOKUP_DREG] != nil && reg(d[unix.NFTA_LOOKUP_DREG]) == unix.NFT_REG_VERDICT:
		m.verdicts(reg(d[unix.NFTA_LOOKUP_SREG]), name)
	case d[unix.NFTA_LOOKUP_DREG] != nil:
		m.regs[reg(d[unix.NFTA_LOOKUP_DREG])] = value{from: "computed"}
	case !ok:
		m.opaque("in set " + name)
	default:
		m.among(reg(d[unix.NFTA_LOOKUP_SREG]), of, num(d[unix.NFTA_LOOKUP_FLAGS])&unix.NFT_LOOKUP_F_INV != 0)
	}
}

// verdicts makes a rule of each of a map's verdicts: no packet has two of its values.
func (m *machine) verdicts(sreg uint32, name string) {
	all, ok := m.sets(name).verdicts()
	if !ok || len(m.targets) > 0 {
		m.does(redirect.OpaqueTarget{Text: "verdict of map " + name})
		return
	}
	before := slices.Clone(m.match)
	for _, b := range all {
		m.match = slices.Clone(before)
		m.among(sreg, []interval{b.of}, false)
		m.mapped = append(m.mapped, redirect.Rule{Match: m.match, Target: b.does})
	}
	m.match = before
}

func (m *machine) opaque(text string) {
	m.match = append(m.match, redirect.Opaque{Text: text})
}

// does keeps with a target what was asked before it. A mark that an earlier target of the
// rule has set since is no longer the one that was asked for.
func (m *machine) does(t redirect.Target) {
	when := slices.Clone(m.match)
	for i, c := range when {
		if slices.ContainsFunc(m.targets, func(t redirect.Target) bool { return changes(t, c) }) {
			when[i] = redirect.Opaque{Text: "the mark before this rule set it"}
		}
	}
	m.targets, m.when = append(m.targets, t), append(m.when, when)
}

// changes reports whether a condition may hold no longer once the target is done.
func changes(t redirect.Target, c redirect.Cond) bool {
	if n, ok := c.(redirect.Not); ok {
		c = n.Cond
	}
	switch t := t.(type) {
	case redirect.SetMark:
		mark, ok := c.(redirect.Mark)
		return ok && mark.Value != t.Value
	case redirect.RestoreMark:
		_, ok := c.(redirect.Mark)
		return ok
	case redirect.SaveMark:
		_, ok := c.(redirect.ConnMark)
		return ok
	}
	return false
}

// among compares a register with values.
func (m *machine) among(sreg uint32, of []interval, neg bool) {
	v := m.regs[sreg]
	c := m.cond(v, of)
	if c == nil {
		c = redirect.Opaque{Text: describe(v, of)}
	}
	if n, twice := c.(redirect.Not); neg && twice {
		c = n.Cond
	} else if _, opaque := c.(redirect.Opaque); neg && !opaque {
		c = redirect.Not{Cond: c}
	} else if neg {
		c = redirect.Opaque{Text: "not " + describe(v, of)}
	}
	m.match = append(m.match, c)
}

func describe(v value, of []interval) string {
	s := fmt.Sprintf("%s key %d", v.from, v.key)
	if v.mask != nil {
		s += " & 0x" + hex.EncodeToString(v.mask)
	}
	if len(of) == 1 && bytes.Equal(of[0].first, of[0].last) {
		return s + " == 0x" + hex.EncodeToString(of[0].first)
	}
	return fmt.Sprintf("%s in %d ranges", s, len(of))
}

// rules gives the rule, or one for each thing that it does.
func (m *machine) rules() []redirect.Rule {
	all := m.mapped
	for i := range all {
		all[i].Why = reason(m.why)
	}
	if len(all)+len(m.targets) == 0 {
		return []redirect.Rule{{Match: tidy(m.match), Why: reason(m.why)}}
	}
	// tproxy, mark, accept is one thing.
	if len(m.targets) == 3 {
		t, ok1 := m.targets[0].(redirect.TProxyTo)
		mark, ok2 := m.targets[1].(redirect.SetMark)
		if _, ok3 := m.targets[2].(redirect.Accept); ok1 && ok2 && ok3 {
			t.Mark = mark.Value
			m.targets = []redirect.Target{t}
		}
	}
	for i, t := range m.targets {
		all = append(all, redirect.Rule{Match: tidy(m.when[i]), Target: t, Why: reason(m.why)})
	}
	return all
}

// tidy leaves out what only says the family where an address says it too.
func tidy(match redirect.Match) redirect.Match {
	addresses := 0
	whole := func(c redirect.Cond) bool {
		d, ok := c.(redirect.Dst)
		return ok && len(d.Prefixes) == 1 && d.Prefixes[0].Bits() == 0
	}
	for _, c := range match {
		switch c := c.(type) {
		case redirect.Src, redirect.Dst:
			if !whole(c) {
				addresses++
			}
		}
	}
	if addresses > 0 {
		match = slices.DeleteFunc(match, whole)
	}
	return match
}

// isV6 says which family the rule's packets are of; ok is false where it may be either.
func (m *machine) isV6() (v6, ok bool) {
	switch m.family {
	case unix.NFPROTO_IPV4:
		return false, true
	case unix.NFPROTO_IPV6:
		return true, true
	}
	for _, c := range m.match {
		if d, is := c.(redirect.Dst); is && len(d.Prefixes) > 0 {
			return d.Prefixes[0].Addr().Is6(), true
		}
	}
	return false, false
}

func anyAddr(v6 bool) netip.Prefix {
	if v6 {
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
}
