package main

import (
	"path/filepath"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
)

// TestLintOfEveryPlatform: `helm lint --strict` with each platform's values.
func TestLintOfEveryPlatform(t *testing.T) {
	platforms, err := filepath.Glob(filepath.Join(deploy, "platforms", "*.yaml"))
	if err != nil || len(platforms) < 14 {
		t.Fatalf("%d platforms, %v", len(platforms), err)
	}
	for _, path := range platforms {
		_, values, err := platform(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range lint.All(filepath.Join(deploy, "chart", "detour"), values, namespace, true).Messages {
			if m.Severity > support.InfoSev {
				t.Errorf("%s: %s", strings.TrimSuffix(filepath.Base(path), ".yaml"), m)
			}
		}
	}
}
