package install

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containernetworking/cni/libcni"
)

// Farewell is what an uninstall did and what it left.
type Farewell struct {
	// Steps took our entry out of the chain.
	Steps []Step
	// Binary reports whether it was removed. It may stay on purpose: see Left.
	Binary bool
	// Left names what is still there, each with the reason.
	Left []string
}

// LeaveChain takes the entry out of every file, and waits for whoever of us still holds
// the lock, until ctx ends. A list that nobody changed since gets its very bytes back; from
// another only our entry goes.
func (n Node) LeaveChain(ctx context.Context) (f Farewell, err error) {
	release, err := patiently(ctx, retry, func() (func() error, error) { return Lock(n.ConfDir) })
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, release()) }()
	if err := Sweep(append(beyond(n.ConfDir), n.ConfDir)...); err != nil {
		return f, err
	}
	for {
		if err := n.leaveOnce(&f); !errors.Is(err, ErrMoved) || ctx.Err() != nil {
			return f, err
		}
	}
}

// leaveOnce takes the entry out of what the conf dir holds now.
func (n Node) leaveOnce(f *Farewell) error {
	dir, err := Look(n.ConfDir)
	if err != nil {
		return err
	}
	plan, err := Leave(dir)
	if err != nil {
		return err
	}
	f.Left = dir.elsewhere()
	for _, s := range plan.Steps {
		if err := s.apply(dir.Path); err != nil {
			return err
		}
		f.Steps = append(f.Steps, s)
	}
	for _, file := range dir.Files { // a killed run may have left a network's directory, and nothing in it
		if network := file.Network(); network != "" {
			if err := removeEmpty(filepath.Join(dir.Path, network)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Uninstall is LeaveChain, and then takes the binary out of BinDir.
//
// The binary may go once no runtime calls it any more. containerd deletes pods with the
// list that it has in memory, which it reads again within grace. CRI-O deletes each pod
// with the list that was there at its ADD: so there, and where the runtime is not known,
// the binary stays until no file in the result cache names it. It stays, too, while a file
// of the conf dir does.
func (n Node) Uninstall(ctx context.Context, grace time.Duration, cache string) (f Farewell, err error) {
	if f, err = n.LeaveChain(ctx); err != nil {
		return f, err
	}
	binary := filepath.Join(n.BinDir, PluginType)
	if _, err := os.Stat(binary); errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err := n.awaitLast(ctx, grace, cache); err != nil {
		f.Left = append(f.Left, fmt.Sprintf("%s: %v", binary, err))
		return f, nil
	}
	release, err := patiently(ctx, retry, n.lock)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, release()) }()
	caller, err := calledFrom(n.ConfDir)
	if err != nil {
		return f, err
	}
	if caller != "" {
		f.Left = append(f.Left, fmt.Sprintf("%s: stays for %s, which names it", binary, caller))
		return f, nil
	}
	if err := Sweep(n.BinDir); err != nil {
		return f, err
	}
	f.Binary, err = RemoveBinary(n.BinDir)
	return f, err
}

// awaitLast returns nil when nothing needs the binary any more, else what still does
// when ctx ends.
func (n Node) awaitLast(ctx context.Context, grace time.Duration, cache string) error {
	runtime, _ := n.AskRuntime() // not known is an answer too
	// Whatever the runtime: an ADD that is under way goes by the list of before, and comes into
	// the result cache only at its end.
	if !sleep(ctx, grace) {
		return fmt.Errorf("%s may still have the old list in memory", runtime)
	}
	if runtime.Name == "containerd" {
		return nil
	}
	var v view
	defer v.close()
	for {
		v.watch(cache) // not there: nobody was ever added
		inUse, err := inUse(cache)
		if err != nil {
			return err
		}
		if len(inUse) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("stays for the deletion of pods that were added with it (%d, first %s): %s may delete them with the list of that day", len(inUse), inUse[0], runtime)
		case <-v.changes():
		case <-time.After(resync):
		}
	}
}

// calledFrom gives a file by which a runtime, or Multus, calls our plugin; "" if there is none. Once
// our entry is out it can be there again by an install since, or there still in what is nobody's
// to change: a copy of the list in Multus' "delegates", a drop-in of an administrator's.
func calledFrom(confDir string) (string, error) {
	files, err := libcni.ConfFiles(confDir, []string{".conf", ".conflist", ".json"})
	if err != nil {
		return "", err
	}
	networks, _ := os.ReadDir(confDir) // it could be read a moment ago, or is not there
	for _, e := range networks {
		if path := filepath.Join(confDir, e.Name()); isDir(path) {
			dropIns, err := libcni.ConfFiles(path, []string{".conf"})
			if err != nil {
				return "", err
			}
			files = append(files, dropIns...)
		}
	}
	for _, path := range files {
		if text, err := readConf(path); err == nil && callsUs(text) {
			return path, nil
		}
	}
	return "", nil
}

// callsUs reports whether a document has our type where a plugin is called by it. One that cannot
// be parsed has it if the word is there.
func callsUs(text []byte) bool {
	var document any
	if err := json.Unmarshal(text, &document); err != nil {
		return strings.Contains(string(text), `"`+PluginType+`"`)
	}
	return calls(document)
}

// calls looks at a plugin, or at the plugins of a list, and at the delegates of either, which are
// plugins or lists.
func calls(value any) bool {
	object, _ := value.(map[string]any)
	called, _ := object["delegates"].([]any)
	if object["type"] == nil { // else "plugins" is an option of that plugin's
		plugins, _ := object["plugins"].([]any)
		called = append(called, plugins...)
	}
	return object["type"] == PluginType || slices.ContainsFunc(called, calls)
}

// inUse names the attachments whose cached list has our plugin.
func inUse(cache string) (names []string, err error) {
	files, err := cachedFiles(cache)
	if err != nil {
		return nil, err
	}
	for _, e := range files {
		a, _ := attachment(filepath.Join(cache, e.Name())) // of one that is not whole, or gone by now, nothing
		if strings.Contains(strings.Join(a.Chain, " "), PluginType) {
			names = append(names, a.File)
		}
	}
	return names, nil
}

// elsewhere names the files of the conf dir that no runtime loads and that hold our entry all
// the same: copies by other writers (*.cilium_bak), which we leave alone.
func (d Dir) elsewhere() (left []string) {
	entries, _ := os.ReadDir(d.Path) // it could be read a moment ago
	for _, e := range entries {
		path := filepath.Join(d.Path, e.Name())
		switch filepath.Ext(path) {
		case ".conf", ".conflist", ".json":
			continue
		}
		text, err := readConf(path)
		if err == nil && strings.Contains(string(text), `"`+PluginType+`"`) {
			left = append(left, path+": a copy by somebody else that has our entry; no runtime loads it under this name")
		}
	}
	return left
}
