package nftables

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/detour-cni/detour/redirect"
)

func TestSetsAreDisjointIntervals(t *testing.T) {
	for _, tc := range []struct{ in, want, elements string }{
		{"10.0.0.1 10.0.0.3", "0a000001 0a000003", "0a000001 0a000003"},
		{"10.0.0.0/8 11.0.0.0/9", "0a000000-0b7fffff", "0a000000 0b800000!"},
		{"10.0.0.0/8 10.1.0.0/16 10.0.0.0/8", "0a000000-0affffff", "0a000000 0b000000!"},
		{"255.0.0.0/8 1.0.0.0/32", "01000000 ff000000-ffffffff", "01000000 01000001! ff000000"},
		{"0.0.0.0/1 192.0.0.0/2", "00000000-7fffffff c0000000-ffffffff", "00000000 80000000! c0000000"},
	} {
		var prefixes []netip.Prefix
		for word := range strings.FieldsSeq(tc.in) {
			p, err := redirect.ParsePrefix(word)
			if err != nil {
				t.Fatal(err)
			}
			prefixes = append(prefixes, p)
		}
		of := ofPrefixes(prefixes)
		var got []string
		for _, i := range of {
			if i.single() {
				got = append(got, hex.EncodeToString(i.first))
				continue
			}
			got = append(got, fmt.Sprintf("%x-%x", i.first, i.last))
		}
		if s := strings.Join(got, " "); s != tc.want {
			t.Errorf("%s: %s (want %s)", tc.in, s, tc.want)
		}
		var elements []string
		for _, e := range newSet(kindIPv4, of).elements() {
			elements = append(elements, hex.EncodeToString(e.key)+map[bool]string{true: "!"}[e.end])
		}
		if s := strings.Join(elements, " "); s != tc.elements {
			t.Errorf("%s: elements %s (want %s)", tc.in, s, tc.elements)
		}
	}
}

// Whatever the numbers are, a value is in an interval just when it is in a range.
func TestIntervalsHoldWhatTheRangesHold(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		ranges := randomRanges[uint16](r, 65535)
		of := ofNumbers(ranges)
		for range 50 {
			v := uint16(r.Uint32())
			in, held := false, false
			for _, x := range ranges {
				in = in || x.Contains(v)
			}
			for _, i := range of {
				n := network(v)
				held = held || string(i.first) <= string(n) && string(n) <= string(i.last)
			}
			if in != held {
				t.Fatalf("%d in %v: %v (want %v)", v, ranges, held, in)
			}
		}
		for i := 1; i < len(of); i++ {
			if reaches(of[i-1].last, of[i].first) {
				t.Fatalf("%v: intervals that touch", ranges)
			}
		}
	}
}

// The kernel and nft put elements of their own between intervals, in any order.
func TestWhatASetSaysDoesNotDependOnItsElements(t *testing.T) {
	of := ofNumbers([]redirect.PortRange{{First: 80, Last: 80}, {First: 8000, Last: 8010}, {First: 60000, Last: 65535}})
	const want = "{ 0050 1f40-1f4a ea60-ffff }"
	for range 20 {
		s := readSet{flags: 4, elements: []readElement{{key: []byte{0, 0}, end: true}}}
		for _, e := range newSet(kindPort, of).elements() {
			s.elements = append(s.elements, readElement{key: e.key, end: e.end})
		}
		rand.Shuffle(len(s.elements), func(i, j int) { s.elements[i], s.elements[j] = s.elements[j], s.elements[i] })
		if got := s.describe(); got != want {
			t.Fatalf("%s (want %s)", got, want)
		}
	}
}

// Two intervals that touch are somebody else's, and remain two.
func TestIntervalsThatTouchAreRead(t *testing.T) {
	s := readSet{flags: 4, elements: []readElement{
		{key: []byte{0, 81}}, {key: []byte{0, 83}, end: true}, {key: []byte{0, 80}}, {key: []byte{0, 81}, end: true},
	}}
	if got := s.describe(); got != "{ 0050 0051-0052 }" {
		t.Error(got)
	}
}
