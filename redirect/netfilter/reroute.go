package netfilter

import (
	"fmt"
	"net"
	"strings"

	"github.com/detour-cni/detour/redirect"
)

// rerouteWarnings names interfaces whose packets REDIRECT would drop: it sends
// them to the first address of the interface, and there is none of that family.
// Interfaces that are not there yet, and prefixes of names, are left out.
func rerouteWarnings(rs redirect.RuleSet) []string {
	var warnings []string
	for _, name := range rs.Rerouted {
		if strings.HasSuffix(string(name), "+") {
			continue
		}
		iface, err := net.InterfaceByName(string(name))
		if err != nil {
			continue
		}
		addrs, err := iface.Addrs()
		if err != nil {
			continue
		}
		v4, v6 := false, false
		for _, a := range addrs {
			if prefix, ok := a.(*net.IPNet); ok {
				v4 = v4 || prefix.IP.To4() != nil
				v6 = v6 || prefix.IP.To4() == nil && !prefix.IP.IsLinkLocalUnicast()
			}
		}
		if rs.V4() && !v4 {
			warnings = append(warnings, fmt.Sprintf("rerouteInterfaces: %q has no IPv4 address: its IPv4 connections will be dropped", name))
		}
		if rs.V6() && !v6 {
			warnings = append(warnings, fmt.Sprintf("rerouteInterfaces: %q has no IPv6 address: its IPv6 connections will be dropped", name))
		}
	}
	return warnings
}
