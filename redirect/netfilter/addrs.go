package netfilter

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/detour-cni/detour/redirect/internal/procnet"
)

// addr6 is one IPv6 address of the namespace.
type addr6 struct {
	iface string
	addr  netip.Addr
	scope int // IPV6_ADDR_SCOPE_…, as /proc/net/if_inet6 prints it
}

// scopeLink is IPV6_ADDR_LINKLOCAL (include/net/ipv6.h).
const scopeLink = 0x20

type addrs6 []addr6

// readAddrs reads the IPv6 addresses of the current thread's namespace: one
// small file instead of a netlink dump. A kernel without IPv6 has no such file.
func readAddrs() (addrs6, error) {
	text, err := procnet.Read("if_inet6")
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var addrs addrs6
	for line := range strings.Lines(string(text)) {
		a, err := parseAddr6(strings.Fields(line))
		if err != nil {
			return nil, fmt.Errorf("/proc/net/if_inet6: %q: %w", line, err)
		}
		addrs = append(addrs, a)
	}
	return addrs, nil
}

// parseAddr6 reads "fd09…02 02 40 00 80 eth0": address, index, prefix length,
// scope, flags, interface; numbers in hex.
func parseAddr6(fields []string) (addr6, error) {
	if len(fields) != 6 {
		return addr6{}, fmt.Errorf("%d fields (want 6)", len(fields))
	}
	b, err := hex.DecodeString(fields[0])
	if err != nil {
		return addr6{}, err
	}
	a, ok := netip.AddrFromSlice(b)
	scope, err := strconv.ParseInt(fields[3], 16, 32)
	if err != nil || !ok {
		return addr6{}, errors.New("not an address")
	}
	return addr6{iface: fields[5], addr: a, scope: int(scope)}, nil
}

// hasIPv6 reports whether the pod has an IPv6 address of its own, beyond
// link-local, and IPv6 on lo.
func (as addrs6) hasIPv6() bool {
	own, onLo := false, false
	for _, a := range as {
		own = own || a.iface != "lo" && a.scope != scopeLink
		onLo = onLo || a.iface == "lo" && a.addr == netip.IPv6Loopback()
	}
	return own && onLo
}

// onLo reports whether lo has this address.
func (as addrs6) onLo(addr netip.Addr) bool {
	for _, a := range as {
		if a.iface == "lo" && a.addr == addr {
			return true
		}
	}
	return false
}
