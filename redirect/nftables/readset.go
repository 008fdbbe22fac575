package nftables

import (
	"bytes"
	"encoding/hex"
	"slices"
	"sort"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect/internal/netlink"
)

// readElement is an element as read. More is what ours never have: data,
// timeouts, expressions.
type readElement struct {
	key  []byte
	end  bool
	more string
}

// setKey is what a set is known by: its number in a batch, else its name.
func setKey(id, name []byte) string {
	if id != nil {
		return "#" + strconv.Itoa(int(uint32Of(id)))
	}
	return text(name)
}

func (r *reader) set(a *attributes) {
	if r.sets == nil {
		r.sets = map[string]*readSet{}
	}
	r.sets[setKey(a[unix.NFTA_SET_ID], a[unix.NFTA_SET_NAME])] = &readSet{
		name: text(a[unix.NFTA_SET_NAME]), flags: uint32Of(a[unix.NFTA_SET_FLAGS]),
	}
}

// leastElement is how many bytes an element has at least: three headers and a port.
const leastElement = 3*unix.SizeofRtAttr + 4

func (r *reader) elements(a *attributes) error {
	s := r.sets[setKey(a[unix.NFTA_SET_ELEM_LIST_SET_ID], a[unix.NFTA_SET_ELEM_LIST_SET])]
	if s == nil {
		return errMoved
	}
	list := a[unix.NFTA_SET_ELEM_LIST_ELEMENTS]
	if r.gen != 0 {
		list = slices.Clone(list) // of a dump: the next receive writes over it
	}
	s.elements = slices.Grow(s.elements, len(list)/leastElement)
	for el, err := range netlink.Attrs(list) {
		if err != nil {
			return err
		}
		read, err := readElementOf(el.Value)
		if err != nil {
			return err
		}
		s.elements = append(s.elements, read)
	}
	return nil
}

func readElementOf(b []byte) (readElement, error) {
	var e readElement
	for a, err := range netlink.Attrs(b) {
		if err != nil {
			return e, err
		}
		switch a.Type {
		case unix.NFTA_SET_ELEM_KEY:
			for v, err := range netlink.Attrs(a.Value) {
				if err != nil {
					return e, err
				}
				e.key = v.Value
			}
		case unix.NFTA_SET_ELEM_FLAGS:
			e.end = uint32Of(a.Value)&unix.NFT_SET_ELEM_INTERVAL_END != 0
		case unix.NFTA_SET_ELEM_USERDATA, unix.NFTA_SET_ELEM_PAD: // nft's own notes
		default:
			e.more += " attr" + strconv.Itoa(int(a.Type)) + "=" + hex.EncodeToString(a.Value)
		}
	}
	return e, nil
}

// describe gives a set's values: sorted, intervals as "first-last" whatever
// elements the kernel or nft adds between them.
func (s *readSet) describe() string {
	if s.text != "" {
		return s.text
	}
	sort.Slice(s.elements, func(i, j int) bool {
		a, b := &s.elements[i], &s.elements[j]
		c := bytes.Compare(a.key, b.key)
		return c < 0 || c == 0 && a.end && !b.end
	})
	b := make([]byte, 0, 4+len(s.elements)*10)
	b = append(b, '{')
	if s.flags&unix.NFT_SET_INTERVAL == 0 {
		b = appendValues(b, s.elements)
	} else {
		b = appendIntervals(b, s.elements)
	}
	s.text = string(append(b, " }"...))
	return s.text
}

func appendValues(b []byte, elements []readElement) []byte {
	for _, e := range elements {
		b = hex.AppendEncode(append(b, ' '), e.key)
		b = append(b, e.more...)
	}
	return b
}

func appendIntervals(b []byte, elements []readElement) []byte {
	var room [16]byte
	for i, e := range elements {
		if e.end {
			continue
		}
		b = hex.AppendEncode(append(b, ' '), e.key)
		last := room[:0]
		if i+1 < len(elements) {
			last = before(last, elements[i+1].key)
		} else {
			last = append(last, bytes.Repeat([]byte{0xff}, len(e.key))...)
		}
		if !bytes.Equal(e.key, last) {
			b = hex.AppendEncode(append(b, '-'), last)
		}
		b = append(b, e.more...)
	}
	return b
}

// before puts the number before v, which is not 0, into room.
func before(room, v []byte) []byte {
	n := append(room, v...)
	for i := len(n) - 1; i >= 0; i-- {
		n[i]--
		if n[i] != 0xff {
			break
		}
	}
	return n
}
