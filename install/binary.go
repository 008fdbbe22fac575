package install

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"
)

// pluginPath is the main package of our plugin, as the Go linker writes it into every
// binary, stripped ones too.
const pluginPath = "github.com/detour-cni/detour/cmd/" + PluginType

// setAside is added to the name of a file that is not ours but had our name. Uninstall
// puts it back.
const setAside = ".before-detour"

// BinaryState is what is at the place of our binary.
type BinaryState string

// The states of a binary.
const (
	BinaryAbsent  BinaryState = "absent"
	BinaryCurrent BinaryState = "current" // the very bytes that are wanted
	BinaryOther   BinaryState = "other"   // ours, of another build
	BinaryForeign BinaryState = "foreign" // not ours: somebody else's, or half written
	// BinaryInert are the very bytes in a file that nobody may execute. containerd then fails each
	// ADD; CRI-O passes over the list, so that with one of our own pods bypass the mesh in silence.
	BinaryInert BinaryState = "not executable"
)

// LookBinary compares the binary at path with the wanted one.
func LookBinary(path, wanted string) (BinaryState, error) {
	same, err := sameFile(path, wanted)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(wanted); err != nil {
			return "", err
		}
		return BinaryAbsent, nil
	case err != nil:
		return "", err
	case same && !executable(path):
		return BinaryInert, nil
	case same:
		return BinaryCurrent, nil
	case IsPlugin(path):
		return BinaryOther, nil
	}
	return BinaryForeign, nil
}

// executable reports whether root may execute the file: any x bit is enough (path_resolution(7)), so
// somebody's 0750 is left alone.
func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().Perm()&0o111 != 0
}

// IsPlugin reports whether the file is a whole build of our plugin, of any version.
func IsPlugin(path string) bool {
	build, err := buildinfo.ReadFile(path)
	return err == nil && build.Path == pluginPath
}

// aboutLine is how our plugin begins when it is run without a verb (skel prints its about text).
var aboutLine = regexp.MustCompile(`^` + PluginType + ` (\S+): `)

// aboutWait is for a build that hangs: saying what it is takes milliseconds. With a second a busy node
// had "none" installed.
const aboutWait = 10 * time.Second

// Version is what a build of our plugin says of itself; "" if it is none of ours, or says nothing
// in time. It runs the file, as the runtime does, with nothing in its environment.
func Version(path string) string {
	if !IsPlugin(path) {
		return ""
	}
	ctx, stop := context.WithTimeout(context.Background(), aboutWait)
	defer stop()
	about := exec.CommandContext(ctx, path)
	about.Env = []string{}            // nil would be ours
	text, _ := about.CombinedOutput() // what counts is what it says
	if m := aboutLine.FindSubmatch(text); m != nil {
		return string(m[1])
	}
	return ""
}

// InstallBinary puts the wanted binary into dir, and says what was there before. Equal
// content that can be executed is not written again. A running binary of that name goes on running: the new
// one comes by rename, so "text file busy" cannot happen.
func InstallBinary(dir, wanted string) (BinaryState, error) {
	path := filepath.Join(dir, PluginType)
	if !IsPlugin(wanted) {
		return "", fmt.Errorf("%s: not a build of %s", wanted, PluginType)
	}
	state, err := LookBinary(path, wanted)
	if err != nil || state == BinaryCurrent {
		return state, err
	}
	if state == BinaryForeign {
		if err := os.Link(path, path+setAside); err != nil && !errors.Is(err, fs.ErrExist) {
			return state, fmt.Errorf("%s is not ours, and is not set aside: %w", path, err)
		}
	}
	return state, copyBinary(path, wanted)
}

func copyBinary(path, wanted string) error {
	from, err := os.Open(wanted)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.CreateTemp(filepath.Dir(path), tempPattern)
	if err != nil {
		return err
	}
	defer os.Remove(to.Name()) // gone already if all went well
	_, err = io.Copy(to, from)
	if err == nil {
		err = to.Chmod(0o755)
	}
	if err == nil {
		err = to.Sync()
	}
	if err = errors.Join(err, to.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(to.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// RemoveBinary takes our binary out of dir, and puts back what was set aside for it. What
// is not ours stays.
func RemoveBinary(dir string) (removed bool, err error) {
	path := filepath.Join(dir, PluginType)
	if !IsPlugin(path) {
		return false, nil
	}
	if err := os.Rename(path+setAside, path); errors.Is(err, fs.ErrNotExist) {
		err = os.Remove(path)
		return err == nil, errors.Join(err, syncDir(dir))
	} else if err != nil {
		return false, err
	}
	return true, syncDir(dir)
}

// sameFile compares two files byte by byte.
func sameFile(a, b string) (bool, error) {
	fa, err := os.Open(a)
	if err != nil {
		return false, err
	}
	defer fa.Close()
	fb, err := os.Open(b)
	if err != nil {
		return false, err
	}
	defer fb.Close()
	ba, bb := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		na, erra := io.ReadFull(fa, ba)
		nb, errb := io.ReadFull(fb, bb)
		if !bytes.Equal(ba[:na], bb[:nb]) {
			return false, nil
		}
		if erra != nil || errb != nil {
			end := func(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }
			if end(erra) && end(errb) {
				return true, nil
			}
			return false, errors.Join(erra, errb)
		}
	}
}
