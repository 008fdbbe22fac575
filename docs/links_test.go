package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	fenced  = regexp.MustCompile("(?sm)^ *```.*?^ *```$")
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	note    = regexp.MustCompile(`\[\^\w+\](:?)`)
)

// TestLinksLeadSomewhere: relative links to files that are there, anchors to
// headings that are there.
func TestLinksLeadSomewhere(t *testing.T) {
	n := 0
	for _, page := range append(pages(t), "../CONTRIBUTING.md", "../SECURITY.md") {
		for _, m := range link.FindAllStringSubmatch(fenced.ReplaceAllString(read(t, page), ""), -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			n++
			file, anchor, anchored := strings.Cut(m[1], "#")
			to := filepath.Join(filepath.Dir(page), file)
			if file == "" {
				to = page
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s: link to %s: %v", page, m[1], err)
				continue
			}
			if anchored && !slices.Contains(anchors(read(t, to)), anchor) {
				t.Errorf("%s: link to %s: no such heading (want one of %s)", page, m[1], strings.Join(anchors(read(t, to)), ", "))
			}
		}
	}
	if n == 0 {
		t.Error("no page has a link")
	}
}

// TestFootnotesAreThere: each is called, and each call has one.
func TestFootnotesAreThere(t *testing.T) {
	for _, page := range pages(t) {
		calls, notes := map[string]bool{}, map[string]bool{}
		for _, m := range note.FindAllStringSubmatch(fenced.ReplaceAllString(read(t, page), ""), -1) {
			name := strings.TrimSuffix(m[0], ":")
			calls[name] = calls[name] || m[1] == ""
			notes[name] = notes[name] || m[1] == ":"
		}
		for name := range calls {
			if !calls[name] || !notes[name] {
				t.Errorf("%s: %s: called %t, there %t", page, name, calls[name], notes[name])
			}
		}
	}
}

// anchors gives a page's, as GitHub makes them of its headings.
func anchors(page string) []string {
	punctuation := regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
	var all []string
	for _, m := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(page, ""), -1) {
		text := punctuation.ReplaceAllString(strings.ToLower(m[1]), "")
		all = append(all, strings.ReplaceAll(text, " ", "-"))
	}
	return all
}

// TestEveryDecisionIsInTheIndex: adr/README.md has each ADR, by its number and title.
func TestEveryDecisionIsInTheIndex(t *testing.T) {
	index := read(t, "adr/README.md")
	files, err := filepath.Glob("adr/[0-9]*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d ADRs, %v", len(files), err)
	}
	for _, f := range files {
		title, _, _ := strings.Cut(strings.TrimPrefix(read(t, f), "# "), "\n")
		_, title, _ = strings.Cut(title, ". ")
		want := "[" + title + "](" + filepath.Base(f) + ")"
		if !strings.Contains(index, want) {
			t.Errorf("adr/README.md: no line with %s", want)
		}
	}
}
