package install

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	// dropInName is our file in net.d/<network>/.
	dropInName = "90-" + PluginType + ".conf"
	// ownedSuffix makes an owned list's name out of the primary's: 10-flannel.conflist
	// and 10-flannel-detour.conflist. '-' sorts before '.', so ours comes right before it,
	// and Multus passes over 00-multus-detour.conflist when it looks for its own primary.
	ownedSuffix = "-detour.conflist"
	// maxConf bounds a file that is read, in bytes. The largest that writers are known
	// to make are some 10 KiB.
	maxConf = 4 << 20
)

// A Dir is what a CNI configuration directory holds, as far as a runtime looks at it.
type Dir struct {
	Path string
	// Files are those that a runtime loads, in its order: *.conf, *.conflist and
	// *.json, sorted by name.
	Files []File
	// DropIns are our own drop-ins, by the name of the network's directory.
	DropIns map[string]File
}

// A File is one configuration file as it was read.
type File struct {
	Path string
	// Real is the path behind links: two names in a directory may be one file, and two networks may
	// have one directory.
	Real string
	// Perm are its permission bits; not read of a drop-in.
	Perm fs.FileMode
	Text []byte
	// List is set for a list, Single for a .conf; Err says why it is neither.
	List   *List
	Single *Single
	Err    error
}

// A Single is a .conf: one plugin, no list.
type Single struct{ Name, CNIVersion, Type string }

// Base is the file's name in its directory.
func (f File) Base() string { return filepath.Base(f.Path) }

// IsOwned reports whether the file is a list that we made (Owned). The name says it, not
// the content: somebody may have taken our entry out of it, or left half of it. A file
// 10-detour.conflist, a number and us, is an administrator's own and no copy of a primary.
func (f File) IsOwned() bool {
	stem, ok := strings.CutSuffix(f.Base(), ownedSuffix)
	return ok && !isNumber(stem)
}

func isNumber(stem string) bool { return strings.Trim(stem, "0123456789") == "" }

// Plugins are the chain's plugins by name; nil if the file is broken.
func (f File) Plugins() []string {
	switch {
	case f.List != nil:
		return f.List.Types()
	case f.Single != nil:
		return []string{f.Single.Type}
	}
	return nil
}

// Network is the name of the network inside the file.
func (f File) Network() string {
	switch {
	case f.List != nil:
		return f.List.Name
	case f.Single != nil:
		return f.Single.Name
	}
	return ""
}

// CNIVersion is what the chain's plugins are handed, a drop-in too: libcni lays the list's name and
// version over each plugin's object. Of a list that offers several it is the highest, as libcni
// takes it since 1.2.
func (f File) CNIVersion() string {
	switch {
	case f.List != nil:
		return f.List.CNIVersion
	case f.Single != nil:
		return f.Single.CNIVersion
	}
	return ""
}

// Look reads a configuration directory. A file that cannot be read is in Files with its
// error; only a directory that cannot be read is an error here. A directory that is
// not there yet is an empty one: many primaries make it.
func Look(path string) (Dir, error) {
	d := Dir{Path: path, DropIns: map[string]File{}}
	entries, err := os.ReadDir(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return d, err
	}
	for _, e := range entries {
		at := filepath.Join(path, e.Name())
		if isDir(at) { // or a link to one, which the runtime follows
			if f := readDropIn(filepath.Join(at, dropInName)); !errors.Is(f.Err, fs.ErrNotExist) {
				d.DropIns[e.Name()] = f
			}
		}
		if e.IsDir() {
			continue
		}
		switch filepath.Ext(e.Name()) {
		case ".conf", ".conflist", ".json":
			d.Files = append(d.Files, readFile(at))
		}
	}
	return d, nil
}

func readDropIn(path string) File {
	f := File{Path: path, Real: path}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		f.Real = real
	}
	f.Text, f.Err = readConf(path)
	return f
}

