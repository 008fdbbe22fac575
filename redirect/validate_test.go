package redirect_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/detour-cni/detour/redirect"
)

// odd gives n numbers of which no two touch, so that no range takes them together.
func odd(n int, sep string) string {
	var numbers []string
	for i := range n {
		numbers = append(numbers, fmt.Sprint(2*i+1))
	}
	return strings.Join(numbers, sep)
}

// repeated gives n items; each %d in the format is the item's number.
func repeated(n int, format string) string {
	var items []string
	for i := range n {
		items = append(items, strings.ReplaceAll(format, "%d", fmt.Sprint(i)))
	}
	return strings.Join(items, ",")
}

// TestListsThatMultiplyAreBounded: what an annotation may make of rules is in proportion to its
// length. The square of it took gigabytes in the iptables backend.
func TestListsThatMultiplyAreBounded(t *testing.T) {
	for _, tc := range []struct{ name, owners, reroute, servers, err string }{
		{name: "as many as may be", owners: "tcp:" + odd(100, "+") + ":" + odd(100, "+")},
		{name: "ports and users", owners: ":" + odd(101, "+") + ":" + odd(100, "+"),
			err: "excludeOutboundOwners: 10100 combinations of ports and uids (want at most 10000: fewer of them, or ranges)"},
		{name: "together", owners: "tcp:" + odd(100, "+") + ":" + odd(100, "+") + ",udp::7", err: "excludeOutboundOwners: 10001 combinations"},
		{name: "tuples", owners: repeated(10_001, "tcp:80:%d"), err: "excludeOutboundOwners: 10001 combinations"},
		{name: "ranges count as one", owners: "tcp:1-65535:0-4294967294"},
		{name: "what touches is a range", owners: "tcp:" + strings.ReplaceAll(repeated(65_535, "%d"), ",", "+")[2:] + ":" + odd(100, "+")},
		{name: "interfaces and servers", reroute: repeated(101, "v%d dns"), servers: repeated(100, "10.0.%d.1/32"),
			err: "rerouteInterfaces: 10100 combinations with dnsServers (want at most 10000: fewer of them, or wider prefixes)"},
		{name: "interfaces without DNS", reroute: repeated(101, "v%d"), servers: repeated(100, "10.0.%d.1/32")},
		{name: "every server", reroute: repeated(101, "v%d dns"), servers: "*"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := redirect.EnvoyDefaults()
			s.DNSPort = 15053
			for key, text := range map[string]string{"excludeOutboundOwners": tc.owners, "rerouteInterfaces": tc.reroute, "dnsServers": tc.servers} {
				k, _ := redirect.KeyOf(key)
				if err := k.SetText(&s, text); err != nil {
					t.Fatal(err)
				}
			}
			_, err := redirect.Compile(s)
			if (err == nil) != (tc.err == "") || err != nil && !strings.HasPrefix(err.Error(), tc.err) {
				t.Errorf("got %v, want %q", err, tc.err)
			}
		})
	}
}
