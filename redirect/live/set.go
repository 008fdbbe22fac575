package live

import (
	"bytes"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect/internal/netlink"
)

// set is a set of nf_tables.
type set struct {
	family      byte
	table, name string
	flags       uint32
	elements    []element
	odd         bool // has what values do not say: maps, timeouts, concatenations
}

type element struct {
	key []byte
	end bool
}

// interval is values from first to last, in the order of their bytes.
type interval struct{ first, last []byte }

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
		flags := num(a[unix.NFTA_SET_ELEM_FLAGS])
		// 10 is NFTA_SET_ELEM_KEY_END.
		s.odd = s.odd || a[unix.NFTA_SET_ELEM_DATA] != nil || a[10] != nil || flags&^unix.NFT_SET_ELEM_INTERVAL_END != 0
		s.elements = append(s.elements, element{slices.Clone(key[unix.NFTA_DATA_VALUE]), flags&unix.NFT_SET_ELEM_INTERVAL_END != 0})
	}
	return nil
}

// values gives what is in the set; false where that cannot be said.
func (s *set) values() ([]interval, bool) {
	if s == nil || s.odd || s.flags&unix.NFT_SET_MAP != 0 {
		return nil, false
	}
	slices.SortFunc(s.elements, func(a, b element) int {
		if c := bytes.Compare(a.key, b.key); c != 0 || a.end == b.end {
			return c
		}
		return map[bool]int{true: -1, false: 1}[a.end]
	})
	var all []interval
	for i, e := range s.elements {
		switch {
		case e.end:
		case s.flags&unix.NFT_SET_INTERVAL == 0:
			all = append(all, interval{e.key, e.key})
		case i+1 < len(s.elements):
			all = append(all, interval{e.key, step(s.elements[i+1].key, -1)})
		default:
			all = append(all, interval{e.key, bytes.Repeat([]byte{0xff}, len(e.key))})
		}
	}
	return all, true
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
