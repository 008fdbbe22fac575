package iptables

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	goiptables "github.com/coreos/go-iptables/iptables"

	"github.com/detour-cni/detour/redirect"
)

// Counter is one rule of ours, and how many packets it matched.
type Counter struct {
	IPv6           bool
	Table          redirect.Table
	Chain          string
	Rule           string // as iptables prints it, without the "-A CHAIN"
	Comment        string
	Packets, Bytes uint64
}

// Observe reads the counters of our rules through go-iptables, chain by chain:
// for people, not for an ADD. It sets XTABLES_LOCKFILE for this process, because
// go-iptables gives its children our environment; the value suits every thread. It is a
// child's own standard error, a pipe, and not lockFile: its standard input is /dev/null,
// which all of the node share.
func (b *Backend) Observe() ([]Counter, error) {
	have, err := b.current() // asks for no table that is not there
	if err != nil || have.empty() {
		return nil, err
	}
	if err := os.Setenv("XTABLES_LOCKFILE", "/proc/self/fd/2"); err != nil {
		return nil, err
	}
	v4, err := observe(b.v4, goiptables.ProtocolIPv4, have.v4)
	if err != nil {
		return nil, err
	}
	v6, err := observe(b.v6, goiptables.ProtocolIPv6, have.v6)
	return append(v4, v6...), err
}

func observe(t tools, family goiptables.Protocol, have rules) ([]Counter, error) {
	if have.empty() {
		return nil, nil
	}
	tool, err := goiptables.New(goiptables.Path(t.rules), goiptables.IPFamily(family), goiptables.Timeout(int(lockWait.Seconds())))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.rules, err)
	}
	var counters []Counter
	for _, table := range have.tables {
		for _, c := range table.chains {
			lines, err := tool.ListWithCounters(string(table.name), c.name)
			if err != nil {
				return nil, fmt.Errorf("counters of %s: %w", c.name, err)
			}
			for _, l := range lines {
				if rule, ok := strings.CutPrefix(l, "-A "+c.name+" "); ok {
					of := Counter{IPv6: family == goiptables.ProtocolIPv6, Table: table.name, Chain: c.name}
					if err := of.read(rule); err != nil {
						return nil, err
					}
					counters = append(counters, of)
				}
			}
		}
	}
	return counters, nil
}

// read takes "-c packets bytes" out of a rule, where that is not in a comment:
// the legacy tool prints it before the target, go-iptables puts it last for nft.
func (c *Counter) read(rule string) error {
	words := split(rule)
	c.Comment = comment(rule)
	for i := range len(words) - 2 {
		packets, bytes := words[i+1], words[i+2]
		text := " -c " + packets + " " + bytes
		if words[i] != "-c" || !strings.Contains(" "+rule, text) {
			continue
		}
		var bad [2]error
		c.Packets, bad[0] = strconv.ParseUint(packets, 10, 64)
		c.Bytes, bad[1] = strconv.ParseUint(bytes, 10, 64)
		if bad[0] != nil || bad[1] != nil {
			continue
		}
		c.Rule = strings.TrimPrefix(strings.Replace(" "+rule, text, "", 1), " ")
		return nil
	}
	return fmt.Errorf("rule without counters: %.80q", rule)
}
