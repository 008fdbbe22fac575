package install

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// TestABinaryThatCannotBeExecutedIsWrittenAnew changes the mode of the very bytes that are wanted.
func TestABinaryThatCannotBeExecutedIsWrittenAnew(t *testing.T) {
	for _, tc := range []struct {
		mode fs.FileMode
		want BinaryState
		then fs.FileMode
	}{
		{0o755, BinaryCurrent, 0o755},
		{0o750, BinaryCurrent, 0o750}, // somebody's own idea of safety
		{0o700, BinaryCurrent, 0o700},
		{0o644, BinaryInert, 0o755},
		{0o600, BinaryInert, 0o755},
	} {
		t.Run(fmt.Sprintf("%#o", tc.mode), func(t *testing.T) {
			n := node(t, Spliced)
			write(t, n.ConfDir, "10-flannel.conflist", flannel)
			_, err := n.Install()
			must(t, err)
			binary := filepath.Join(n.BinDir, PluginType)
			must(t, os.Chmod(binary, tc.mode))
			r, err := n.Install()
			must(t, err)
			info, err := os.Stat(binary)
			must(t, err)
			if r.Binary != tc.want || info.Mode().Perm() != tc.then {
				t.Errorf("found %s, then mode %#o, want %s, %#o", r.Binary, info.Mode().Perm(), tc.want, tc.then)
			}
			if Version(binary) == "" {
				t.Error("it does not run")
			}
		})
	}
}

func TestABinaryMadeNotExecutableIsRepaired(t *testing.T) {
	n := node(t, Owned)
	write(t, n.ConfDir, "10-flannel.conflist", flannel)
	w, log := watch(t, n, t.TempDir())
	within(t, "joined", func() bool { return w.Ready() == nil })
	binary := filepath.Join(n.BinDir, PluginType)
	must(t, os.Chmod(binary, 0o644))
	within(t, "executable again", func() bool { return executable(binary) })
	within(t, "said", func() bool { return log.has("repaired the binary", `was="not executable"`) })
}
