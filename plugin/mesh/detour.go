package mesh

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/detour-cni/detour/plugin"
	"github.com/detour-cni/detour/redirect"
)

// detourPrefix is what our own annotations begin with.
const detourPrefix = "detour-cni.dev/"

// Detour is our own dialect, for a proxy of one's own: claimed by
// detour-cni.dev/redirect, and one annotation for every key of the Spec.
func Detour() plugin.Dialect {
	return plugin.Dialect{
		Name:     plugin.OwnDialect,
		Claim:    claimDetour,
		Defaults: redirect.EnvoyDefaults,
		Rows:     detourRows,
	}
}

func claimDetour(p plugin.Pod) (plugin.Claim, error) {
	const annotation = detourPrefix + "redirect"
	value, ok := p.Annotations[annotation]
	switch {
	case !ok:
		return plugin.Claim{}, nil
	case value == "true":
		return plugin.Claim{Verdict: plugin.Mine, Why: "claimed by " + annotation}, nil
	case value == "false":
		return plugin.Claim{Verdict: plugin.Left, Why: annotation + " is false"}, nil
	}
	return plugin.Claim{}, fmt.Errorf("annotation %s: %.64q: not true or false", annotation, value)
}

// detourRows gives the annotation of each key: its name in kebab case.
func detourRows() []plugin.Row {
	var rows []plugin.Row
	for _, k := range redirect.Keys() {
		row := plugin.Row{
			Annotation: detourPrefix + kebab(k.Name),
			Key:        k.Name,
			Mode:       plugin.Replace,
			By:         plugin.ByUser,
			Meaning:    k.Meaning,
		}
		if k.Many {
			row.Empty = plugin.EmptyNone
		}
		if k.Name == "excludeInboundPorts" {
			row.Mode = plugin.Append
		}
		rows = append(rows, row)
	}
	return rows
}

// kebab gives "exclude-inbound-ports" for "excludeInboundPorts", "proxy-uids"
// for "proxyUIDs" and "tproxy-mark" for "tproxyMark".
func kebab(camel string) string {
	var b strings.Builder
	upper := false
	for i, c := range camel {
		if unicode.IsUpper(c) && !upper && i > 0 {
			b.WriteByte('-')
		}
		upper = unicode.IsUpper(c)
		b.WriteRune(unicode.ToLower(c))
	}
	return b.String()
}
