package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
)

// conf is a plugin's entry of a conflist as libcni hands it over, less what
// varies with the pod.
type conf struct {
	version string
	detour  map[string]any
	byHand  map[string]any
	// annotations are those of the pod; nil where the runtime hands none over.
	annotations map[string]string
}

// defaultVersion is the CNI version of calls that need no other one: what
// containerd's and CRI-O's own lists say today.
const defaultVersion = "1.0.0"

// annotationsKey is the capability by which runtimes hand over the pod's annotations.
const annotationsKey = "io.kubernetes.cri.pod-annotations"

// text is the entry for one pod, as the plugin reads it on stdin.
func (c conf) text(p pod) []byte {
	version := c.version
	if version == "" {
		version = defaultVersion
	}
	doc := map[string]any{
		"cniVersion": version,
		"name":       "bench",
		"type":       "detour-cni",
		"prevResult": prevResult(p, version),
	}
	if c.detour != nil {
		doc["capabilities"] = map[string]bool{annotationsKey: true}
		doc["detour"] = c.detour
	}
	if c.byHand != nil {
		doc["byHand"] = c.byHand
	}
	if c.annotations != nil {
		doc["runtimeConfig"] = map[string]any{annotationsKey: c.annotations}
	}
	b, err := json.Marshal(doc)
	if err != nil {
		panic(err) // maps, strings and numbers: there is nothing that JSON cannot say
	}
	return b
}

// prevResult is what a bridge plugin with an address of each family says.
func prevResult(p pod, version string) map[string]any {
	return map[string]any{
		"cniVersion": version,
		"interfaces": []map[string]any{
			{"name": "cni0", "mac": "9a:4c:12:00:00:01"},
			{"name": "veth1f2e3d4c", "mac": "9a:4c:12:00:00:02"},
			{"name": "eth0", "mac": "9a:4c:12:00:00:03", "sandbox": p.netns},
		},
		"ips": []map[string]any{
			{"interface": 2, "address": podAddr4, "gateway": gateway4},
			{"interface": 2, "address": podAddr6, "gateway": gateway6},
		},
		"routes": []map[string]any{{"dst": "0.0.0.0/0"}, {"dst": "::/0"}},
		"dns":    map[string]any{"nameservers": []string{"10.96.0.10"}},
	}
}

// excluded gives n prefixes, every other one of IPv6. They neither touch nor
// overlap: nothing can be merged, the kernel gets all of them.
func excluded(n int) []netip.Prefix {
	prefixes := make([]netip.Prefix, n)
	for i := range prefixes {
		k := i / 2
		text := fmt.Sprintf("20.%d.%d.0/25", k>>8, k&0xff)
		if i%2 == 1 {
			text = fmt.Sprintf("2001:db8:%x::/49", k)
		}
		prefixes[i] = netip.MustParsePrefix(text)
	}
	return prefixes
}
