package install

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestTheBinaryStaysWhileAFileNamesIt: an entry without its binary fails every ADD and DEL.
func TestTheBinaryStaysWhileAFileNamesIt(t *testing.T) {
	spliced := strings.Replace(flannel, "portmap", PluginType, 1)
	for name, tc := range map[string]struct {
		file, text string
	}{
		"a list in Multus' delegates":   {"00-multus.conf", `{"cniVersion":"0.3.1","name":"m","type":"multus","delegates":[` + spliced + `]}`},
		"a plugin in Multus' delegates": {"05-multus.conflist", `{"cniVersion":"0.3.1","name":"m","plugins":[{"type":"multus","delegates":[{"type":"detour-cni"}]}]}`},
		"a drop-in of somebody's":       {"cbr0/50-theirs.conf", `{"type":"detour-cni"}`},
		"a drop-in behind a link":       {"linked/50-theirs.conf", `{"type":"detour-cni"}`},
		"a list that is broken":         {"50-broken.conflist", spliced + ","},
		"a single plugin":               {"50-ours.conf", `{"cniVersion":"0.3.1","name":"n","type":"detour-cni"}`},
	} {
		t.Run(name, func(t *testing.T) {
			n := node(t, Spliced)
			write(t, n.ConfDir, "10-flannel.conflist", flannel)
			_, err := n.Install()
			must(t, err)
			must(t, os.Mkdir(filepath.Join(filepath.Dir(n.ConfDir), "real"), 0o755))
			must(t, os.Symlink("../real", filepath.Join(n.ConfDir, "linked")))
			file := filepath.Join(n.ConfDir, tc.file)
			must(t, os.MkdirAll(filepath.Dir(file), 0o755))
			write(t, n.ConfDir, tc.file, tc.text)
			f, err := n.uninstall(t)
			must(t, err)
			if f.Binary || !IsPlugin(filepath.Join(n.BinDir, PluginType)) || !strings.Contains(strings.Join(f.Left, "\n"), file) {
				t.Errorf("removed: %v, left: %q", f.Binary, f.Left)
			}
			if text := string(bytesOf(t, filepath.Join(n.ConfDir, "10-flannel.conflist"))); text != flannel {
				t.Error(text)
			}
			must(t, os.Remove(file))
			if f, err := n.uninstall(t); err != nil || !f.Binary || len(f.Left) > 0 {
				t.Errorf("%+v %v", f, err)
			}
		})
	}
}

// TestWhatComesWithinTheGraceKeepsTheBinary: the entry once more, or the result of an ADD that began
// before it went.
func TestWhatComesWithinTheGraceKeepsTheBinary(t *testing.T) {
	chain := base64.StdEncoding.EncodeToString([]byte(strings.Replace(flannel, "portmap", PluginType, 1)))
	result := `{"kind":"cniCacheV1","containerId":"c","config":"` + chain + `","ifName":"eth0","networkName":"cbr0"}`
	for _, tc := range []struct{ runtime, comes, left string }{
		{"containerd://2.0.0", "entry", "10-flannel.conflist"},
		{"cri-o://1.33.0", "entry", "10-flannel.conflist"},
		{"", "entry", "10-flannel.conflist"},
		{"cri-o://1.33.0", "result", "cbr0-c-eth0"},
		{"", "result", "cbr0-c-eth0"},
	} {
		t.Run(tc.runtime+" "+tc.comes, func(t *testing.T) {
			t.Parallel()
			n, cache := node(t, Spliced), t.TempDir()
			n.Runtime = runtime(t, tc.runtime)
			write(t, n.ConfDir, "10-flannel.conflist", flannel)
			_, err := n.Install()
			must(t, err)
			const grace = 3 * time.Second // in which a busy machine comes to it
			ctx, stop := context.WithTimeout(context.Background(), 2*grace)
			defer stop()
			var f Farewell
			var leaving sync.WaitGroup
			leaving.Go(func() {
				var err error
				if f, err = n.Uninstall(ctx, grace, cache); err != nil {
					t.Error(err)
				}
			})
			list := filepath.Join(n.ConfDir, "10-flannel.conflist")
			within(t, "the entry is out", func() bool { return !inFile(list, PluginType)() })
			if tc.comes == "entry" {
				within(t, "in again", func() bool { _, err := n.Install(); return err == nil })
			} else {
				write(t, cache, "cbr0-c-eth0", result)
			}
			leaving.Wait()
			if f.Binary || !IsPlugin(filepath.Join(n.BinDir, PluginType)) || !strings.Contains(strings.Join(f.Left, "\n"), tc.left) {
				t.Errorf("removed: %v, left: %q", f.Binary, f.Left)
			}
		})
	}
}

