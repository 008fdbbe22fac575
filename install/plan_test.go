package install

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const flannel = "{\n  \"name\": \"cbr0\",\n  \"cniVersion\": \"0.3.1\",\n  \"plugins\": [\n    {\n      \"type\": \"flannel\"\n    },\n    {\n      \"type\": \"portmap\"\n    }\n  ]\n}\n"

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func runtime(t *testing.T, text string) Runtime {
	t.Helper()
	r, err := ParseRuntime(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// converge looks, decides and applies, and expects that a second look finds nothing to do.
func converge(t *testing.T, dir string, w Want) Plan {
	t.Helper()
	var first Plan
	for i := range 2 {
		d, err := Look(dir)
		if err != nil {
			t.Fatal(err)
		}
		p, err := Decide(d, w)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = p
			if err := Apply(d, p); err != nil {
				t.Fatal(err)
			}
		} else if len(p.Steps) > 0 {
			t.Errorf("a second look wants to change %s", p.Steps[0].Path)
		}
	}
	return first
}

func names(t *testing.T, dir string) string {
	t.Helper()
	var all []string
	if err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if !e.IsDir() {
			all = append(all, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, " ")
}

func TestAChangedModeTakesTheFormerJoinBack(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "10-flannel.conflist", flannel)
	w := Want{Entry: entry(t, "")}
	for _, tc := range []struct {
		mode  Mode
		files string
	}{
		{Spliced, "10-flannel.conflist"},
		{DropIn, "10-flannel.conflist cbr0/90-detour-cni.conf"},
		{Owned, "10-flannel-detour.conflist 10-flannel.conflist"},
		{Spliced, "10-flannel.conflist"},
		{Owned, "10-flannel-detour.conflist 10-flannel.conflist"},
		{DropIn, "10-flannel.conflist cbr0/90-detour-cni.conf"},
		{Spliced, "10-flannel.conflist"},
	} {
		w.Mode = tc.mode
		converge(t, dir, w)
		if got := names(t, dir); got != tc.files {
			t.Errorf("%s: %s, want %s", tc.mode, got, tc.files)
		}
	}
	d, err := Look(dir)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Leave(d)
	if err != nil {
		t.Fatal(err)
	}
	if err := Apply(d, p); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "10-flannel.conflist"))
	if err != nil || string(text) != flannel {
		t.Errorf("%s %v", text, err)
	}
}

func TestAutoTakesADropInOnlyWhereItIsKnownToBeRead(t *testing.T) {
	const single = `{"cniVersion":"0.4.0","name":"ovn-kubernetes","type":"ovn-k8s-cni-overlay"}`
	const multus = `{"cniVersion":"0.3.1","name":"multus-cni-network","type":"multus"}`
	for _, tc := range []struct {
		file, text, runtime string
		want                Mode
	}{
		{"10-flannel.conflist", flannel, "", Spliced},
		{"10-flannel.conflist", flannel, "containerd://2.0.7", Spliced},
		{"10-flannel.conflist", flannel, "containerd://2.1.0", DropIn},
		{"10-flannel.conflist", flannel, "cri-o://1.33.0", DropIn},
		{"10-flannel.conflist", flannel, "cri-o://1.32.5", Spliced},
		{"10-ovn-kubernetes.conf", single, "cri-o://1.33.0", Owned},
		{"00-multus.conf", multus, "containerd://2.1.0", Owned},
		{"10-x.conflist", `{"cniVersion":"1.0.0","name":"n","loadOnlyInlinedPlugins":true,"plugins":[{"type":"a"}]}`, "containerd://2.1.0", Spliced},
	} {
		dir := t.TempDir()
		write(t, dir, tc.file, tc.text)
		p := converge(t, dir, Want{Mode: Auto, Runtime: runtime(t, tc.runtime), Entry: entry(t, "")})
		if p.Mode != tc.want || p.Why == "" {
			t.Errorf("%s on %q: %s (%s), want %s", tc.file, tc.runtime, p.Mode, p.Why, tc.want)
		}
		if tc.want == Spliced {
			continue
		}
		if text, err := os.ReadFile(filepath.Join(dir, tc.file)); err != nil || string(text) != tc.text {
			t.Errorf("%s was touched", tc.file)
		}
	}
}

func TestNothingIsAppliedToAFileThatMoved(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "10-flannel.conflist", flannel)
	d, err := Look(dir)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Decide(d, Want{Mode: Spliced, Entry: entry(t, "")})
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "10-flannel.conflist", "{}")
	if err := Apply(d, p); !errors.Is(err, ErrMoved) {
		t.Error(err)
	}
	if got := names(t, dir); got != "10-flannel.conflist" {
		t.Error(got)
	}
}

func TestOnlyWhatWeMadeIsOwned(t *testing.T) {
	for name, want := range map[string]bool{
		"10-flannel-detour.conflist": true,
		"10-list-detour.conflist":    true,
		"10-detour.conflist":         false, // an administrator's own chain
		"10-flannel.conflist":        false,
	} {
		if got := (File{Path: "/etc/cni/net.d/" + name}).IsOwned(); got != want {
			t.Errorf("%s: owned %v, want %v", name, got, want)
		}
	}
	if at := newOwnedPath(File{Path: "/etc/cni/net.d/10.conflist"}); filepath.Base(at) != "10-list-detour.conflist" {
		t.Error(at)
	}
}

// TestAnOwnedListStaysFirst renames the primary to and fro: there is no moment in which its own
// list is the first.
func TestAnOwnedListStaysFirst(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "10-flannel.conflist", flannel)
	w := Want{Mode: Owned, Entry: entry(t, "")}
	converge(t, dir, w)
	for _, move := range [][2]string{{"10-flannel.conflist", "20-flannel.conflist"}, {"20-flannel.conflist", "10-flannel.conflist"}} {
		if err := os.Rename(filepath.Join(dir, move[0]), filepath.Join(dir, move[1])); err != nil {
			t.Fatal(err)
		}
		if p := converge(t, dir, w); len(p.Steps) > 0 {
			t.Errorf("%v: %s is %s", move, p.Steps[0].Path, p.Steps[0].What())
		}
	}
	if got := names(t, dir); got != "10-flannel-detour.conflist 10-flannel.conflist" {
		t.Error(got)
	}
	if err := os.Rename(filepath.Join(dir, "10-flannel.conflist"), filepath.Join(dir, "05-flannel.conflist")); err != nil {
		t.Fatal(err)
	}
	converge(t, dir, w)
	if got := names(t, dir); got != "05-flannel-detour.conflist 05-flannel.conflist" {
		t.Error(got)
	}
}
