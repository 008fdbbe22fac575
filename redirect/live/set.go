package live

import (
	"bytes"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/internal/netlink"
)

// set is a set of nf_tables.
type set struct {
	family      byte
	table, name string
	flags       uint32
	elements    []element
	odd         bool // has what values do not say: maps to anything but a verdict, timeouts, concatenations
}

type element struct {
	key  []byte
	end  bool
	does redirect.Target // of a verdict map
}

// interval is values from first to last, in the order of their bytes.
type interval struct{ first, last []byte }

// branch is what a verdict map does with the values of an interval.
type branch struct {
	of   interval
	does redirect.Target
}

func (s *set) add(list []byte) error {
	for e, err := range netlink.Attrs(list) {
		if err != nil {
			return err
		}
		a, err := attributes(e.Value)
		if err != nil {
			return err
		}
		key, err := attributes(a[unix.NFTA_SET_ELEM_KEY])
		if err != nil {
			return err
		}
		does, err := verdictIn(a[unix.NFTA_SET_ELEM_DATA])
		if err != nil {
			return err
		}
		flags := num(a[unix.NFTA_SET_ELEM_FLAGS])
		decides, err := decidesBesides(a)
		if err != nil {
			return err
		}
		// 10 is NFTA_SET_ELEM_KEY_END.
		s.odd = s.odd || a[unix.NFTA_SET_ELEM_DATA] != nil && does == nil || a[10] != nil || decides || flags&^unix.NFT_SET_ELEM_INTERVAL_END != 0
		s.elements = append(s.elements, element{slices.Clone(key[unix.NFTA_DATA_VALUE]), flags&unix.NFT_SET_ELEM_INTERVAL_END != 0, does})
	}
	return nil
}

// decidesBesides reports whether an element holds only for some of the packets with its
// value: it has a limit or a quota of its own. A counter lets all of them.
func decidesBesides(element map[uint16][]byte) (bool, error) {
	one, list := element[unix.NFTA_SET_ELEM_EXPR], element[11] // NFTA_SET_ELEM_EXPRESSIONS
	if one == nil && list == nil {
		return false, nil
	}
	x, err := attributes(one)
	if err != nil {
		return false, err
	}
	return list != nil || text(x[unix.NFTA_EXPR_NAME]) != "counter", nil
}

// verdictIn gives the verdict of an element's data; nil for none.
func verdictIn(data []byte) (redirect.Target, error) {
	d, err := attributes(data)
	if err != nil || d[unix.NFTA_DATA_VERDICT] == nil {
		return nil, err
	}
	v, err := attributes(d[unix.NFTA_DATA_VERDICT])
	return verdictOf(int32(num(v[unix.NFTA_VERDICT_CODE])), text(v[unix.NFTA_VERDICT_CHAIN])), err
}

// values gives what is in the set; false where that cannot be said.
func (s *set) values() (all []interval, ok bool) {
	for _, b := range s.branches() {
		all = append(all, b.of)
	}
	return all, s != nil && !s.odd && s.flags&unix.NFT_SET_MAP == 0
}

// verdicts gives what a verdict map does; false where that cannot be said.
func (s *set) verdicts() ([]branch, bool) {
	return s.branches(), s != nil && !s.odd && s.flags&unix.NFT_SET_MAP != 0
}

func (s *set) branches() []branch {
	if s == nil {
		return nil
	}
	slices.SortFunc(s.elements, func(a, b element) int {
		if c := bytes.Compare(a.key, b.key); c != 0 || a.end == b.end {
			return c
		}
		return map[bool]int{true: -1, false: 1}[a.end]
	})
	var all []branch
	for i, e := range s.elements {
		switch {
		case e.end:
		case s.flags&unix.NFT_SET_INTERVAL == 0:
			all = append(all, branch{interval{e.key, e.key}, e.does})
		case i+1 < len(s.elements):
			all = append(all, branch{interval{e.key, step(s.elements[i+1].key, -1)}, e.does})
		default:
			all = append(all, branch{interval{e.key, bytes.Repeat([]byte{0xff}, len(e.key))}, e.does})
		}
	}
	return all
}

// step gives the number after v, or before it.
func step(v []byte, by int) []byte {
	n := slices.Clone(v)
	for i := len(n) - 1; i >= 0; i-- {
		n[i] += byte(by)
		if by > 0 && n[i] != 0 || by < 0 && n[i] != 0xff {
			break
		}
	}
	return n
}
