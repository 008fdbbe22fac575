package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestEveryPlatformHasItsSection: of deploy/platforms, each with its overlay, and every directory that a
// section names is one of the platform's values.
func TestEveryPlatformHasItsSection(t *testing.T) {
	page := read(t, "platforms.md")
	files, err := filepath.Glob("../deploy/platforms/*.yaml")
	if err != nil || len(files) < 14 {
		t.Fatalf("%d platforms, %v", len(files), err)
	}
	var names []string
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		names = append(names, name)
		if _, err := os.Stat("../deploy/kustomize/" + name + "/kustomization.yaml"); err != nil {
			t.Error(err)
		}
		_, section, found := strings.Cut(page, "\n## "+name+"\n")
		if !found {
			t.Errorf("platforms.md has no section %s", name)
			continue
		}
		section, _, _ = strings.Cut(section, "\n## ")
		values := read(t, file)
		for _, path := range regexp.MustCompile("`(/(?:home|var|etc)/[^`]*)`").FindAllStringSubmatch(section, -1) {
			if !strings.Contains(values, path[1]) {
				t.Errorf("platforms.md, %s: %s is not in %s", name, path[1], file)
			}
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^## (.*)$`).FindAllStringSubmatch(page, -1) {
		if !slices.Contains(names, m[1]) {
			t.Errorf("platforms.md has a section %s, and deploy/platforms no such file", m[1])
		}
	}
}

// TestTheRecipesAreYAML: they parse, and the taint's key is the chart's.
func TestTheRecipesAreYAML(t *testing.T) {
	var values struct {
		StartupTaint struct {
			Key string `yaml:"key"`
		} `yaml:"startupTaint"`
	}
	if err := yaml.Unmarshal([]byte(read(t, "../deploy/chart/detour/values.yaml")), &values); err != nil {
		t.Fatal(err)
	}
	recipes := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(read(t, "startup.md"), -1)
	if len(recipes) != 3 {
		t.Errorf("%d recipes", len(recipes))
	}
	for _, m := range recipes {
		var o map[string]any
		if err := yaml.Unmarshal([]byte(m[1]), &o); err != nil || o["kind"] == nil {
			t.Errorf("%v:\n%s", err, m[1])
		}
		if !strings.Contains(m[1], "key: "+values.StartupTaint.Key+", effect: NoSchedule") {
			t.Errorf("the taint is not the chart's %s:\n%s", values.StartupTaint.Key, m[1])
		}
	}
}
