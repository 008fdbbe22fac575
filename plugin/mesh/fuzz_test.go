package mesh_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/detour-cni/detour/plugin"
	"github.com/detour-cni/detour/plugin/mesh"
	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/redirecttest"
)

// basePods are a claimed pod of each mesh, with all that its injector writes.
func basePods(t testing.TB) map[string]plugin.Pod {
	t.Helper()
	pods := map[string]plugin.Pod{}
	for name, file := range map[string]string{
		"istio": "istio/native-sidecar", "linkerd": "linkerd/defaults", "consul": "consul/defaults",
		"kuma": "kuma/defaults", "appmesh": "appmesh/defaults", "osm": "osm/defaults", "nomad": "consul/nomad",
	} {
		c, err := readCase("../../testdata/meshes/" + file + ".txtar")
		if err != nil {
			t.Fatal(err)
		}
		pods[name] = c.pod
	}
	pods["detour"] = plugin.Pod{
		Ref: plugin.PodRef{Namespace: "shop", Name: "cart"}, Handed: true,
		Annotations: map[string]string{"detour-cni.dev/redirect": "true"},
	}
	return pods
}

// withRow gives the pod of a row's mesh with a value where the row looks for one.
func withRow(pods map[string]plugin.Pod, d plugin.Dialect, row plugin.Row, value string) plugin.Pod {
	pod := pods[d.Name]
	if row.From == plugin.FromArgs {
		pod = pods["nomad"]
	}
	if row.Doc != plugin.NoDoc {
		value = document(row, value)
	}
	if row.From == plugin.FromArgs {
		pod.Ref.Args = map[string]string{row.Annotation: value}
		return pod
	}
	pod.Annotations = maps.Clone(pod.Annotations)
	pod.Annotations[row.Annotation] = value
	return pod
}

// document puts a value into a document at the row's field. JSON is YAML, too.
func document(row plugin.Row, value string) string {
	quoted, _ := json.Marshal(strings.ToValidUTF8(value, "?"))
	doc := string(quoted)
	path := strings.Split(row.Field, ".")
	for _, name := range slices.Backward(path) {
		doc = fmt.Sprintf(`{%q: %s}`, name, doc)
	}
	if row.Annotation == "traffic.kuma.io/transparent-proxy-config" {
		doc = `{"cniMode": true, ` + doc[1:]
	}
	return doc
}

// check holds a decision to what must be true of any.
func check(t *testing.T, pod plugin.Pod, d plugin.Decision, err error) {
	t.Helper()
	if err != nil {
		names := slices.Concat(slices.Collect(maps.Keys(pod.Annotations)), slices.Collect(maps.Keys(pod.Ref.Args)))
		if code := plugin.CNIError(err).Code; code != plugin.CodeAnnotation {
			t.Fatalf("code %d: %v", code, err)
		}
		if !slices.ContainsFunc(names, func(n string) bool { return n != "" && strings.Contains(err.Error(), n) }) {
			t.Fatalf("names no annotation: %v", err)
		}
		if strings.ContainsFunc(err.Error(), func(c rune) bool { return c < ' ' || c == 0x7f }) {
			t.Fatalf("control characters: %q", err)
		}
		if len(err.Error()) > 4096 {
			t.Fatalf("an error of %d bytes", len(err.Error()))
		}
		return
	}
	if d.Why == "" {
		t.Fatal("no why")
	}
	if d.Redirect {
		checkProxy(t, d.Spec)
	}
}

// checkProxy wants that no call of the proxy's own ends at its outbound port.
func checkProxy(t *testing.T, s redirect.Spec) {
	t.Helper()
	rs, err := redirect.Compile(s)
	if err != nil {
		t.Fatalf("a Spec that does not compile: %v", err)
	}
	p := redirect.Packet{Hook: redirect.Output, Proto: redirect.TCPProto, UID: 12345, GID: 12345}
	if len(s.ProxyUIDs) > 0 {
		p.UID = s.ProxyUIDs[0].First
	} else {
		p.GID = s.ProxyGIDs[0].First
	}
	for _, hop := range []struct{ out, src, dst string }{
		{"eth0", "10.9.0.2:4000", "10.9.0.1:80"}, {"eth0", "[fd09::2]:4000", "[fd09::1]:80"},
		{"lo", "10.9.0.2:4000", "10.9.0.2:80"}, {"lo", "127.0.0.1:4000", "127.0.0.1:80"}, {"lo", "[::1]:4000", "[::1]:80"},
	} {
		p.Out, p.Src, p.Dst = hop.out, netip.MustParseAddrPort(hop.src), netip.MustParseAddrPort(hop.dst)
		o := redirect.Trace(rs, p)
		if o.Verdict == redirect.Redirected && (o.Port != s.InboundPort || hop.out != "lo") {
			t.Fatalf("the proxy's call %v -> %v goes to port %d: %+v", p.Src, p.Dst, o.Port, s)
		}
	}
}

// allRows gives every row of every dialect.
func allRows() (dialects []plugin.Dialect, rows []plugin.Row) {
	for _, d := range mesh.All() {
		for _, r := range d.Rows() {
			dialects, rows = append(dialects, d), append(rows, r)
		}
	}
	return dialects, rows
}

