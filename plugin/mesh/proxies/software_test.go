package proxies

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
)

// singBox is built by `make bin/sing-box`, at the version in tools/sing-box/go.mod.
func singBox() software {
	clients := map[string]netip.AddrPort{} // by the log's number of a connection
	side := regexp.MustCompile(`\[(\d+) .*inbound/\w+\[(\w+)\]: inbound connection (from|to) (\S+)$`)
	return software{
		program: "../../../bin/sing-box",
		args:    []string{"run", "-c"},
		config:  singBoxConfig,
		ready:   "sing-box started",
		// It says whose call it is and where it goes in two lines.
		read: func(line string) (seen, bool) {
			m := side.FindStringSubmatch(line)
			if m == nil {
				return seen{}, false
			}
			addr, err := netip.ParseAddrPort(m[4])
			if err != nil {
				return seen{}, false
			}
			if m[3] == "from" {
				clients[m[1]] = addr
				return seen{}, false
			}
			return seen{m[2], clients[m[1]], addr}, true
		},
	}
}

func singBoxConfig(r role) string {
	inbound := "redirect"
	if r.tproxy {
		inbound = "tproxy"
	}
	type object = map[string]any
	toApp := object{"type": "direct", "tag": "to the app"}
	if r.source4 != "" {
		toApp["inet4_bind_address"], toApp["inet6_bind_address"] = r.source4, r.source6
	}
	text, err := json.Marshal(object{
		"log": object{"level": "info", "timestamp": false},
		"inbounds": []object{
			{"type": "redirect", "tag": "outbound", "listen": "::", "listen_port": r.outbound},
			{"type": inbound, "tag": "inbound", "listen": "::", "listen_port": r.inbound},
		},
		"outbounds": []object{{"type": "direct", "tag": "out"}, toApp},
		"route":     object{"final": "out", "rules": []object{{"inbound": "inbound", "action": "route", "outbound": "to the app"}}},
	})
	if err != nil {
		panic(err) // strings and numbers
	}
	return string(text)
}

// haproxy is Debian's.
func haproxy() software {
	taken := regexp.MustCompile(`^(outbound|inbound) client (\S+) (\d+) original (\S+) (\d+)$`)
	return software{
		program: "/usr/sbin/haproxy",
		args:    []string{"-W", "-f"}, // with a master: only that one says when it is ready
		config:  haproxyConfig,
		ready:   "Loading success", // the listeners are bound before the worker is forked
		read: func(line string) (seen, bool) {
			m := taken.FindStringSubmatch(line)
			if m == nil {
				return seen{}, false
			}
			client, err1 := netip.ParseAddrPort(joined(m[2], m[3]))
			original, err2 := netip.ParseAddrPort(joined(m[4], m[5]))
			return seen{m[1], client, original}, err1 == nil && err2 == nil
		},
	}
}

// joined gives an address and a port as one.
func joined(addr, port string) string {
	if strings.Contains(addr, ":") {
		addr = "[" + addr + "]"
	}
	return addr + ":" + port
}

func haproxyConfig(r role) string {
	inbound, source := fmt.Sprintf("bind 0.0.0.0:%d", r.inbound), "source "+r.source4
	if r.tproxy {
		inbound = fmt.Sprintf("bind 0.0.0.0:%d transparent\n\tbind :::%d v6only transparent", r.inbound, r.inbound)
		source = "source 0.0.0.0 usesrc clientip"
	}
	return fmt.Sprintf(`
global
	log stdout format raw local0
	maxconn 100
defaults
	mode tcp
	log global
	timeout connect 5s
	timeout client 5s
	timeout server 5s
	option transparent
	log-format "%%f client %%ci %%cp original %%[dst] %%[dst_port]"
listen outbound
	bind 0.0.0.0:%[1]d
	tcp-request connection reject if { dst_port %[1]d }
listen inbound
	%[2]s
	%[3]s
`, r.outbound, inbound, source)
}
