package nftables

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/detour-cni/detour/redirect"
)

// inUserNS tells the test below that it is the child.
const inUserNS = "DETOUR_TEST_IN_USERNS"

// A process with capabilities in a user namespace of its own only, as in a pod
// with hostUsers: false, can do everything: owners are that namespace's uids.
func TestUserNamespaceOfItsOwn(t *testing.T) {
	needKernel(t)
	if os.Getenv(inUserNS) == "1" {
		for _, name := range []string{"defaults", "owners", "tproxy", "dns", "prefixes"} {
			rs := overlay(t, specs[name])
			wantEqualsList(t, rs)
			if removed, err := (Backend{}).Remove(); !removed || err != nil {
				t.Errorf("%s: remove: %v, %v", name, removed, err)
			}
		}
		return
	}
	child := exec.Command("/proc/self/exe", "-test.run=^TestUserNamespaceOfItsOwn$", "-test.count=1")
	child.Env = append(os.Environ(), inUserNS+"=1")
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 100_000, Size: 65_536}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 100_000, Size: 65_536}},
		Credential:  &syscall.Credential{Uid: 0, Gid: 0},
	}
	if out, err := child.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// What the node's root cannot change in somebody else's namespace is refused by
// name, not taken for a kernel without nf_tables.
func TestWithoutRightsIsARefusal(t *testing.T) {
	needKernel(t)
	if os.Getenv(inUserNS) != "1" {
		child := exec.Command("/proc/self/exe", "-test.run=^TestWithoutRightsIsARefusal$", "-test.count=1")
		child.Env = append(os.Environ(), inUserNS+"=1")
		child.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		if out, err := child.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	const want = "nf_tables: list tables: operation not permitted"
	if _, err := (Backend{}).Commit(overlay(t, `{}`), owner, redirect.Extras{}); err == nil || err.Error() != want {
		t.Errorf("commit: %v (want %s)", err, want)
	}
	if err := Available(); err == nil || err.Error() != "nf_tables: ask for the generation: operation not permitted" {
		t.Errorf("available: %v", err)
	}
}
