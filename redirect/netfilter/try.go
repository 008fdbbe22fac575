package netfilter

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect"
)

// Try commits rules in a network namespace that is made for that and ends with it: whether the
// kernel can hold them here is not known better by anybody. A kernel loads a module for whoever asks,
// so ask only for what is loaded, where nothing may be left behind.
func Try(rs redirect.RuleSet, b Backend) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its namespace
		if unix.Gettid() == unix.Getpid() {
			done <- Try(rs, b) // on another thread: the first one is /proc/self's
			runtime.UnlockOSThread()
			return
		}
		done <- tryHere(rs, b)
	}()
	return <-done
}

func tryHere(rs redirect.RuleSet, b Backend) error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("make a network namespace: %w", err)
	}
	f, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = Commit(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd()), rs, Options{Backend: b, Owner: redirect.Attachment{ContainerID: "try", IfName: "eth0"}})
	return err
}
