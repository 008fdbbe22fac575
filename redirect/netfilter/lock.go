package netfilter

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// lockWait bounds the wait for another ADD or DEL in the same namespace: many times what
// the slowest takes, and a small part of what a runtime waits for us.
const lockWait = 5 * time.Second

// lockPause is between two looks at the lock: flock(2) itself waits for ever.
const lockPause = 2 * time.Millisecond

// errLocked says that the wait was in vain.
var errLocked = fmt.Errorf("another ADD or DEL has been at work there for %s", lockWait)

// lock waits until nobody else changes the current thread's namespace. Two that do it at
// once read what the other is about to change: the one that fails takes back lo, ::6 and
// routes that the other counts on, and iptables gets each jump twice. What is locked is
// the file that stands for the namespace, so nobody waits for another pod, nothing stays
// behind, and whoever is killed has let go.
//
// Anybody in the pod can hold this lock.
func lock() (release func(), err error) {
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("lock the network namespace: %w", err)
	}
	for end := time.Now().Add(lockWait); ; time.Sleep(lockPause) { //nolint:forbidigo // flock(2) knows no deadline
		err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case !errors.Is(err, unix.EWOULDBLOCK): // ours; or no kernel that can lock this, where it was never needed to start a pod
			return func() { _ = unix.Close(fd) }, nil // nothing was written
		case time.Now().After(end):
			_ = unix.Close(fd) // see above
			return nil, fmt.Errorf("lock the network namespace: %w", errLocked)
		}
	}
}
