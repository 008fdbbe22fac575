package netfilter

import (
	"errors"
	"fmt"
	"os"

	"github.com/containernetworking/plugins/pkg/ns"
	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect"
)

// Options say how to commit, and for whom.
type Options struct {
	Backend Backend
	Owner   redirect.Attachment
}

// Result is what a Commit did.
type Result struct {
	Change  redirect.Change
	Backend Backend // never Auto, nor IPTables
	// Warnings are what an operator should know and that is no reason to fail.
	Warnings []string
}

// Errors that callers branch on.
var (
	// ErrHostNamespace says that the path is the namespace this process runs in.
	ErrHostNamespace = errors.New("is the host's own network namespace")
	// ErrNoNamespace says that the path is not, or no longer, a network namespace.
	ErrNoNamespace = errors.New("is not a network namespace")
)

// Commit makes the namespace at path hold exactly these rules, and what they
// need: lo up, passthrough addresses, tproxy's routing. A failure leaves the
// namespace as it was.
func Commit(path string, rs redirect.RuleSet, o Options) (Result, error) {
	var result Result
	err := inside(path, func() error {
		release, err := lock()
		if err != nil {
			return err
		}
		defer release()
		result, err = commit(rs, o)
		return err
	})
	if err != nil {
		return Result{}, fmt.Errorf("commit %d rules in %s: %w", count(rs), path, err)
	}
	return result, nil
}

// Verify compares the namespace with what ADD installed, and repairs nothing.
// A difference is a *redirect.Drift. moved says that ADD would install other rules today (for
// another Spec, or since this build makes others of it), be those that it installed intact or not.
func Verify(path string, rs redirect.RuleSet, b Backend) (moved bool, err error) {
	err = inside(path, func() error {
		moved, err = verify(rs, b)
		return err
	})
	if err != nil {
		return moved, fmt.Errorf("%s: %w", path, err)
	}
	return moved, nil
}

// Remove takes out what this attachment's ADD installed, by either backend. It
// reports whether there was something. A namespace that is gone is no error.
func Remove(path string, owner redirect.Attachment) (removed bool, err error) {
	err = inside(path, func() error {
		// Anybody in the pod can hold the lock, and must not keep its rules by that.
		if release, err := lock(); err == nil {
			defer release()
		}
		removed, err = remove(owner)
		return err
	})
	if errors.Is(err, ErrNoNamespace) {
		return false, nil
	}
	if err != nil {
		return removed, fmt.Errorf("remove rules in %s: %w", path, err)
	}
	return removed, nil
}

// Look runs f in the namespace at path, on a thread that is there: for reading. Like all
// here it refuses the host's own.
func Look(path string, f func() error) error { return inside(path, f) }

// inside runs f in the namespace at path, unless that is the host's own or none.
func inside(path string, f func() error) error {
	if err := checkNamespace(path); err != nil {
		return err
	}
	var inner error
	err := ns.WithNetNSPath(path, func(ns.NetNS) error {
		inner = f()
		return nil
	})
	if inner != nil {
		return inner
	}
	return err
}

// checkNamespace refuses what must not be entered, before it is. Two paths are
// one namespace when device and inode agree (namespaces(7)).
func checkNamespace(path string) error {
	var pod, own unix.Stat_t
	if err := unix.Stat(path, &pod); err != nil {
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENAMETOOLONG) {
			return fmt.Errorf("%w: %w", ErrNoNamespace, err)
		}
		return err
	}
	if pod.Mode&unix.S_IFMT != unix.S_IFREG {
		return ErrNoNamespace
	}
	if err := unix.Stat("/proc/self/ns/net", &own); err != nil {
		return fmt.Errorf("/proc/self/ns/net: %w", err)
	}
	if pod.Dev == own.Dev && pod.Ino == own.Ino {
		return ErrHostNamespace
	}
	return checkKind(path)
}

// checkKind asks the kernel whether a regular file is a network namespace
// (ioctl_nsfs(2)): setns says EINVAL to any other, and package ns takes every
// file of /proc for one.
func checkKind(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	if kind, err := unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE); err != nil || kind != unix.CLONE_NEWNET {
		return ErrNoNamespace
	}
	return nil
}

func count(rs redirect.RuleSet) int {
	n := 0
	for _, c := range rs.Chains {
		n += len(c.Rules)
	}
	return n
}