// beyond are the directories, other than the conf dir itself, in which its files are: a
// network's drop-ins, and what a link leads to.
func beyond(confDir string) (dirs []string) {
	entries, _ := os.ReadDir(confDir) // an error is Look's to report
	for _, e := range entries {
		at, err := filepath.EvalSymlinks(filepath.Join(confDir, e.Name()))
		switch {
		case err != nil: // it leads nowhere
		case isDir(at):
			dirs = append(dirs, at)
		case e.Type()&fs.ModeSymlink != 0:
			dirs = append(dirs, filepath.Dir(at))
		}
	}
	return dirs
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func isLink(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode()&fs.ModeSymlink != 0
}

func readFile(path string) File {
	f := File{Path: path}
	if f.Real, f.Err = filepath.EvalSymlinks(path); f.Err != nil {
		return f
	}
	info, err := os.Stat(f.Real)
	if err != nil {
		f.Err = err
		return f
	}
	f.Perm = info.Mode().Perm()
	if f.Text, f.Err = readConf(path); f.Err != nil {
		return f
	}
	if filepath.Ext(path) == ".conflist" {
		list, err := ParseList(f.Text)
		if err != nil {
			f.Err = fmt.Errorf("%s: %w", path, err)
			return f
		}
		f.List = &list
		return f
	}
	var s Single
	if s.Name, s.CNIVersion, s.Type, f.Err = ParseSingle(f.Text); f.Err != nil {
		f.Err = fmt.Errorf("%s: %w", path, f.Err)
		return f
	}
	f.Single = &s
	return f
}

// readConf reads a regular file, or what a link leads to, of a bounded size.
func readConf(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %s, not a file", path, info.Mode().Type())
	}
	if info.Size() > maxConf {
		return nil, fmt.Errorf("%s: %d bytes (want at most %d)", path, info.Size(), maxConf)
	}
	return os.ReadFile(path)
}

// ErrNoPrimary is what Decide returns while a node has no network configuration
// yet. It is waited for.
var ErrNoPrimary = errors.New("no network configuration yet (want a *.conflist, *.conf or *.json of the cluster's network plugin)")

// ErrBroken says that the file that a runtime would load cannot be read, so that the node has no network.
var ErrBroken = errors.New("first network configuration is broken")

// JoinedAs gives the way in which we are in the chain now; Auto where we are not, or in several.
func (d Dir) JoinedAs() Mode {
	joined := map[Mode]bool{}
	for range d.DropIns {
		joined[DropIn] = true
	}
	for _, f := range d.Files {
		switch {
		case f.IsOwned():
			joined[Owned] = true
		case f.List != nil && len(f.List.Ours()) > 0:
			joined[Spliced] = true
		}
	}
	if len(joined) != 1 {
		return Auto
	}
	for m := range joined {
		return m
	}
	panic("install: no mode in a map of one")
}

// loads is the file that a runtime will load, ours among them, and what of our own it appends to that;
// false for none.
func (d Dir) loads(r Runtime) (f, dropIn File, ok bool) {
	for _, f := range d.Files {
		if f.Err != nil && r.skipsBroken() {
			continue
		}
		if f.List != nil && !f.List.InlineOnly && (r.ReadsDropIns() || !r.Known()) {
			dropIn = d.DropIns[f.Network()]
		}
		return f, dropIn, true
	}
	return File{}, File{}, false
}

// hasUs reports whether what a runtime will load has an entry of ours, whatever its words.
func (d Dir) hasUs(r Runtime) bool {
	f, dropIn, ok := d.loads(r)
	return ok && !d.broken(r) && (slices.Contains(f.Plugins(), PluginType) || dropIn.Path != "")
}

// broken reports whether a runtime will load nothing, since it cannot read a file: then no pod starts.
func (d Dir) broken(r Runtime) bool {
	f, dropIn, ok := d.loads(r)
	if !ok {
		return len(d.Files) > 0 // each of them broken, and passed over
	}
	return f.Err != nil || dropIn.Path != "" && !json.Valid(dropIn.Text)
}

// Primary picks the file that the runtime would load if we were not there.
func (d Dir) Primary(r Runtime) (File, error) {
	var broken error
	for _, f := range d.Files {
		switch {
		case f.IsOwned():
			continue
		case f.Err == nil:
			return f, nil
		case broken == nil:
			broken = f.Err
		}
		if !r.skipsBroken() {
			return File{}, fmt.Errorf("%w, and %s loads no other: %w", ErrBroken, r, broken)
		}
	}
	if broken != nil {
		return File{}, fmt.Errorf("%w, and so is every other: %w", ErrBroken, broken)
	}
	return File{}, fmt.Errorf("%s: %w", d.Path, ErrNoPrimary)
}
