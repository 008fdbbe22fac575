package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestOperatorsPagesNameWhatTheCodeHas: each metric of the code is in metrics.md and each one there is
// in the code; so are the messages that troubleshooting starts from.
func TestOperatorsPagesNameWhatTheCodeHas(t *testing.T) {
	page := read(t, "metrics.md")
	code := read(t, "../install/metrics.go")
	metric := regexp.MustCompile(`\bdetour_[a-z_]+\b`)
	inCode := map[string]bool{}
	for _, m := range metric.FindAllString(code, -1) {
		inCode[m] = true
		if !strings.Contains(page, "`"+m+"`") {
			t.Errorf("metrics.md does not have %s", m)
		}
	}
	for _, m := range metric.FindAllString(page, -1) {
		if !inCode[m] {
			t.Errorf("metrics.md has %s, which no code has", m)
		}
	}
	page = read(t, "troubleshooting.md")
	var all strings.Builder
	for _, pattern := range []string{"../install/*.go", "../plugin/*.go", "../redirect/*/*.go", "../inspect/*.go", "../cmd/detour/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(text)
		}
	}
	for _, words := range []string{"the runtime handed over no annotations", "waiting for the network plugin", "first network configuration is broken",
		"another writer undoes every repair", "hands over no pod annotations", "does not speak it", "is in the chain as well", "in which iptables cannot match owners",
		"the runtime has not loaded us", "slips past it", "they loop", "nobody listens on"} {
		if !strings.Contains(page, words) || !strings.Contains(all.String(), words) {
			t.Errorf("%q: in the page %v, in the code %v", words, strings.Contains(page, words), strings.Contains(all.String(), words))
		}
	}
}

// TestPagesNameTheImageThatIsBuilt: a tag that make image does not make ends in ErrImagePull, of app pods too.
func TestPagesNameTheImageThatIsBuilt(t *testing.T) {
	version := regexp.MustCompile(`(?m)^appVersion: "(.+)"$`).FindStringSubmatch(read(t, "../deploy/chart/detour/Chart.yaml"))[1]
	tag := regexp.MustCompile(`detour-cni/detour:([^\s;` + "`" + `"]+)`)
	var pages []string
	for _, pattern := range []string{"*.md", "../README.md", "../deploy/examples/*.yaml", "../deploy/examples/*/*.yaml"} {
		some, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, some...)
	}
	count := 0
	for _, page := range pages {
		for _, m := range tag.FindAllStringSubmatch(read(t, page), -1) {
			if count++; m[1] != version {
				t.Errorf("%s: %s (want the tag %s, which make image gives)", page, m[0], version)
			}
		}
	}
	if count < 20 {
		t.Errorf("%d images only", count)
	}
}
