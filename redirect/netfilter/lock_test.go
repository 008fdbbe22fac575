package netfilter

import (
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect/redirecttest"
)

// dualPod is a pod of both families, in a namespace that is not the test's.
func dualPod(t *testing.T) *redirecttest.NetNS {
	t.Helper()
	needKernel(t)
	pod := redirecttest.NewNetNS(t)
	for _, line := range dual()[1:] { // lo stays down
		pod.IP(t, strings.TrimPrefix(line, "ip "))
	}
	return pod
}

// hold holds the pod's lock, as whoever runs in the pod can.
func hold(t *testing.T, path string) {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) }) // nothing was written
	if err := unix.Flock(fd, unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
}

func TestTheLockIsWaitedForInADDAndKeepsNoDEL(t *testing.T) {
	pod, rs, o := dualPod(t), ruleSet(t, tproxy), Options{Backend: IPTablesLegacy, Owner: owner} // the one with a lock of its own
	if _, err := Commit(pod.Path, rs, o); err != nil {
		t.Fatal(err)
	}
	hold(t, pod.Path)
	begin := time.Now()
	_, err := Commit(pod.Path, rs, o)
	if d := time.Since(begin); !errors.Is(err, errLocked) || d < lockWait || d > 2*lockWait {
		t.Errorf("after %s: %v", d, err)
	}
	if _, err := Verify(pod.Path, rs, o.Backend); err != nil {
		t.Errorf("CHECK changes nothing, and waits for nobody: %v", err)
	}
	if removed, err := Remove(pod.Path, owner); !removed || err != nil {
		t.Errorf("DEL: removed %v: %v", removed, err)
	}
	if left := pod.Run(t, "", "iptables-legacy-save") + pod.Run(t, "", "ip6tables-legacy-save"); strings.Contains(left, "DETOUR") {
		t.Errorf("DEL leaves\n%s", left)
	}
}
