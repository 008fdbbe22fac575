package install

import (
	"errors"
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

// TestADowngradeWaitsForAPrimary: until then the runtime may load the entry of the newer one, which only that reads.
func TestADowngradeWaitsForAPrimary(t *testing.T) {
	for _, mode := range []Mode{Owned, DropIn} {
		n := node(t, mode)
		primary := filepath.Join(n.ConfDir, "10-flannel.conflist")
		write(t, n.ConfDir, "10-flannel.conflist", flannel)
		r, err := n.Install()
		must(t, err)
		must(t, os.WriteFile(r.Plan.Joined, []byte(strings.Replace(string(bytesOf(t, r.Plan.Joined)), `"detour":{}`, `"detour":{"ofTheFuture":1}`, 1)), 0o600))
		binary := filepath.Join(n.BinDir, PluginType)
		must(t, os.WriteFile(binary, append(bytesOf(t, n.Plugin), "newer"...), 0o755))
		must(t, os.Remove(primary))
		if r, err := n.Install(); !errors.Is(err, ErrNoPrimary) || r.Binary != BinaryOther {
			t.Errorf("%s: %s, %v", mode, r.Binary, err)
		}
		if state, err := LookBinary(binary, n.Plugin); state != BinaryOther {
			t.Errorf("%s: the older binary beside the newer entry: %s, %v", mode, state, err)
		}
		write(t, n.ConfDir, "10-flannel.conflist", flannel)
		if _, err := n.Install(); err != nil || !inFile(r.Plan.Joined, `"detour":{}`)() {
			t.Errorf("%s, with a primary: %v", mode, err)
		}
		if state, err := LookBinary(binary, n.Plugin); state != BinaryCurrent {
			t.Errorf("%s, with a primary: %s, %v", mode, state, err)
		}
	}
}

// TestADowngradeThatLeavesTheChainPutsTheEntryFirst: it fails at the binary, and has left.
func TestADowngradeThatLeavesTheChainPutsTheEntryFirst(t *testing.T) {
	n := node(t, Spliced)
	spoken := strings.NewReplacer(`"type": "portmap"`, `"type": "detour-cni", "detour": {"ofTheFuture": 1}`, "0.3.1", "9.9.9")
	write(t, n.ConfDir, "10-flannel.conflist", spoken.Replace(flannel))
	must(t, os.WriteFile(filepath.Join(n.BinDir, PluginType), append(bytesOf(t, n.Plugin), "newer"...), 0o755))
	older := n.Plugin
	n.Plugin = filepath.Join(t.TempDir(), PluginType)
	must(t, os.WriteFile(n.Plugin, []byte("half"), 0o755))
	if _, err := n.Install(); err == nil || inFile(filepath.Join(n.ConfDir, "10-flannel.conflist"), PluginType)() {
		t.Errorf("still in the chain: %v", err)
	}
	n.Plugin = older
	if _, err := n.Install(); !isVersion(err) {
		t.Errorf("%v", err)
	}
}

func isVersion(err error) bool {
	_, ok := errors.AsType[VersionError](err)
	return ok
}
