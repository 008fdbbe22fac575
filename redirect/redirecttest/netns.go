package redirecttest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// NeedsKernel skips a test that makes namespaces, unless DETOUR_NETNS_TESTS=1
// says that it may (make test-netns). With DETOUR_NO_SKIP=1 the skip is a failure.
func NeedsKernel(t testing.TB) {
	t.Helper()
	if os.Getenv("DETOUR_NETNS_TESTS") == "1" {
		return
	}
	if os.Getenv("DETOUR_NO_SKIP") == "1" {
		t.Fatal("needs namespaces, and DETOUR_NETNS_TESTS is not 1: nothing may be skipped here")
	}
	t.Skip("needs namespaces: run it as root with DETOUR_NETNS_TESTS=1 (make test-netns)")
}

// NetNS is a network namespace of a test's own. It ends with the test.
type NetNS struct {
	file *os.File
	// Path names it to others, in this process and outside: ns.WithNetNSPath,
	// CNI_NETNS, nsenter --net. It is no bind mount, so nothing can be left behind.
	Path string
}

// NewNetNS makes a namespace with nothing in it; lo is down.
func NewNetNS(t testing.TB) *NetNS {
	t.Helper()
	n := &NetNS{}
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		var err error
		n.file, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.file.Close() })
	n.Path = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.file.Fd())
	return n
}

// onThread runs f on a thread of its own, which ends with it: whatever f does to
// the thread (namespace, fsuid) harms nobody else. The process' first thread is
// never taken: the Go runtime cannot end it, and it is what /proc/self shows.
func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			done <- onThread(f) // elsewhere, as long as this goroutine sits here
			runtime.UnlockOSThread()
			return
		}
		done <- f() // and never unlocked
	}()
	return <-done
}

// Do runs f on a thread inside the namespace. Sockets that f opens stay there;
// goroutines that it starts do not.
func (n *NetNS) Do(f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("setns: %w", err)
		}
		return f()
	})
}

// DoAs is Do with the owner that a socket made by f is to have: meta skuid and
// xt_owner look at the fsuid and fsgid that its file was created with.
func (n *NetNS) DoAs(o Owner, f func() error) error {
	return n.Do(func() error {
		if _, err := unix.SetfsgidRetGid(int(o.GID)); err != nil {
			return err
		}
		if _, err := unix.SetfsuidRetUid(int(o.UID)); err != nil {
			return err
		}
		// The answer is the id before the call, refused or not; so ask again.
		uid, _ := unix.SetfsuidRetUid(-1)
		gid, _ := unix.SetfsgidRetGid(-1)
		if uint32(uid) != o.UID || uint32(gid) != o.GID {
			return fmt.Errorf("setfsuid %d:%d: refused, is %d:%d", o.UID, o.GID, uid, gid)
		}
		return f()
	})
}

// Listen opens a TCP port inside as o, until the test's end.
func (n *NetNS) Listen(t testing.TB, o Owner, address string) {
	t.Helper()
	err := n.DoAs(o, func() error {
		l, err := net.Listen("tcp", address)
		if err == nil {
			t.Cleanup(func() { _ = l.Close() })
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Owner is whom a socket belongs to.
type Owner struct{ UID, GID uint32 }

// Run runs a program inside, and gives its output.
func (n *NetNS) Run(t testing.TB, stdin string, args ...string) string {
	t.Helper()
	c := exec.Command("nsenter", append([]string{"--net=" + n.Path, "--"}, args...)...)
	c.Stdin = strings.NewReader(stdin)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// IP runs ip(8) commands inside, one a line. What they give an address is reached by it afterwards.
func (n *NetNS) IP(t testing.TB, lines ...string) {
	t.Helper()
	n.Run(t, strings.Join(lines, "\n")+"\n", "ip", "-batch", "-")
	if err := n.Do(settled); err != nil {
		t.Fatal(err)
	}
}

// settled waits until every IPv6 address of an interface that is up has its local route: a worker of
// the kernel's brings that, after ip(8) has ended, and until then what is sent to the address leaves
// the namespace.
func settled() error {
	links, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, link := range links {
		addrs, err := link.Addrs()
		if err != nil {
			return err
		}
		for _, a := range addrs {
			ip := a.(*net.IPNet).IP
			if link.Flags&net.FlagUp == 0 || ip.To4() != nil || ip.IsLinkLocalUnicast() {
				continue
			}
			if err := awaitLocal(ip); err != nil {
				return fmt.Errorf("%s: %w", link.Name, err)
			}
		}
	}
	return nil
}

func awaitLocal(ip net.IP) error {
	// Destination and prefix length, then six fields, and flags with RTF_LOCAL (linux/ipv6_route.h).
	route := regexp.MustCompile(fmt.Sprintf(`(?m)^%x 80 (\w+ ){6}[89a-f]\w{7} `, []byte(ip)))
	for end := time.Now().Add(answerWait); ; _, _ = unix.Poll(nil, 1) { // milliseconds
		routes, err := os.ReadFile("/proc/thread-self/net/ipv6_route")
		if err != nil || route.Match(routes) {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("%v: no local route within %v", ip, answerWait)
		}
	}
}

// Sysctl sets keys of /proc/sys/net inside, each "ipv4/ip_forward=1".
func (n *NetNS) Sysctl(t testing.TB, settings ...string) {
	t.Helper()
	err := n.Do(func() error {
		for _, s := range settings {
			key, value, _ := strings.Cut(s, "=")
			if err := os.WriteFile("/proc/sys/net/"+key, []byte(value), 0); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
