package redirect

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// Range is an inclusive range of ports or of owner ids.
type Range[T ~uint16 | ~uint32] struct{ First, Last T }

// PortRange is a range of TCP or UDP ports, both ends included, 1 to 65535.
type PortRange = Range[uint16]

// IDRange is a range of uids or gids, both ends included, as the pod's own user
// namespace numbers them. 0 is an id like any other.
type IDRange = Range[uint32]

// maxID is the largest usable uid or gid: 2^32-1 is "no id" to the kernel (setuid(2)).
const maxID = 1<<32 - 2

// Contains reports whether v lies in the range.
func (r Range[T]) Contains(v T) bool { return r.First <= v && v <= r.Last }

// String gives "80" or "8000-8010".
func (r Range[T]) String() string {
	if r.First == r.Last {
		return strconv.FormatUint(uint64(r.First), 10)
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// number reads decimal digits, and nothing else. What does not fit is the largest number.
func number(text string) (n uint64, ok bool) {
	if text == "" || strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	n, _ = strconv.ParseUint(text, 10, 64) // of digits it can only be out of range
	return n, true
}

// ParsePort reads one port, 1 to 65535.
func ParsePort(text string) (uint16, error) {
	n, ok := number(text)
	if !ok {
		return 0, fmt.Errorf("%s: not a port (want 1-65535)", quote(text))
	}
	if n < 1 || n > 65535 {
		return 0, fmt.Errorf("%s is not a port (want 1-65535)", clip(text))
	}
	return uint16(n), nil
}

// ParsePortRange reads "80" or "8000-8010".
func ParsePortRange(text string) (PortRange, error) { return parseRange(text, ParsePort) }

// ParseID reads one numeric uid or gid. Names are refused: they would be looked
// up on the node, and mean another user in the pod.
func ParseID(text string) (uint32, error) {
	n, ok := number(text)
	if !ok {
		return 0, fmt.Errorf("%s: not a numeric id (want 0-%d)", quote(text), uint32(maxID))
	}
	if n > maxID {
		return 0, fmt.Errorf("%s is not an id (want 0-%d)", clip(text), uint32(maxID))
	}
	return uint32(n), nil
}

// ParseIDRange reads "1337" or "1000-1999".
func ParseIDRange(text string) (IDRange, error) { return parseRange(text, ParseID) }

func parseRange[T ~uint16 | ~uint32](text string, parse func(string) (T, error)) (Range[T], error) {
	first, last, isRange := strings.Cut(text, "-")
	if !isRange || first == "" { // "-1" is a bad number, not a range
		v, err := parse(text)
		return Range[T]{v, v}, err
	}
	a, err := parse(first)
	if err != nil {
		return Range[T]{}, fmt.Errorf("%s: %w", quote(text), err)
	}
	b, err := parse(last)
	if err != nil {
		return Range[T]{}, fmt.Errorf("%s: %w", quote(text), err)
	}
	if b < a {
		return Range[T]{}, fmt.Errorf("%s: the range ends before it starts (want first-last)", quote(text))
	}
	return Range[T]{a, b}, nil
}

// Merge sorts ranges and joins those that overlap or touch, so that no two have
// a value in common: overlaps are EEXIST to an nftables interval set.
func Merge[T ~uint16 | ~uint32](ranges []Range[T]) []Range[T] {
	sorted := slices.Clone(ranges)
	// Not slices.Sort…, here and in the backends: each type that it sorts is 12 KB of plugin.
	sort.Slice(sorted, func(i, j int) bool { return sorted[i].First < sorted[j].First })
	var merged []Range[T]
	for _, r := range sorted {
		last := len(merged) - 1
		if last >= 0 && uint64(r.First) <= uint64(merged[last].Last)+1 {
			merged[last].Last = max(merged[last].Last, r.Last)
			continue
		}
		merged = append(merged, r)
	}
	return merged
}

func contains[T ~uint16 | ~uint32](ranges []Range[T], v T) bool {
	return slices.ContainsFunc(ranges, func(r Range[T]) bool { return r.Contains(v) })
}

// without takes the values of cut out of ranges, in one pass over both.
func without[T ~uint16 | ~uint32](ranges, cut []Range[T]) []Range[T] {
	cut = Merge(cut)
	var left []Range[T]
	for _, r := range Merge(ranges) {
		for len(cut) > 0 && cut[0].Last < r.First {
			cut = cut[1:]
		}
		whole := true // is the rest of r still to be kept
		for _, c := range cut {
			if c.First > r.Last {
				break
			}
			if r.First < c.First {
				left = append(left, Range[T]{r.First, c.First - 1})
			}
			if whole = c.Last < r.Last; !whole {
				break
			}
			r.First = c.Last + 1
		}
		if whole {
			left = append(left, r)
		}
	}
	return left
}

// maxQuoted is how many bytes of a bad value an error repeats.
const maxQuoted = 64

func clip(s string) string {
	if len(s) <= maxQuoted {
		return s
	}
	return s[:maxQuoted] + "…"
}

// quote is %q for values from outside, cut where they are long: a pod's event
// text has no room for a megabyte.
func quote(s string) string { return strconv.Quote(clip(s)) }