// TestManyComeAndGoAtOnce looks, under the locks, for an entry without its binary.
func TestManyComeAndGoAtOnce(t *testing.T) {
	n := node(t, Spliced)
	n.Runtime = runtime(t, "containerd://2.0.0")
	list := filepath.Join(n.ConfDir, "10-flannel.conflist")
	write(t, n.ConfDir, "10-flannel.conflist", flannel)
	ctx, stop := context.WithTimeout(context.Background(), 5*time.Minute) // seconds mostly, but each run syncs files to a disk that may be slow
	defer stop()
	var all sync.WaitGroup
	repeat := func(what string, pauses int, run func() error) {
		all.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if err := run(); err != nil && !errors.Is(err, unix.EWOULDBLOCK) {
					t.Errorf("%s: %v", what, err)
				}
				<-time.After(time.Duration(i%pauses) * time.Millisecond) // so that they meet at all places
			}
		})
	}
	removed := 0
	repeat("install", 17, func() error { _, err := n.Install(); return err })
	repeat("uninstall", 2, func() error {
		brief, end := context.WithTimeout(ctx, 50*time.Millisecond) // its own pause for a lock is a second
		defer end()
		f, err := n.Uninstall(brief, 5*time.Millisecond, "")
		if f.Binary {
			removed++
		}
		if removed == 10 {
			stop()
		}
		return err
	})
	repeat("look", 3, func() error {
		release, err := n.lock()
		if err != nil {
			return err
		}
		if inFile(list, PluginType)() && !IsPlugin(filepath.Join(n.BinDir, PluginType)) {
			t.Error("an entry without its binary")
		}
		return release()
	})
	all.Wait()
	if removed < 10 {
		t.Errorf("left only %d times", removed)
	}
}

// TestOneDirectoryForBoth is locked once: a second lock of the same process would wait for the first.
func TestOneDirectoryForBoth(t *testing.T) {
	n := node(t, DropIn)
	n.BinDir = n.ConfDir
	write(t, n.ConfDir, "10-flannel.conflist", flannel)
	_, err := n.Install()
	must(t, err)
	f, err := n.uninstall(t)
	must(t, err)
	if got := names(t, n.ConfDir); !f.Binary || got != "10-flannel.conflist" {
		t.Errorf("%+v: %s", f, got)
	}
}

// TestANetworksDirectoryMayBeALink: to a directory elsewhere, or to another network's.
func TestANetworksDirectoryMayBeALink(t *testing.T) {
	for _, tc := range []struct{ link, to string }{
		{"cbr0", "../real"},
		{"cbr0", "another"},
		{"another", "cbr0"},
	} {
		t.Run(tc.link+" to "+tc.to, func(t *testing.T) {
			n := node(t, DropIn)
			write(t, n.ConfDir, "10-flannel.conflist", flannel)
			must(t, os.MkdirAll(filepath.Join(n.ConfDir, tc.to), 0o755))
			must(t, os.Symlink(tc.to, filepath.Join(n.ConfDir, tc.link)))
			_, err := n.Install()
			must(t, err)
			loaded(t, n.ConfDir, DropIn)
			for range 2 {
				if r, err := n.Install(); err != nil || r.Changed() {
					t.Errorf("the next run: %v %v", r.Plan.Steps, err)
				}
			}
			loaded(t, n.ConfDir, DropIn)
			f, err := n.uninstall(t)
			must(t, err)
			if !f.Binary || len(f.Steps) == 0 {
				t.Errorf("%+v", f)
			}
			if got, want := names(t, filepath.Dir(n.ConfDir)), fmt.Sprintf("net.d/10-flannel.conflist net.d/%s", tc.link); got != want {
				t.Errorf("left: %s, want %s", got, want)
			}
		})
	}
}
