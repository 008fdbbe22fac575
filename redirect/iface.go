package redirect

import (
	"fmt"
	"strings"
)

// maxIface is the longest interface name in bytes: IFNAMSIZ less its NUL (linux/if.h).
const maxIface = 15

// Iface is the name of a network interface, or with a final "+" every interface
// whose name starts so (iptables(8), -i).
type Iface string

// ParseIface reads an interface name as the kernel's dev_valid_name takes it.
func ParseIface(text string) (Iface, error) {
	name := strings.TrimSuffix(text, "+")
	odd := func(c rune) bool { return c == '/' || c == ':' || c <= ' ' || c >= 0x7f }
	switch {
	case name == "":
		return "", fmt.Errorf("%s: not an interface name (want one like eth0, or a prefix like br+)", quote(text))
	case len(text) > maxIface:
		return "", fmt.Errorf("%s: an interface name of %d bytes (want at most %d)", quote(text), len(text), maxIface)
	case name == "." || name == ".." || strings.ContainsFunc(name, odd):
		return "", fmt.Errorf("%s: not an interface name (want no slash, colon, space or control character)", quote(text))
	}
	return Iface(text), nil
}

// Matches reports whether name is the interface, or starts with the prefix.
func (i Iface) Matches(name string) bool {
	if prefix, ok := strings.CutSuffix(string(i), "+"); ok {
		return strings.HasPrefix(name, prefix)
	}
	return string(i) == name
}
