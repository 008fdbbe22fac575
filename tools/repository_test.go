package tools

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestNothingBuiltIsTracked finds what a `go build` without -o left in a commit once: three programs of 88 MB.
func TestNothingBuiltIsTracked(t *testing.T) {
	const most = 1 << 20 // bytes; the largest that belongs here is a go.sum of 0.1 MB
	list, err := exec.Command("git", "-c", "safe.directory=*", "-C", "..", "ls-files", "-z").Output()
	if err != nil || len(list) == 0 {
		t.Fatalf("git ls-files: %v", err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		if info, err := os.Lstat(filepath.Join("..", name)); err == nil && info.Size() > most {
			t.Errorf("%s: %d bytes are tracked (want at most %d): what is built does not belong in the repository", name, info.Size(), most)
		}
	}
}
