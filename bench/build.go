package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// binaries are the plugins that are measured, built the way the plugin is shipped.
type binaries struct{ doNothing, byHand, detour string }

// build puts them into dir. A plugin that is there already is taken as it is.
func build(dir, plugin string) (binaries, error) {
	b := binaries{
		doNothing: filepath.Join(dir, "donothing"),
		byHand:    filepath.Join(dir, "byhand"),
		detour:    filepath.Join(dir, "detour-cni"),
	}
	for binary, pkg := range map[string]string{
		b.doNothing: "./bench/donothing",
		b.byHand:    "./bench/byhand",
		b.detour:    "./cmd/detour-cni",
	} {
		if binary == b.detour && plugin != "" {
			b.detour = plugin
			continue
		}
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return b, fmt.Errorf("build %s: %w: %s", pkg, err, out)
		}
	}
	return b, nil
}
