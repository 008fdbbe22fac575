package redirect

import (
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"strings"
)

// ParsePrefix reads an IPv4 or IPv6 prefix, or a bare address as the prefix of
// just itself. Host bits are cleared, as iptables and nft do.
func ParsePrefix(text string) (netip.Prefix, error) {
	const want = "want an IPv4 or IPv6 prefix like 10.0.0.0/8 or fd00::/8"
	if !strings.Contains(text, "/") {
		a, err := ParseAddr(text)
		if err != nil {
			return netip.Prefix{}, fmt.Errorf("%s: not a prefix (%s)", quote(text), want)
		}
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%s: not a prefix (%s)", quote(text), want)
	}
	if p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%s: an IPv4-mapped IPv6 prefix never matches a packet (want it as IPv4)", quote(text))
	}
	return p.Masked(), nil
}

// ParseAddr reads an IPv4 or IPv6 address without a zone.
func ParseAddr(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	switch {
	case err != nil:
		return a, fmt.Errorf("%s: not an address (want IPv4 or IPv6)", quote(text))
	case a.Is4In6():
		return a, fmt.Errorf("%s: an IPv4-mapped IPv6 address never matches a packet (want it as IPv4)", quote(text))
	case a.Zone() != "":
		return a, fmt.Errorf("%s: an address with a zone (want it without)", quote(text))
	}
	return a, nil
}

// MergePrefixes sorts prefixes, drops those that lie inside another, and joins
// two halves into their whole: what is left is disjoint and as short as can be.
func MergePrefixes(prefixes []netip.Prefix) []netip.Prefix {
	sorted := slices.Clone(prefixes)
	sort.Slice(sorted, func(i, j int) bool {
		c := sorted[i].Addr().Compare(sorted[j].Addr())
		return c < 0 || c == 0 && sorted[i].Bits() < sorted[j].Bits()
	})
	var merged []netip.Prefix
	for _, p := range sorted {
		if n := len(merged); n > 0 && merged[n-1].Contains(p.Addr()) {
			continue // sorted: a prefix that holds p comes before it
		}
		merged = append(merged, p)
		for n := len(merged); n > 1; n = len(merged) {
			whole, ok := join(merged[n-2], merged[n-1])
			if !ok {
				break
			}
			merged = append(merged[:n-2], whole)
		}
	}
	return merged
}

// join gives the prefix of which a and b are the two halves.
func join(a, b netip.Prefix) (netip.Prefix, bool) {
	if a.Bits() != b.Bits() || a.Bits() == 0 || a.Addr().Is4() != b.Addr().Is4() {
		return netip.Prefix{}, false
	}
	whole := netip.PrefixFrom(a.Addr(), a.Bits()-1).Masked()
	return whole, whole.Addr() == a.Addr() && whole.Contains(b.Addr())
}

// FamilyOf gives the prefixes of one address family.
func FamilyOf(prefixes []netip.Prefix, v4 bool) []netip.Prefix {
	var of []netip.Prefix
	for _, p := range prefixes {
		if p.Addr().Is4() == v4 {
			of = append(of, p)
		}
	}
	return of
}

func containsAddr(prefixes []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}
