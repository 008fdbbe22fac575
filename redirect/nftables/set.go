package nftables

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"sort"

	"github.com/detour-cni/detour/redirect"
)

// set is an anonymous set. Where every interval is one value it is a plain set
// of values, which is faster to look up; nft does the same.
type set struct {
	kind      kind
	intervals []interval
	plain     bool
}

// kind is what a set's keys are: the number nft knows the type by (enum
// datatypes, include/datatype.h), which it needs to print them, and their length.
type kind struct {
	typ, size uint32
	hostOrder bool
}

var (
	kindIPv4 = kind{typ: 7, size: 4}
	kindIPv6 = kind{typ: 8, size: 16}
	kindPort = kind{typ: 13, size: 2}
	kindUID  = kind{typ: 24, size: 4, hostOrder: true}
	kindGID  = kind{typ: 25, size: 4, hostOrder: true}
)

// interval is first to last, both included, in network order.
type interval struct{ first, last []byte }

func (i interval) single() bool { return bytes.Equal(i.first, i.last) }

// appendNext appends the number after v; false where v is the last one.
func appendNext(b, v []byte) ([]byte, bool) {
	b = append(b, v...)
	for i := len(b) - 1; i >= len(b)-len(v); i-- {
		if b[i]++; b[i] != 0 {
			return b, true
		}
	}
	return b[:len(b)-len(v)], false
}

// ofPrefixes gives disjoint intervals that do not touch, of one family. All
// their bytes are in one slice: lists of thousands come by here in every ADD.
func ofPrefixes(prefixes []netip.Prefix) []interval {
	all := make([]interval, 0, len(prefixes))
	buf := make([]byte, 0, 2*len(prefixes)*prefixes[0].Addr().BitLen()/8)
	for _, p := range prefixes {
		at := len(buf)
		buf = appendAddr(buf, p.Masked().Addr())
		mid := len(buf)
		buf = append(buf, buf[at:]...)
		setHostBits(buf[mid:], p.Bits())
		all = append(all, interval{buf[at:mid:mid], buf[mid:len(buf):len(buf)]})
	}
	return join(all)
}

func appendAddr(b []byte, a netip.Addr) []byte {
	if a.Is4() {
		v := a.As4()
		return append(b, v[:]...)
	}
	v := a.As16()
	return append(b, v[:]...)
}

// setHostBits makes the first address of a prefix its last.
func setHostBits(a []byte, bits int) {
	for i := bits / 8; i < len(a); i++ {
		a[i] |= 0xff >> max(0, bits-8*i)
	}
}

// ofNumbers does the same for ports and ids.
func ofNumbers[T ~uint16 | ~uint32](ranges []redirect.Range[T]) []interval {
	all := make([]interval, 0, len(ranges))
	for _, r := range ranges {
		all = append(all, interval{network(r.First), network(r.Last)})
	}
	return join(all)
}

// network gives a number in network order, as long as its type.
func network[T ~uint16 | ~uint32](n T) []byte {
	b := network32(uint32(n))
	if ^T(0) == T(0xffff) {
		return b[2:]
	}
	return b
}

// join sorts intervals and puts those together that overlap or touch: to the
// kernel overlaps are EEXIST.
func join(all []interval) []interval {
	sort.Slice(all, func(i, j int) bool { return bytes.Compare(all[i].first, all[j].first) < 0 })
	joined := all[:0]
	for _, i := range all {
		if n := len(joined); n > 0 && reaches(joined[n-1].last, i.first) {
			if last := &joined[n-1]; bytes.Compare(i.last, last.last) > 0 {
				last.last = i.last
			}
			continue
		}
		joined = append(joined, i)
	}
	return joined
}

// reaches reports whether there is no number between an interval's last and
// another's first.
func reaches(last, first []byte) bool {
	var room [16]byte
	after, ok := appendNext(room[:0], last)
	return !ok || bytes.Compare(first, after) <= 0
}

// newSet makes a set of two intervals or more.
func newSet(k kind, intervals []interval) *set {
	ranges := func(i interval) bool { return !i.single() }
	return &set{kind: k, intervals: intervals, plain: !slices.ContainsFunc(intervals, ranges)}
}

// element is one element as the kernel keeps it.
type element struct {
	key []byte
	end bool // the interval before it ends here, this key not included
}

// elements gives a set's, in order. An interval that reaches the end of the
// key space has no end.
func (s *set) elements() []element {
	all := make([]element, 0, 2*len(s.intervals))
	ends := make([]byte, 0, len(s.intervals)*int(s.kind.size))
	for _, i := range s.intervals {
		if s.plain {
			all = append(all, element{key: s.plainKey(i.first)})
			continue
		}
		all = append(all, element{key: i.first})
		at, more := len(ends), false
		if ends, more = appendNext(ends, i.last); more {
			all = append(all, element{ends[at:len(ends):len(ends)], true})
		}
	}
	return all
}

// plainKey is a value as the register has it when nothing turned it round.
func (s *set) plainKey(v []byte) []byte {
	if s.kind.hostOrder {
		return native32(binary.BigEndian.Uint32(v))
	}
	return v
}
