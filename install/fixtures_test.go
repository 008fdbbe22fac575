package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"
	"golang.org/x/tools/txtar"

	"github.com/detour-cni/detour/plugin/mesh"
)

// A fixture is a conf dir as its writer leaves it: testdata/conflist/*.txtar. Before the
// files it says, a line each:
//
//	auto: MODE            what auto takes without knowledge of the runtime; - for none
//	modes: MODE...        those in which it is installed, disturbed and uninstalled
//	known: RUNTIME MODE   what auto takes with it
//	refused: MODE WORDS   a mode that cannot be, and words of the reason
//	broken: FILE          no install, and the reason names the file
//	waits: yes            no install yet
//	joined: MODE          our entry is in it already: taken over and taken out
//	warns: WORD           a warning has the word
//	file: MODE NAME       where the entry must be
//	chmod, link, linkdir, crlf, chomp: what txtar cannot say
type fixture struct {
	name  string
	says  map[string][]string
	files []txtar.File
}

func fixtures(t *testing.T) (all []fixture) {
	t.Helper()
	paths, err := filepath.Glob("../testdata/conflist/*.txtar")
	if err != nil || len(paths) < 40 {
		t.Fatalf("%d fixtures, want at least 40: %v", len(paths), err)
	}
	for _, path := range paths {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f := fixture{name: strings.TrimSuffix(filepath.Base(path), ".txtar"), says: map[string][]string{}, files: archive.Files}
		for line := range strings.Lines(string(archive.Comment)) {
			if line = strings.TrimSpace(line); strings.HasPrefix(line, "#") {
				continue
			}
			key, value, ok := strings.Cut(line, ": ")
			if !ok {
				t.Fatalf("%s: %q", path, line)
			}
			f.says[key] = append(f.says[key], value)
		}
		all = append(all, f)
	}
	return all
}

func (f fixture) one(key string) string {
	if v := f.says[key]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// place makes the conf dir, as its writer would.
func (f fixture) place(t *testing.T, dir string) {
	t.Helper()
	for _, file := range f.files {
		data := file.Data
		if f.one("crlf") == file.Name {
			data = bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n"))
		}
		if f.one("chomp") == file.Name {
			data = bytes.TrimSuffix(data, []byte("\n"))
		}
		path := filepath.Join(dir, file.Name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, data, 0o644))
	}
	for _, v := range f.says["chmod"] {
		mode, name, _ := strings.Cut(v, " ")
		bits, err := strconv.ParseUint(mode, 8, 32)
		must(t, err)
		must(t, exec.Command("chmod", fmt.Sprintf("%o", bits), filepath.Join(dir, name)).Run())
	}
	for _, v := range f.says["link"] {
		name, to, _ := strings.Cut(v, " ")
		must(t, os.Symlink(to, filepath.Join(dir, name)))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tree is all that can be seen of a directory: names, modes, owners, links, bytes.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(&all, "%s %s", strings.TrimPrefix(path, dir+"/"), info.Mode())
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			fmt.Fprintf(&all, " -> %s\n", to)
			return err
		case info.Mode().IsRegular():
			text, err := os.ReadFile(path)
			fmt.Fprintf(&all, "\n%s\n", text)
			return err
		}
		all.WriteByte('\n')
		return nil
	}))
	return all.String()
}

// builtPlugin is a real build of the plugin; IsPlugin knows no other.
var builtPlugin = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "detour-plugin")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, PluginType)
	out, err := exec.Command("go", "build", "-o", path, "../cmd/detour-cni").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return path, err
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := builtPlugin(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path)) // in /tmp
	}
	os.Exit(code)
}

// node is a Node over directories of the test's own.
func node(t *testing.T, mode Mode) Node {
	t.Helper()
	plugin, err := builtPlugin()
	must(t, err)
	root := t.TempDir()
	n := Node{ConfDir: filepath.Join(root, "net.d"), BinDir: filepath.Join(root, "bin"), Plugin: plugin, Mode: mode, Dialects: mesh.All()}
	must(t, os.MkdirAll(n.ConfDir, 0o755))
	must(t, os.MkdirAll(n.BinDir, 0o755))
	return n
}

func (f fixture) node(t *testing.T, mode Mode) Node {
	t.Helper()
	n := node(t, mode)
	if f.one("linkdir") != "" {
		real := filepath.Join(filepath.Dir(n.ConfDir), "elsewhere")
		must(t, os.Rename(n.ConfDir, real))
		must(t, os.Symlink("elsewhere", n.ConfDir))
	}
	f.place(t, n.ConfDir)
	return n
}

func TestFixtures(t *testing.T) {
	for _, f := range fixtures(t) {
		t.Run(f.name, func(t *testing.T) {
			f.checkAuto(t)
			f.checkRefusals(t)
			for mode := range strings.FieldsSeq(f.one("modes")) {
				t.Run(mode, func(t *testing.T) { f.checkMode(t, Mode(mode)) })
			}
			if f.one("joined") != "" {
				f.checkTakeover(t)
			}
		})
	}
}

func (f fixture) checkAuto(t *testing.T) {
	t.Helper()
	cases := append([]string{" " + f.one("auto")}, f.says["known"]...)
	for _, c := range cases {
		version, want, _ := strings.Cut(c, " ")
		if want == "-" {
			continue
		}
		n := f.node(t, Auto)
		n.Runtime = runtime(t, version)
		r, err := n.Install()
		must(t, err)
		if string(r.Plan.Mode) != want || r.Plan.Why == "" {
			t.Errorf("auto on %q: %s (%s), want %s", version, r.Plan.Mode, r.Plan.Why, want)
		}
		if word := f.one("warns"); !strings.Contains(strings.Join(r.Plan.Warnings, "\n"), word) {
			t.Errorf("warnings %q have no %q", r.Plan.Warnings, word)
		}
	}
}

