package docs_test

import (
	"fmt"
	"strings"

	"github.com/detour-cni/detour/plugin/mesh"
	"github.com/detour-cni/detour/redirect"
)

// validateTable has detour-validate's flags for each mesh, from its redirect's defaults.
func validateTable(string) (string, error) {
	var b strings.Builder
	b.WriteString("\n| mesh | what goes out: `detour-validate --as app …` | what comes in: `detour-validate probe …` |\n|---|---|---|\n")
	for _, d := range mesh.All() {
		s := d.Defaults()
		out := fmt.Sprintf("--outbound-port %d", s.OutboundPort)
		if s.Loopback != redirect.Hairpin {
			out += fmt.Sprintf(" --loopback %s", s.Loopback)
		}
		if s.DNSPort != 0 {
			out += fmt.Sprintf(" --dns-port %d --dns-protocols", s.DNSPort)
			for i, p := range s.DNSProtocols {
				out += map[bool]string{true: " ", false: ","}[i == 0] + strings.ToLower(p.String())
			}
		}
		fmt.Fprintf(&b, "| %s | `%s` | `--inbound-port %d` |\n", d.Name, out, s.InboundPort)
	}
	return b.String() + "\n", nil
}
