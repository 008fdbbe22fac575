package mesh_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/detour-cni/detour/plugin"
)

// TestReasonsRead has all that Decide says of the pods in testdata/meshes on one
// page, for whoever changes a word: this is what an operator gets to read.
func TestReasonsRead(t *testing.T) {
	const page = "testdata/reasons"
	var lines []string
	for _, c := range allCases(t) {
		decision, _ := decided(plugin.Decide(c.options, c.pod, c.dialects()))
		lines = append(lines, strings.Split(strings.TrimSpace(decision), "\n")...)
	}
	slices.Sort(lines)
	got := strings.Join(slices.Compact(lines), "\n") + "\n"
	if *update {
		if err := os.WriteFile(page, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", page, diff)
	}
}

// TestCasesSayWhoWroteThem: annotations are facts about one version of an
// injector, and a case says which.
func TestCasesSayWhoWroteThem(t *testing.T) {
	version := regexp.MustCompile(`(Istio|Linkerd|[Cc]onsul|consul-k8s|Nomad|Kuma|App Mesh controller|OSM|NGINX Service Mesh)[^.]{0,40} v?\d+\.\d+`)
	for _, c := range allCases(t) {
		if len(c.pod.Annotations)+len(c.pod.Ref.Args) > 0 && !version.Match(c.archive.Comment) {
			t.Errorf("%s: of which injector, of which version, are these annotations?\n%s", c.name(), c.archive.Comment)
		}
	}
}
