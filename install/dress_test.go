package install

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestAnOwnedListIsNotMoreOpenThanThePrimary: it has every byte of it, a password too.
func TestAnOwnedListIsNotMoreOpenThanThePrimary(t *testing.T) {
	for _, tc := range []struct {
		primary, there, want fs.FileMode // there: 0 for no list yet
	}{
		{0o644, 0, 0o644},
		{0o600, 0, 0o600},
		{0o640, 0, 0o640},
		{0o600, 0o644, 0o600}, // by a detour of before, or the primary was closed since
		{0o640, 0o660, 0o640},
		{0o644, 0o600, 0o600}, // somebody closed it
		{0o640, 0o600, 0o600},
	} {
		t.Run(fmt.Sprintf("%#o, there %#o", tc.primary, tc.there), func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "10-flannel.conflist", flannel)
			w := Want{Mode: Owned, Entry: entry(t, "")}
			if tc.there != 0 {
				must(t, os.Chmod(filepath.Join(dir, "10-flannel.conflist"), 0o644))
				must(t, os.Chmod(converge(t, dir, w).Joined, tc.there))
			}
			must(t, os.Chmod(filepath.Join(dir, "10-flannel.conflist"), tc.primary))
			info, err := os.Stat(converge(t, dir, w).Joined)
			must(t, err)
			if got := info.Mode().Perm(); got != tc.want {
				t.Errorf("mode %#o, want %#o", got, tc.want)
			}
		})
	}
}

func TestAnOwnedListHasThePrimarysOwnerAndAttributes(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: a file of another owner")
	}
	dir := t.TempDir()
	write(t, dir, "10-flannel.conflist", flannel) // 0600
	primary := filepath.Join(dir, "10-flannel.conflist")
	must(t, os.Chown(primary, 1000, 1001))
	err := unix.Setxattr(primary, "user.word", []byte("x"), 0)
	if err != nil && !errors.Is(err, unix.ENOTSUP) {
		t.Fatal(err)
	}
	attributes := err == nil
	at := converge(t, dir, Want{Mode: Owned, Entry: entry(t, "")}).Joined
	var got unix.Stat_t
	must(t, unix.Stat(at, &got))
	if got.Uid != 1000 || got.Gid != 1001 {
		t.Errorf("owner %d:%d, want 1000:1001", got.Uid, got.Gid)
	}
	if _, err := unix.Getxattr(at, "user.word", make([]byte, 1)); attributes && err != nil {
		t.Errorf("the extended attribute is not kept: %v", err)
	}
}

func TestAPrimaryThatIsClosedClosesTheCopy(t *testing.T) {
	n := node(t, Owned)
	write(t, n.ConfDir, "10-flannel.conflist", flannel)
	primary, ours := filepath.Join(n.ConfDir, "10-flannel.conflist"), filepath.Join(n.ConfDir, "10-flannel-detour.conflist")
	must(t, os.Chmod(primary, 0o644))
	w, log := watch(t, n, t.TempDir())
	within(t, "joined", func() bool { return w.Ready() == nil })
	must(t, os.Chmod(primary, 0o600))
	within(t, "closed", func() bool { info, err := os.Stat(ours); return err == nil && info.Mode().Perm() == 0o600 })
	within(t, "said", func() bool { return log.has("file="+ours, "readable by more than the primary is") })
}
