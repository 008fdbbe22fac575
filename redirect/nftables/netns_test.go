package nftables

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect"
)

// needKernel skips a test that the kernel judges, where nobody has said that it
// may make namespaces. With DETOUR_NO_SKIP=1 a skip is a failure.
func needKernel(t testing.TB) {
	t.Helper()
	if os.Getenv("DETOUR_NETNS_TESTS") == "1" {
		return
	}
	const why = "DETOUR_NETNS_TESTS is not 1: this test makes network namespaces"
	if os.Getenv("DETOUR_NO_SKIP") == "1" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// inNetns runs f on a thread in a network namespace of its own; both are gone
// when f returns. f uses t.Error and return, as this is not the test's goroutine.
func inNetns(t testing.TB, f func()) {
	t.Helper()
	needKernel(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Errorf("unshare: %v", err)
			return
		}
		f()
	}()
	<-done
}

// run runs a command in the thread's namespace.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Errorf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func compile(t testing.TB, s redirect.Spec) redirect.RuleSet {
	t.Helper()
	rs, err := redirect.Compile(s)
	if err != nil {
		t.Errorf("compile: %v", err)
	}
	return rs
}

// overlay gives the Envoy defaults with some keys laid over them.
func overlay(t testing.TB, json string) redirect.RuleSet {
	t.Helper()
	s, err := redirect.Overlay(redirect.EnvoyDefaults(), []byte(json))
	if err != nil {
		t.Errorf("%s: %v", json, err)
	}
	return compile(t, s)
}

var owner = redirect.Attachment{ContainerID: "c0ffee", IfName: "eth0"}

func commit(t testing.TB, rs redirect.RuleSet, want redirect.Change) {
	t.Helper()
	change, err := Backend{}.Commit(rs, owner, redirect.Extras{})
	if err != nil || change != want {
		t.Errorf("commit: %q, %v (want %q)", change, err, want)
	}
}

// check compares the kernel with a RuleSet as CHECK does.
func check(t testing.TB, rs redirect.RuleSet) error {
	t.Helper()
	got, stamp, err := Backend{}.List()
	if err != nil {
		t.Errorf("list: %v", err)
	}
	moved, err := redirect.Check(Backend{}.Want(rs), got, stamp)
	if moved {
		t.Errorf("check: moved, though the Spec is the same")
	}
	return err
}

func generation(t testing.TB) uint32 {
	t.Helper()
	c, err := open()
	if err != nil {
		t.Error(err)
		return 0
	}
	defer c.close()
	gen, err := c.generation()
	if err != nil {
		t.Error(err)
	}
	return gen
}