// checkRefusals installs what must not be: nothing in the conf dir changes.
func (f fixture) checkRefusals(t *testing.T) {
	t.Helper()
	refused := f.says["refused"]
	for _, file := range f.says["broken"] {
		refused = append(refused, "auto "+file, "splice "+file, "owned "+file)
	}
	if f.one("waits") != "" {
		refused = append(refused, "auto no network configuration yet")
	}
	for _, c := range refused {
		mode, words, _ := strings.Cut(c, " ")
		n := f.node(t, Mode(mode))
		before := tree(t, n.ConfDir)
		_, err := n.Install()
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v, want an error with %q", mode, err, words)
		}
		if f.one("waits") != "" && !errors.Is(err, ErrNoPrimary) {
			t.Errorf("%v is not waited for", err)
		}
		if after := tree(t, n.ConfDir); after != before {
			t.Errorf("%s: refused, but changed:\n%s", mode, after)
		}
	}
}

// checkMode is a life: installed, looked at as the runtime does, undone by the file's
// writer, put right, uninstalled.
func (f fixture) checkMode(t *testing.T, mode Mode) {
	t.Helper()
	n := f.node(t, mode)
	before := tree(t, n.ConfDir)
	r, err := n.Install()
	must(t, err)
	if want, ok := strings.CutPrefix(f.one("file"), string(mode)+" "); ok && filepath.Base(r.Plan.Joined) != want {
		t.Errorf("joined %s, want %s", r.Plan.Joined, want)
	}
	loaded(t, n.ConfDir, mode)
	installed := tree(t, n.ConfDir)
	if again, err := n.Install(); err != nil || again.Changed() {
		t.Errorf("a second install changes something: %v %v", again.Plan.Steps, err)
	}

	f.placeAgain(t, n.ConfDir)
	_, err = n.Install()
	must(t, err)
	if now := tree(t, n.ConfDir); now != installed {
		t.Errorf("after the writer wrote again:\n%s\nwant\n%s", now, installed)
	}
	must(t, os.Remove(filepath.Join(n.BinDir, PluginType)))
	_, err = n.Install()
	must(t, err)

	farewell, err := n.uninstall(t)
	must(t, err)
	if now := tree(t, n.ConfDir); now != before {
		t.Errorf("uninstalled, %v:\n%s\nwant\n%s", farewell, now, before)
	}
	if left, _ := os.ReadDir(n.BinDir); len(left) > 0 {
		t.Errorf("left in the bin dir: %v", left)
	}
}

// placeAgain is the writer at its next start: its files as they were, in place.
func (f fixture) placeAgain(t *testing.T, dir string) {
	t.Helper()
	for _, v := range f.says["link"] {
		name, _, _ := strings.Cut(v, " ")
		must(t, os.Remove(filepath.Join(dir, name)))
	}
	f.place(t, dir)
}

func (n Node) uninstall(t *testing.T) (Farewell, error) {
	t.Helper()
	n.Runtime = runtime(t, "containerd://1.6.20")
	return n.Uninstall(context.Background(), time.Millisecond, filepath.Join(t.TempDir(), "results"))
}

// loaded reads the directory with the runtimes' own library, and wants us at the end of
// the chain, under the name and version that the writer chose.
func loaded(t *testing.T, dir string, mode Mode) {
	t.Helper()
	files, err := libcni.ConfFiles(dir, []string{".conf", ".conflist", ".json"})
	must(t, err)
	d, err := Look(dir)
	must(t, err)
	primary, err := d.Primary(Runtime{})
	must(t, err)
	if mode == Owned && len(files) < 2 {
		t.Fatalf("%v: no list of our own", files)
	}
	list, err := libcni.NetworkConfFromFile(slices.Min(files))
	must(t, err)
	// Behind us only what somebody else drops in.
	last := list.Plugins[len(list.Plugins)-1]
	if others, _ := filepath.Glob(filepath.Join(dir, list.Name, "[0-8]*.conf")); len(others) > 0 && mode != DropIn {
		last = list.Plugins[len(list.Plugins)-1-len(others)]
	}
	if last.Network.Type != PluginType || !last.Network.Capabilities["io.kubernetes.cri.pod-annotations"] {
		t.Errorf("the chain ends in %s", last.Network.Type)
	}
	version := ""
	if primary.List != nil {
		version = primary.List.CNIVersion
	} else {
		version = primary.Single.CNIVersion
	}
	if list.Name != primary.Network() || list.CNIVersion != version {
		t.Errorf("network %s %s, want %s %s", list.Name, list.CNIVersion, primary.Network(), version)
	}
}

// checkTakeover finds our entry in the file already: once installed it is there once, as
// wanted; uninstalled, no word of us is left and the rest of the chain is.
func (f fixture) checkTakeover(t *testing.T) {
	t.Helper()
	n := f.node(t, Spliced)
	_, err := n.Install()
	must(t, err)
	d, err := Look(n.ConfDir)
	must(t, err)
	if got := d.Files[0].List.Ours(); len(got) != 1 {
		t.Errorf("%d entries of ours", len(got))
	}
	if want := entry(t, "").Text; !sameJSON(d.entries()[0], want) {
		t.Errorf("entry %s, want %s", d.entries()[0], want)
	}
	_, err = n.uninstall(t)
	must(t, err)
	if now := tree(t, n.ConfDir); strings.Contains(now, "detour") || !strings.Contains(now, `"bridge"`) {
		t.Error(now)
	}
}