// rowValues are what people write into annotations, and what they should not.
var rowValues = []string{"", " ", "*", "80", "80,443", "8000-8010", "90-80", "0", "65536", "-1", "10.0.0.0/8,fd00::/8", "::ffff:10.0.0.0/104",
	"0.0.0.0/0", "true", "false", "TPROXY", "NONE", "eth0", "lo", "net1 except 10.0.0.0/8 dns", "docker0:172.17.0.0/16", "tcp:22:1000", "ipv4", "enabled", "\x00", "127.0.0.0/8",
}

// decideRow decides on a claimed pod with a value where the row looks for one.
func decideRow(t *testing.T, pods map[string]plugin.Pod, d plugin.Dialect, row plugin.Row, value string, deny bool) {
	t.Helper()
	pod := withRow(pods, d, row, value)
	o := plugin.DefaultOptions(mesh.All())
	o.Overrides.All = !deny
	decision, err := plugin.Decide(o, pod, mesh.All())
	check(t, pod, decision, err)
}

func TestEveryRowTakesEveryValue(t *testing.T) {
	pods := basePods(t)
	dialects, rows := allRows()
	for i, row := range rows {
		for _, value := range rowValues {
			decideRow(t, pods, dialects[i], row, value, false)
		}
	}
}

// FuzzAnnotation gives every row any value. Its seeds are few, for all of them run
// before anything new is tried: 2,600 took longer than the 3 s of fuzz-short.
func FuzzAnnotation(f *testing.F) {
	dialects, rows := allRows()
	for i := range max(len(rows), len(rowValues)) {
		f.Add(uint16(i), rowValues[i%len(rowValues)], false)
	}
	pods := basePods(f)
	f.Fuzz(func(t *testing.T, i uint16, value string, deny bool) {
		n := int(i) % len(rows)
		decideRow(t, pods, dialects[n], rows[n], value, deny)
	})
}

// FuzzDecide gives a pod any annotations at all.
func FuzzDecide(f *testing.F) {
	for _, c := range allCases(f) {
		raw, err := json.Marshal(c.pod.Annotations)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, c.pod.Ref.Args["CONSUL_IPTABLES_CONFIG"], false)
	}
	f.Fuzz(func(t *testing.T, annotations []byte, arg string, deny bool) {
		pod := plugin.Pod{Handed: true}
		if arg != "" {
			pod.Ref.Args = map[string]string{"CONSUL_IPTABLES_CONFIG": arg}
		}
		if json.Unmarshal(annotations, &pod.Annotations) != nil {
			t.Skip()
		}
		o := plugin.DefaultOptions(mesh.All())
		o.Overrides.All = !deny
		d, err := plugin.Decide(o, pod, mesh.All())
		check(t, pod, d, err)
	})
}

// TestHostileAnnotationsTakeNoTime: as much of the worst as an annotation holds, and
// more than that. The bound is about n², not about a slow machine.
func TestHostileAnnotationsTakeNoTime(t *testing.T) {
	pods := basePods(t)
	dialects, rows := allRows()
	var distinct, prefixes, tuples strings.Builder
	for i := 1; i < 65000; i += 2 {
		fmt.Fprintf(&distinct, "%d,", i)
		fmt.Fprintf(&prefixes, "10.%d.%d.1/32,", i>>8, i&255)
		fmt.Fprintf(&tuples, "tcp:%d:%d;", i, i)
	}
	values := []string{
		strings.Repeat(",", 4<<20), strings.Repeat(",", 256<<10), strings.Repeat("80,", 80<<10), strings.Repeat("1-65535,", 30<<10),
		strings.TrimRight(distinct.String(), ","), strings.TrimRight(prefixes.String(), ",")[:200<<10], tuples.String(),
		strings.Repeat("[", 64<<10), strings.Repeat("\x00", 1<<20), strings.Repeat("net1,", 10<<10), strings.Repeat("9", 1<<20), strings.Repeat(" ", 1<<20),
	}
	large := map[string]bool{} // an annotation over the bound is refused before its field is looked for
	for i, row := range rows {
		for j, value := range values {
			if len(value) > 256<<10 && large[row.Annotation] {
				continue
			}
			pod := withRow(pods, dialects[i], row, value)
			var d plugin.Decision
			var err error
			took := redirecttest.CPUTime(t, func() { d, err = plugin.Decide(plugin.DefaultOptions(mesh.All()), pod, mesh.All()) })
			if took > time.Second {
				t.Errorf("%s, value %d: %v", row.Name(), j, took)
			}
			check(t, pod, d, err)
		}
		large[row.Annotation] = true
	}
}

// TestManyAnnotationsCostNothing: only those that a dialect knows are looked at.
func TestManyAnnotationsCostNothing(t *testing.T) {
	pod := plugin.Pod{Handed: true, Annotations: map[string]string{}}
	for i := range 100_000 {
		pod.Annotations[fmt.Sprintf("traffic.sidecar.istio.io/x%d", i)] = "y"
	}
	var d plugin.Decision
	var err error
	took := redirecttest.CPUTime(t, func() { d, err = plugin.Decide(plugin.DefaultOptions(mesh.All()), pod, mesh.All()) })
	check(t, pod, d, err)
	if took > 100*time.Millisecond {
		t.Errorf("%v", took)
	}
}
