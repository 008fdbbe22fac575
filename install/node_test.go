package install

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNoEntryIsWrittenForABinaryThatIsNotThere: an entry of a newer build means that ours goes first,
// but only beside a binary of that build.
func TestNoEntryIsWrittenForABinaryThatIsNotThere(t *testing.T) {
	n := node(t, Spliced)
	write(t, n.ConfDir, "10-flannel.conflist", flannel)
	write(t, n.ConfDir, "20-old.conflist", strings.Replace(flannel, `"type": "portmap"`, `"type": "detour-cni", "detour": {"ofTheFuture": 1}`, 1))
	before := tree(t, n.ConfDir)
	n.Plugin = filepath.Join(t.TempDir(), PluginType)
	must(t, os.WriteFile(n.Plugin, []byte("half"), 0o755))
	if _, err := n.Install(); err == nil || !strings.Contains(err.Error(), "not a build of") {
		t.Errorf("%v, want what is wrong with the binary", err)
	}
	if now := tree(t, n.ConfDir); now != before {
		t.Errorf("no binary, but an entry:\n%s", now)
	}
}

// TestADowngradePutsTheEntryFirst: it fails at the binary, and leaves an entry that the newer one reads.
func TestADowngradePutsTheEntryFirst(t *testing.T) {
	n := node(t, Spliced)
	write(t, n.ConfDir, "10-flannel.conflist", strings.Replace(flannel, `"type": "portmap"`, `"type": "detour-cni", "detour": {"ofTheFuture": 1}`, 1))
	newer := filepath.Join(n.BinDir, PluginType)
	must(t, os.WriteFile(newer, append(bytesOf(t, n.Plugin), "newer"...), 0o755))
	n.Plugin = filepath.Join(t.TempDir(), PluginType)
	must(t, os.WriteFile(n.Plugin, []byte("half"), 0o755))
	if _, err := n.Install(); err == nil {
		t.Error("half a binary is installed")
	}
	if text := string(bytesOf(t, filepath.Join(n.ConfDir, "10-flannel.conflist"))); strings.Contains(text, "ofTheFuture") || !strings.Contains(text, PluginType) || !IsPlugin(newer) {
		t.Errorf("%s", text)
	}
}
