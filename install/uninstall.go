package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
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
	release, err := lockPatiently(ctx, n.ConfDir, retry)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, release()) }()
	for {
		dir, err := Look(n.ConfDir)
		if err != nil {
			return f, err
		}
		plan, err := Leave(dir)
		if err != nil {
			return f, err
		}
		f.Steps, f.Left = plan.Steps, dir.elsewhere()
		if err = errors.Join(Sweep(n.ConfDir), Apply(dir, plan)); !errors.Is(err, ErrMoved) || ctx.Err() != nil {
			return f, err
		}
	}
}

// Uninstall is LeaveChain, and then takes the binary out of BinDir.
//
// The binary may go once no runtime calls it any more. containerd deletes pods with the
// list that it has in memory, which it reads again within grace. CRI-O deletes each pod
// with the list that was there at its ADD: so there, and where the runtime is not known,
// the binary stays until no file in the result cache names it.
func (n Node) Uninstall(ctx context.Context, grace time.Duration, cache string) (f Farewell, err error) {
	if f, err = n.LeaveChain(ctx); err != nil {
		return f, err
	}
	if _, err := os.Stat(filepath.Join(n.BinDir, PluginType)); errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err := n.awaitLast(ctx, grace, cache); err != nil {
		f.Left = append(f.Left, fmt.Sprintf("%s: %v", filepath.Join(n.BinDir, PluginType), err))
		return f, nil
	}
	release, err := lockPatiently(ctx, n.BinDir, retry)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, release()) }()
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
	if runtime.Name == "containerd" {
		if !sleep(ctx, grace) {
			return fmt.Errorf("%s may still have the old list in memory", runtime)
		}
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

// inUse names the attachments whose cached list has our plugin.
func inUse(cache string) (names []string, err error) {
	all, err := Attachments(cache)
	for _, a := range all {
		if strings.Contains(strings.Join(a.Chain, " "), PluginType) {
			names = append(names, a.File)
		}
	}
	return names, err
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
