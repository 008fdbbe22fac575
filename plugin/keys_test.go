package plugin_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/detour-cni/detour/plugin"
	"github.com/detour-cni/detour/plugin/mesh"
	"github.com/detour-cni/detour/redirect"
)

// unusual gives each key a value that is not its default, as an annotation has it.
var unusual = map[string]string{
	"proxyUIDs": "1500,1600-1610", "proxyGIDs": "1500", "inboundMode": "tproxy", "tproxyMark": "7", "tproxyTable": "77",
	"inboundPort": "16006", "outboundPort": "16001", "tunnelPort": "16008",
	"includeInboundPorts": "80,8000-8100", "excludeInboundPorts": "15020,15021,15090,8050", "excludeInboundCIDRs": "10.2.0.0/16",
	"includeOutboundCIDRs": "10.0.0.0/8,fd00::/8", "excludeOutboundCIDRs": "10.1.0.0/16,fd01::/16", "includeOutboundPorts": "9000",
	"excludeOutboundPorts": "22", "excludeOutboundUIDs": "0", "excludeOutboundGIDs": "7", "excludeOutboundOwners": "tcp:25+26:900",
	"excludeInterfaces": "net1", "rerouteInterfaces": "br+ except 10.7.0.0/16 dns",
	"dnsPort": "16053", "dnsProtocols": "udp", "dnsAddress": "10.96.0.10", "dnsZones": "false", "dnsServers": "10.96.0.10/32",
	"loopback": "bypass", "passthroughSource": "127.0.0.7,::7", "dropInvalid": "true", "ipFamilies": "ipv6",
}

// annotationOf spells a key as DESIGN.md's section 4 does, apart from the dialect's own code.
func annotationOf(key string) string {
	key = strings.NewReplacer("UIDs", "Uids", "GIDs", "Gids", "CIDRs", "Cidrs").Replace(key)
	var b strings.Builder
	for _, c := range key {
		if unicode.IsUpper(c) {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(c))
	}
	return "detour-cni.dev/" + b.String()
}

// decided gives what becomes of a pod that our own dialect claims.
func decided(t *testing.T, options string, annotations map[string]string) plugin.Decision {
	t.Helper()
	o, err := plugin.ParseOptions(json.RawMessage(options), mesh.All())
	if err != nil {
		t.Fatal(err)
	}
	pod := plugin.Pod{Ref: plugin.PodRef{Namespace: "shop", Name: "cart"}, Annotations: map[string]string{"detour-cni.dev/redirect": "true"}, Handed: true}
	for k, v := range annotations {
		pod.Annotations[k] = v
	}
	d, err := plugin.Decide(o, pod, mesh.All())
	if err != nil {
		t.Fatal(err)
	}
	if !d.Redirect {
		t.Fatalf("left alone: %s", d.Why)
	}
	return d
}

func TestEveryKeyIsAnAnnotationAndANodeOptionAndMeansTheSame(t *testing.T) {
	for _, k := range redirect.Keys() {
		t.Run(k.Name, func(t *testing.T) {
			text, ok := unusual[k.Name]
			if !ok {
				t.Fatal("a key without a value in this test")
			}
			want := redirect.SplitList(text)
			if slices.Equal(want, k.Get(redirect.EnvoyDefaults())) {
				t.Fatalf("%q is the default: it proves nothing", text)
			}
			d := decided(t, "{}", map[string]string{annotationOf(k.Name): text})
			got := k.Get(d.Spec)
			if !slices.Equal(set(got), set(want)) {
				t.Errorf("%s: %q gives %q", annotationOf(k.Name), text, got)
			}
			if len(d.Notes) != 0 {
				t.Errorf("notes: %q", d.Notes)
			}

			node, err := json.Marshal(map[string]any{"redirect": map[string]any{k.Name: value(k, want)}})
			if err != nil {
				t.Fatal(err)
			}
			byNode := k.Get(decided(t, string(node), nil).Spec)
			if !slices.Equal(set(byNode), set(want)) {
				t.Errorf("%s gives %q", node, byNode)
			}
		})
	}
}

// value gives items as configuration writes them.
func value(k redirect.Key, items []string) any {
	if k.Many {
		return items
	}
	return items[0]
}

func set(items []string) []string {
	items = slices.Clone(items)
	slices.Sort(items)
	return slices.Compact(items)
}

func TestOverridesDecideWhetherAPodWidensOrNarrowsTheNodesWord(t *testing.T) {
	const excluded = `"redirect": {"excludeOutboundCIDRs": ["10.1.0.0/16"]}`
	narrower := map[string]string{"detour-cni.dev/exclude-outbound-cidrs": "10.0.0.0/8"} // less goes to the proxy
	wider := map[string]string{"detour-cni.dev/exclude-outbound-cidrs": ""}              // more does
	for _, tc := range []struct {
		overrides   string
		annotations map[string]string
		want        []string
		note        string
	}{
		{`"allow"`, narrower, []string{"10.0.0.0/8"}, ""},
		{`"allow"`, wider, nil, ""},
		{`"deny"`, narrower, []string{"10.1.0.0/16"}, "ignored: overrides are not allowed here"},
		{`"deny"`, wider, []string{"10.1.0.0/16"}, "ignored: overrides are not allowed here"},
		{`["shop"]`, narrower, []string{"10.0.0.0/8"}, ""},
		{`["other"]`, narrower, []string{"10.1.0.0/16"}, "ignored: overrides are not allowed here"},
		{`[]`, wider, []string{"10.1.0.0/16"}, "ignored: overrides are not allowed here"},
		{`"deny"`, map[string]string{"detour-cni.dev/exclude-outbound-cidrs": "10.1.0.0/16"}, []string{"10.1.0.0/16"}, ""}, // changes nothing
	} {
		d := decided(t, `{"overrides": `+tc.overrides+`, `+excluded+`}`, tc.annotations)
		key, _ := redirect.KeyOf("excludeOutboundCIDRs")
		if got := key.Get(d.Spec); !slices.Equal(got, tc.want) {
			t.Errorf("overrides %s, %v: %q, want %q", tc.overrides, tc.annotations, got, tc.want)
		}
		notes := strings.Join(d.Notes, "; ")
		if tc.note == "" && notes != "" || !strings.Contains(notes, tc.note) {
			t.Errorf("overrides %s, %v: notes %q, want %q", tc.overrides, tc.annotations, notes, tc.note)
		}
	}
}
