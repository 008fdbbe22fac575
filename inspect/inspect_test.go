package inspect_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/detour-cni/detour/inspect"
	"github.com/detour-cni/detour/plugin"
	"github.com/detour-cni/detour/plugin/mesh"
	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/netfilter"
	"github.com/detour-cni/detour/redirect/redirecttest"
)

// pod is a namespace of both families, as a primary plugin leaves it.
func pod(t *testing.T) *redirecttest.NetNS {
	t.Helper()
	redirecttest.NeedsKernel(t)
	n := redirecttest.NewNetNS(t)
	n.IP(t, "link set lo up", "link add eth0 type veth peer name wire", "addr add 10.9.0.2/24 dev eth0",
		"addr add fd09::2/64 dev eth0 nodad", "link set wire up", "link set eth0 up",
		"route add default via 10.9.0.1", "route add default via fd09::1")
	return n
}

func redirected(t *testing.T, n *redirecttest.NetNS, change func(*redirect.Spec)) {
	t.Helper()
	s := redirect.EnvoyDefaults()
	if change != nil {
		change(&s)
	}
	rs, err := redirect.Compile(s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := netfilter.Commit(n.Path, rs, netfilter.Options{Owner: redirect.Attachment{ContainerID: "c1", IfName: "eth0"}}); err != nil {
		t.Fatal(err)
	}
}

// listens opens a port as a user, until the test's end.
func listens(t *testing.T, n *redirecttest.NetNS, uid uint32, address string) {
	t.Helper()
	n.Listen(t, redirecttest.Owner{UID: uid, GID: uid}, address)
}

func report(t *testing.T, n *redirecttest.NetNS) inspect.Report {
	t.Helper()
	seen, err := inspect.Look(n.Path, inspect.ReadProcesses())
	if err != nil {
		t.Fatal(err)
	}
	return inspect.NewReport("shop/cart-0", "asked for by its path", n.Path, seen, inspect.Wanted{})
}

func says(t *testing.T, text string, want ...string) {
	t.Helper()
	flat := strings.Join(strings.Fields(text), " ")
	for _, w := range want {
		if !strings.Contains(flat, w) {
			t.Errorf("%q is not in\n%s", w, text)
		}
	}
}

func TestAGoodPod(t *testing.T) {
	n := pod(t)
	redirected(t, n, nil)
	listens(t, n, 1337, ":15001")
	listens(t, n, 1337, ":15006")
	listens(t, n, 1000, ":8080")
	r := report(t, n)
	if len(r.Findings) != 0 {
		t.Errorf("findings: %+v", r.Findings)
	}
	says(t, inspect.Table(r, true),
		"addresses 10.9.0.2,fd09::2", "rules detour's:",
		"the app calls out IPv4, IPv6 proxy, port 15001 uid 1337",
		"somebody calls the pod IPv4, IPv6 proxy, port 15006 uid 1337",
		"the proxy calls out IPv4, IPv6 outside, untouched",
		"the app calls localhost IPv4, IPv6 port 8080, untouched uid 1000",
		"tcp [::]:15001 uid 1337", "nothing wrong found")
}

func TestWhatIsWrongIsSaid(t *testing.T) {
	n := pod(t)
	redirected(t, n, func(s *redirect.Spec) { s.IPFamilies = redirect.FamiliesIPv4 })
	listens(t, n, 1337, ":15006")
	r := report(t, n)
	if !r.Wrong() {
		t.Error("nothing is wrong")
	}
	says(t, inspect.Table(r, false), "!! nobody listens on 15001 (tcp): every outbound call will be refused",
		"!! the app calls out: IPv4 goes to the proxy, IPv6 slips past it")

	n = pod(t)
	redirected(t, n, nil)
	listens(t, n, 4242, ":15001")
	says(t, inspect.Table(report(t, n), false), "!! the proxy's own calls (user 4242, group 4242) come back to port 15001: they loop")
}

func TestWhatIsDroppedIsSaid(t *testing.T) {
	n := pod(t)
	redirected(t, n, func(s *redirect.Spec) { s.InboundMode = redirect.InboundTProxy })
	says(t, inspect.Table(report(t, n), false), "!! somebody calls the pod: dropped: no transparent listener")
}

func TestRates(t *testing.T) {
	n := pod(t)
	redirected(t, n, nil)
	r := report(t, n)
	before := report(t, n).Seen.Rules
	r.Before, r.Elapsed = &before, 2*time.Second
	for _, c := range r.Seen.Rules.Chains {
		for i := range c.Counts {
			c.Counts[i].Packets += 10
		}
	}
	says(t, inspect.Table(r, true), "proxy, port 15001 nobody listens 10 (5.0/s)", "-> :15006 inbound goes to the proxy")
}

// BenchmarkAll looks into 200 pods, as inspect --all does: at most 2 s and 64 MB here.
func BenchmarkAll(b *testing.B) {
	redirecttest.NeedsKernel(b)
	rs, err := redirect.Compile(redirect.EnvoyDefaults())
	if err != nil {
		b.Fatal(err)
	}
	var pods []string
	for range 200 {
		n := redirecttest.NewNetNS(b)
		if _, err := netfilter.Commit(n.Path, rs, netfilter.Options{Owner: redirect.Attachment{ContainerID: "c1", IfName: "eth0"}}); err != nil {
			b.Fatal(err)
		}
		pods = append(pods, n.Path)
	}
	for b.Loop() {
		var reports []inspect.Report
		for i, seen := range inspect.LookAll(pods) {
			if seen.Err != nil {
				b.Fatal(seen.Err)
			}
			reports = append(reports, inspect.NewReport("p", "", pods[i], seen.Pod, inspect.Wanted{}))
		}
		if len(inspect.NewDocument(reports).Pods) != len(pods) {
			b.Fatal("pods are missing")
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.Sys)/1e6, "MB")
}

// What programs get is what docs/schemas says, of a pod with everything.
func TestTheDocumentKeepsItsSchema(t *testing.T) {
	n := pod(t)
	redirected(t, n, func(s *redirect.Spec) { s.InboundMode, s.DNSPort = redirect.InboundTProxy, 15053 })
	listens(t, n, 1337, ":15001")
	text, err := json.Marshal(inspect.NewDocument([]inspect.Report{report(t, n)}))
	if err != nil {
		t.Fatal(err)
	}
	schema, err := jsonschema.NewCompiler().Compile("../docs/schemas/inspect.v1.json")
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(document); err != nil {
		t.Errorf("%v in %s", err, text)
	}
}

func TestAPodWithoutRules(t *testing.T) {
	r := report(t, pod(t))
	says(t, inspect.Table(r, true), "rules none", "the app calls out IPv4, IPv6 outside, untouched - - no rule takes it")
	if r.Wrong() {
		t.Errorf("%+v", r.Findings)
	}
}

// The rules of somebody else's init container, as iptables-nft and iptables-legacy write them.
func TestForeignRules(t *testing.T) {
	c := redirecttest.CaseOf(t, "walkthrough")
	for _, tool := range []string{"iptables-nft-restore", "iptables-legacy-restore"} {
		n := pod(t)
		n.Run(t, c.ForeignRules(), tool)
		says(t, inspect.Table(report(t, n), true), "rules somebody else's:", "the app calls out IPv4 proxy, port 15001 nobody listens",
			"the proxy calls out IPv4, IPv6 outside, untouched")
	}
}

func TestTheHostIsRefused(t *testing.T) {
	redirecttest.NeedsKernel(t)
	if _, err := inspect.Look("/proc/self/ns/net", nil); err == nil {
		t.Error("looked into the host's own namespace")
	}
}

// pictured are the pods that the picture is tried on, here and in a browser (make test-picture).
func pictured(t *testing.T) map[string]inspect.Report {
	t.Helper()
	all := map[string]inspect.Report{}
	for name, change := range map[string]func(*redirect.Spec){
		"redirect": nil,
		"dns":      func(s *redirect.Spec) { s.DNSPort = 15053 },
		"tproxy":   func(s *redirect.Spec) { s.InboundMode = redirect.InboundTProxy },
		"linkerd": func(s *redirect.Spec) {
			i := slices.IndexFunc(mesh.All(), func(d plugin.Dialect) bool { return d.Name == "linkerd" })
			*s = mesh.All()[i].Defaults()
		},
	} {
		n := pod(t)
		redirected(t, n, change)
		listens(t, n, 1337, ":15001")
		all[name] = report(t, n)
	}
	n := pod(t)
	n.Run(t, redirecttest.CaseOf(t, "walkthrough").ForeignRules(), "iptables-nft-restore")
	listens(t, n, 1337, ":15001")
	all["istio-init"] = report(t, n)
	return all
}

// Both forms of the picture name every way; the page loads nothing, and its links lead to rules.
func TestThePicture(t *testing.T) {
	for name, r := range pictured(t) {
		page, err := inspect.HTML(r)
		if err != nil {
			t.Fatal(err)
		}
		svg, err := inspect.SVG(r)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{page, svg} {
			says(t, text, "the app calls out", "somebody calls the pod", "the app asks for a name", "PREROUTING")
			if name == "istio-init" { // one family, and chains of its own
				says(t, text, "slips past the proxy", "ISTIO_OUTPUT › ISTIO_REDIRECT, rule 1", "rule 1: TCP, then -&gt; :15001")
			}
			for _, outside := range []string{"<script", "<img", "@import", "url(http", `src="`, "ZgotmplZ"} {
				if strings.Contains(text, outside) {
					t.Errorf("%s: the page has %s", name, outside)
				}
			}
		}
		for _, part := range strings.Split(page, `href="#`)[1:] {
			id := part[:strings.Index(part, `"`)]
			if !strings.Contains(page, `id="`+id+`"`) {
				t.Errorf("%s: a way leads to %s, which is not in the page", name, id)
			}
		}
		if dir := os.Getenv("DETOUR_PICTURES"); dir != "" {
			if err := os.WriteFile(filepath.Join(dir, name+".html"), []byte(page), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}
