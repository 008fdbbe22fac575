package iptables

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect"
)

func findAuto(t *testing.T) *Backend {
	t.Helper()
	b, err := Find("")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAutoTakesTheVariantInUse(t *testing.T) {
	for _, tc := range []struct {
		name string
		do   func(*testing.T)
		want Variant
	}{
		{"nothing there", func(*testing.T) {}, NFT},
		{"legacy table, empty", func(t *testing.T) { sh(t, "", "iptables-legacy", "-t", "nat", "-L") }, NFT},
		{"legacy rule", func(t *testing.T) { sh(t, "", "iptables-legacy", "-A", "INPUT", "-j", "ACCEPT") }, Legacy},
		{"legacy rule, IPv6", func(t *testing.T) { sh(t, "", "ip6tables-legacy", "-t", "raw", "-N", "X") }, Legacy},
		{"rules of ours in nft, and a legacy rule", func(t *testing.T) {
			commit(t, findAuto(t), compile(t, everyTable))
			sh(t, "", "iptables-legacy", "-A", "INPUT", "-j", "ACCEPT")
		}, NFT},
		{"rules of ours in legacy", func(t *testing.T) {
			b, err := Find(Legacy)
			if err != nil {
				t.Fatal(err)
			}
			commit(t, b, compile(t, everyTable))
		}, Legacy},
	} {
		t.Run(tc.name, func(t *testing.T) {
			newPod(t)
			tc.do(t)
			if got := findAuto(t).Variant(); got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
		})
	}
}

func TestNothingIsTouchedByLooking(t *testing.T) {
	for _, want := range []Variant{"", NFT, Legacy} {
		t.Run("want "+string(want), func(t *testing.T) {
			newPod(t)
			if err := Available(want); err != nil {
				t.Fatal(err)
			}
			b, err := Find(want)
			if err != nil {
				t.Fatal(err)
			}
			_, err1 := b.Stamp()
			_, _, err2 := b.List()
			_, err3 := b.Remove()
			_, err4 := b.Observe()
			if err := errors.Join(err1, err2, err3, err4); err != nil {
				t.Error(err)
			}
			if tables := legacyTables(t); tables != "" {
				t.Errorf("legacy tables: %q", tables)
			}
			chains, err := nftChains()
			if err != nil || len(chains) > 0 {
				t.Errorf("nf_tables: %v, %v", chains, err)
			}
		})
	}
}

// A Commit makes only the tables that it needs.
func TestNFTMakesNoLegacyTables(t *testing.T) {
	newPod(t)
	b, err := Find(NFT)
	if err != nil {
		t.Fatal(err)
	}
	commit(t, b, compile(t, everyTable))
	commit(t, b, compile(t, func(*redirect.Spec) {}))
	if _, err := b.Remove(); err != nil {
		t.Fatal(err)
	}
	if tables := legacyTables(t); tables != "" {
		t.Errorf("legacy tables: %q", tables)
	}
}

func TestLegacyReadsOnlyTablesThatAreThere(t *testing.T) {
	newPod(t)
	b, err := Find(Legacy)
	if err != nil {
		t.Fatal(err)
	}
	rs := compile(t, func(*redirect.Spec) {})
	for range 2 {
		commit(t, b, rs)
		if _, err := b.Observe(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Remove(); err != nil {
		t.Fatal(err)
	}
	if tables := legacyTables(t); tables != "nat\nnat\n" {
		t.Errorf("legacy tables: %q", tables)
	}
}

// spied gives the Backend with tools that note their names before they run.
func spied(t *testing.T, b *Backend) (*Backend, func() string) {
	t.Helper()
	dir, spy := t.TempDir(), *b
	for _, path := range []*string{&spy.v4.restore, &spy.v4.save, &spy.v4.rules, &spy.v6.restore, &spy.v6.save, &spy.v6.rules} {
		name := filepath.Base(*path)
		script := fmt.Sprintf("#!/bin/sh\necho %s >>%s/calls\nexec %s \"$@\"\n", name, dir, *path)
		*path = filepath.Join(dir, name)
		if err := os.WriteFile(*path, []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return &spy, func() string {
		calls, err := os.ReadFile(dir + "/calls")
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		_ = os.Remove(dir + "/calls") // there is none when nothing was called
		return strings.Join(strings.Fields(string(calls)), " ")
	}
}

func TestFirstCommitRunsOneChildAFamily(t *testing.T) {
	rs := compile(t, everyTable)
	eachVariant(t, func(t *testing.T, b *Backend) {
		b, calls := spied(t, b)
		if _, err := b.Stamp(); err != nil {
			t.Fatal(err)
		}
		if got := calls(); got != "" {
			t.Errorf("Stamp in an empty namespace ran %s", got)
		}
		commit(t, b, rs)
		name := string(b.variant)
		if got, want := calls(), "iptables-"+name+"-restore ip6tables-"+name+"-restore"; got != want {
			t.Errorf("first Commit ran %s, want %s", got, want)
		}
		commit(t, b, rs)
		if got, want := calls(), "iptables-"+name+"-save ip6tables-"+name+"-save"; got != want {
			t.Errorf("second Commit ran %s, want %s", got, want)
		}
	})
}

// plainOnly makes a PATH of tools that have no variant in their names, and are
// no links to one that has. Nothing of the machine's is moved or mounted.
func plainOnly(t *testing.T, v Variant) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"iptables", "ip6tables"} {
		for _, suffix := range []string{"", "-save", "-restore"} {
			script := fmt.Sprintf("#!/bin/sh\nexec /usr/sbin/%s-%s%s \"$@\"\n", name, v, suffix)
			if err := os.WriteFile(filepath.Join(dir, name+suffix), []byte(script), 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Setenv("PATH", dir)
}

func TestPlainNamesAreAsked(t *testing.T) {
	for _, v := range []Variant{NFT, Legacy} {
		t.Run(string(v), func(t *testing.T) {
			newPod(t)
			plainOnly(t, v)
			b, err := choose("", "")
			if err != nil {
				t.Fatal(err)
			}
			if b.Variant() != v || !strings.HasSuffix(b.v6.restore, "/ip6tables-restore") {
				t.Errorf("%+v", b)
			}
			if change := commit(t, b, compile(t, everyTable)); change != redirect.Installed {
				t.Error(change)
			}
			other := map[Variant]Variant{NFT: Legacy, Legacy: NFT}[v]
			if _, err := choose(other, ""); !errors.Is(err, ErrNotFound) {
				t.Errorf("%s: %v", other, err)
			}
		})
	}
}

func TestNoTools(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for _, want := range []Variant{"", NFT, Legacy} {
		err := available(want, "")
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("Available(%q): %v", want, err)
		}
		t.Log(err)
	}
	if _, err := Find("ipchains"); err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("Find: %v", err)
	}
}

// The kernel refuses owner matches there (xt_owner.c); Commit must say so first.
func TestForeignUserNamespaceIsNamed(t *testing.T) {
	for _, v := range []Variant{NFT, Legacy} {
		t.Run(string(v), func(t *testing.T) {
			newPod(t) // and its thread: it enters another namespace below
			child := exec.Command("unshare", "-U", "-r", "-n", "sh", "-c", "echo; exec sleep 60")
			out, err := child.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			defer child.Wait()         //nolint:errcheck // killed
			defer child.Process.Kill() //nolint:errcheck // it is gone already
			if _, err := out.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", child.Process.Pid), unix.O_RDONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
				t.Fatal(err)
			}
			b, err := Find(v)
			if err != nil {
				t.Fatal(err)
			}
			rs := compile(t, func(*redirect.Spec) {})
			if _, err := b.Commit(rs, owner, redirect.Extras{}); !errors.Is(err, ErrForeignUserNS) {
				t.Errorf("Commit: %v", err)
			}
			if tables := legacyTables(t); tables != "" {
				t.Errorf("legacy tables: %q", tables)
			}
			if _, err := run(Text(rs, true), b.v4.restore, "--noflush"); err == nil {
				t.Error("this kernel takes owner matches: ErrForeignUserNS is not needed any more")
			} else {
				t.Log(err)
			}
		})
	}
}

// hold holds a lock as another process would: flock(2) on a file description of
// our own conflicts with the child's.
func hold(t *testing.T, path string) {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Flock(fd, unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
}

// ownRun gives the test's thread a /run of its own, empty, so that the machine's
// xtables.lock is left alone.
func ownRun(t *testing.T) {
	t.Helper()
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("run", "/run", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
}

func TestNodeWideLockIsNotWaitedFor(t *testing.T) {
	rs := compile(t, everyTable)
	eachVariant(t, func(t *testing.T, b *Backend) {
		ownRun(t)
		hold(t, "/run/xtables.lock")
		begin := time.Now()
		commit(t, b, rs)
		if _, _, err := b.List(); err != nil {
			t.Error(err)
		}
		if _, err := b.Observe(); err != nil {
			t.Error(err)
		}
		// Who waits for it does so for lockWait, and fails then: it is held to the end.
		if d := time.Since(begin); d >= lockWait {
			t.Errorf("took %s", d)
		}
	})
}

func TestPodsLockIsNotWaitedForAndNothingIsLeft(t *testing.T) {
	newPod(t)
	ownRun(t)
	b, err := Find(Legacy)
	if err != nil {
		t.Fatal(err)
	}
	hold(t, "/proc/thread-self/ns/net") // as package netfilter does
	begin := time.Now()
	commit(t, b, compile(t, everyTable))
	if _, err := b.Observe(); err != nil {
		t.Error(err)
	}
	if d := time.Since(begin); d > lockWait/2 {
		t.Errorf("took %s", d)
	}
	if files, err := os.ReadDir("/run"); err != nil || len(files) > 0 {
		t.Errorf("left in /run: %v, %v", files, err)
	}
}
