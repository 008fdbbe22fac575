package install

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestWhatWasFoundIsSaid does to each mode's file what others do to it.
func TestWhatWasFoundIsSaid(t *testing.T) {
	const ours = `{"type":"detour-cni","detour":{}}`
	for _, tc := range []struct {
		mode              Mode
		file, text, found string
	}{
		{Spliced, "10-flannel.conflist", flannel, "without our entry"},
		{Spliced, "10-flannel.conflist", strings.Replace(flannel, "[", "["+ours+","+ours+",", 1), "our entry 2 times"},
		{Spliced, "10-flannel.conflist", strings.Replace(flannel, "[", "["+ours+",", 1), "our entry, with other words than wanted"},
		{Owned, "10-flannel-detour.conflist", "", "no file"},
		{Owned, "10-flannel-detour.conflist", "{", "broken: "},
		{Owned, "10-flannel.conflist", strings.Replace(flannel, "portmap", "bandwidth", 1), "a chain that is no longer the primary's"},
		{DropIn, "cbr0/90-detour-cni.conf", "", "no file"},
		{DropIn, "cbr0/90-detour-cni.conf", "{", "broken: not JSON"},
		{DropIn, "cbr0/90-detour-cni.conf", ours, "our entry, with other words than wanted"},
	} {
		dir := t.TempDir()
		write(t, dir, "10-flannel.conflist", flannel)
		w := Want{Mode: tc.mode, Entry: entry(t, "")}
		converge(t, dir, w)
		path := filepath.Join(dir, tc.file)
		if tc.text == "" {
			must(t, os.Remove(path))
		} else {
			must(t, os.WriteFile(path, []byte(tc.text), 0o600))
		}
		d, err := Look(dir)
		must(t, err)
		p, err := Decide(d, w)
		must(t, err)
		if len(p.Steps) != 1 || !strings.HasPrefix(p.Steps[0].Found(), tc.found) {
			t.Errorf("%s: %s: %+v, want one step that found %q", tc.mode, tc.file, p.Steps, tc.found)
		}
	}

	dir := t.TempDir()
	write(t, dir, "10-flannel.conflist", flannel)
	converge(t, dir, Want{Mode: Spliced, Entry: entry(t, "")})
	d, err := Look(dir)
	must(t, err)
	p, err := Decide(d, Want{Mode: Owned, Entry: entry(t, "")})
	must(t, err)
	if last := p.Steps[len(p.Steps)-1]; last.Found() != "a join that is no longer wanted" {
		t.Errorf("%s: found %q", last.Path, last.Found())
	}
}
