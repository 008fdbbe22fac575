package netfilter

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/internal/netlink"
	"github.com/detour-cni/detour/redirect/nftables"
)

var errFault = errors.New("fault on purpose")

// faulty is a route socket whose n-th request is refused.
type faulty struct {
	*netlink.Socket
	at, count int
}

func (f *faulty) Do(message []byte) error {
	if f.count++; f.count == f.at {
		return errFault
	}
	return f.Socket.Do(message)
}

// refusing is a backend that commits nothing.
type refusing struct {
	nftables.Backend
	err error
}

func (r refusing) Commit(redirect.RuleSet, redirect.Attachment, redirect.Extras) (redirect.Change, error) {
	return "", r.err
}

// routeSocket opens a route socket in the thread's namespace.
func routeSocket(t *testing.T) *netlink.Socket {
	t.Helper()
	s, err := netlink.Open(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // nothing depends on it any more
	return s
}

// worlds are pods in which an ADD has different things to do.
var worlds = map[string][]string{
	"dual":            dual(),
	"dual, lo down":   append([]string{"ip link set lo down"}, dual()[1:]...),
	"no IPv6 address": {"ip link set lo up", "ip link add eth0 type veth peer name wire", "ip addr add 10.9.0.2/24 dev eth0"},
}

func TestAFaultAtAnyRequestLeavesTheNamespaceAsItWas(t *testing.T) {
	for name, lines := range worlds {
		t.Run(name, func(t *testing.T) {
			enterPod(t, lines...)
			socket := routeSocket(t)
			rs := ruleSet(t, tproxy)
			before := snapshot(t)
			for at := 1; ; at++ {
				route := &faulty{Socket: socket, at: at}
				_, _, err := namespace{route: route}.install(nftables.Backend{}, rs, owner)
				if err == nil && route.count < at {
					if at < 3 {
						t.Fatalf("only %d requests: nothing was tried", at-1)
					}
					return // a run without a fault: every request had its turn
				}
				if !errors.Is(err, errFault) {
					t.Fatalf("request %d: %v (want %v)", at, err, errFault)
				}
				if diff := cmp.Diff(before, snapshot(t)); diff != "" {
					t.Fatalf("request %d fails, and leaves (-before +after):\n%s", at, diff)
				}
			}
		})
	}
}

func TestARefusedTransactionLeavesTheNamespaceAsItWas(t *testing.T) {
	for name, lines := range worlds {
		t.Run(name, func(t *testing.T) {
			enterPod(t, lines...)
			before := snapshot(t)
			_, _, err := namespace{route: routeSocket(t)}.install(refusing{err: errFault}, ruleSet(t, tproxy), owner)
			if !errors.Is(err, errFault) {
				t.Fatalf("got %v, want %v", err, errFault)
			}
			if diff := cmp.Diff(before, snapshot(t)); diff != "" {
				t.Errorf("-before +after:\n%s", diff)
			}
		})
	}
}

func TestAFailedReplacementKeepsWhatTheFirstADDMade(t *testing.T) {
	enterPod(t, dual()...)
	n := namespace{route: routeSocket(t)}
	if _, _, err := n.install(nftables.Backend{}, ruleSet(t, tproxy), owner); err != nil {
		t.Fatal(err)
	}
	before := snapshot(t)
	other := ruleSet(t, func(s *redirect.Spec) { tproxy(s); s.TProxyTable, s.TProxyMark = 200, 200 })
	if _, _, err := n.install(refusing{err: errFault}, other, owner); !errors.Is(err, errFault) {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, snapshot(t)); diff != "" {
		t.Errorf("-before +after:\n%s", diff)
	}
}

func TestAnUndoThatFailsIsToldAsWell(t *testing.T) {
	enterPod(t, dual()...)
	// Request 1 adds ::6; the transaction is refused; request 2 takes ::6 back.
	route := &faulty{Socket: routeSocket(t), at: 2}
	refused := errors.New("refused")
	_, _, err := namespace{route: route}.install(refusing{err: refused}, ruleSet(t, nil), owner)
	if !errors.Is(err, refused) || !errors.Is(err, errFault) {
		t.Errorf("got %v, want both %v and %v", err, refused, errFault)
	}
}

func TestASecondCommitChangesNothing(t *testing.T) {
	for name, lines := range worlds {
		t.Run(name, func(t *testing.T) {
			enterPod(t, lines...)
			rs := ruleSet(t, tproxy)
			for i, want := range []redirect.Change{redirect.Installed, redirect.Unchanged, redirect.Unchanged} {
				before := snapshot(t)
				got, err := commit(rs, Options{Backend: NFTables, Owner: owner})
				if err != nil || got.Change != want || len(got.Warnings) > 0 {
					t.Fatalf("commit %d: %+v, %v (want %s, no warning)", i+1, got, err, want)
				}
				if diff := cmp.Diff(before, snapshot(t)); i > 0 && diff != "" {
					t.Errorf("commit %d: -before +after:\n%s", i+1, diff)
				}
			}
			if got := strings.Count(command(t, "ip rule"), "lookup 133"); got != 1 {
				t.Errorf("%d rules for the mark, want 1", got)
			}
		})
	}
}

func TestAnotherSpecReplacesTheFirstAndTakesAwayWhatItDoesNotWant(t *testing.T) {
	for _, b := range kernelBackends {
		t.Run(string(b), func(t *testing.T) {
			enterPod(t, dual()...)
			mustCommit(t, ruleSet(t, tproxy), b)
			if !strings.Contains(command(t, "ip rule"), "lookup 133") || !strings.Contains(command(t, "ip -6 rule"), "lookup 133") {
				t.Fatal("nothing looks up 133 after tproxy")
			}
			moved := ruleSet(t, func(s *redirect.Spec) { tproxy(s); s.TProxyTable = 200; s.PassthroughSource = nil })
			mustReplace(t, moved, b)
			after := snapshot(t)
			for _, gone := range []string{"lookup 133", "table 133", "::6/128"} {
				if strings.Contains(after, gone) {
					t.Errorf("%q is still there:\n%s", gone, after)
				}
			}
			if !strings.Contains(after, "lookup 200") || !strings.Contains(after, "table 200") {
				t.Errorf("table 200 is not set up:\n%s", after)
			}
			mustReplace(t, ruleSet(t, nil), b)
			if after := command(t, "ip rule") + command(t, "ip -6 rule"); strings.Contains(after, "200") {
				t.Errorf("still routed by mark:\n%s", after)
			}
		})
	}
}

// mustReplace commits over other rules, and sees that they are whole.
func mustReplace(t *testing.T, rs redirect.RuleSet, b Backend) {
	t.Helper()
	if got := mustCommit(t, rs, b); got.Change != redirect.Replaced || got.Backend != b || len(got.Warnings) > 0 {
		t.Errorf("got %+v, want %s by %s, no warnings", got, redirect.Replaced, b)
	}
	if moved, err := verify(rs, b); moved || err != nil {
		t.Errorf("after the replacement: %v, %v", moved, err)
	}
}

func mustCommit(t *testing.T, rs redirect.RuleSet, b Backend) Result {
	t.Helper()
	r, err := commit(rs, Options{Backend: b, Owner: owner})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRemoveLeavesTheNamespaceAsBeforeAndOthersRules(t *testing.T) {
	enterPod(t, dual()...)
	for _, line := range []string{
		"ip rule add fwmark 7 lookup 7 priority 7",
		"ip route add local default dev lo table 7",
		"nft add table inet theirs",
		"nft add chain inet theirs out { type nat hook output priority -90 ; }",
		"nft add rule inet theirs out tcp dport 7 redirect to :8",
		"nft add table ip detour-two",
	} {
		command(t, line)
	}
	before := snapshot(t)
	mustCommit(t, ruleSet(t, tproxy), NFTables)
	for _, stranger := range []redirect.Attachment{{ContainerID: "c2", IfName: "eth0"}, {ContainerID: "c1", IfName: "net1"}} {
		installed := snapshot(t)
		if removed, err := remove(stranger); removed || err != nil {
			t.Errorf("remove for %v: %v, %v", stranger, removed, err)
		}
		if diff := cmp.Diff(installed, snapshot(t)); diff != "" {
			t.Errorf("remove for %v: -before +after:\n%s", stranger, diff)
		}
	}
	for i, want := range []bool{true, false} {
		if removed, err := remove(owner); removed != want || err != nil {
			t.Errorf("remove %d: %v, %v (want %v)", i+1, removed, err, want)
		}
	}
	if diff := cmp.Diff(before, snapshot(t)); diff != "" {
		t.Errorf("-before ADD +after DEL:\n%s", diff)
	}
}

// With lo down nothing works: a call that is bent ends there. In a pod without IPv6 nothing
// else shows it.
func TestVerifyLooksAtLoInAPodWithoutIPv6(t *testing.T) {
	enterPod(t, worlds["no IPv6 address"]...)
	rs := ruleSet(t, nil)
	mustCommit(t, rs, NFTables)
	command(t, "ip link set lo down")
	_, err := verify(rs, NFTables)
	if drift, ok := errors.AsType[*redirect.Drift](err); !ok || drift.What != "lo is down" {
		t.Errorf("got %v, want drift: lo is down", err)
	}
	mustCommit(t, rs, NFTables)
	if _, err := verify(rs, NFTables); err != nil {
		t.Errorf("after another ADD: %v", err)
	}
}

func TestARouteOfSomebodyElseInOurTableIsNotTakenForOurs(t *testing.T) {
	enterPod(t, dual()...)
	command(t, "ip route add unicast default via 10.9.0.1 table 133")
	before := snapshot(t)
	_, err := commit(ruleSet(t, tproxy), Options{Backend: NFTables, Owner: owner})
	if err == nil || !strings.Contains(err.Error(), "add ip local default route in table 133: another is in its place") {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff(before, snapshot(t)); diff != "" {
		t.Errorf("-before +after:\n%s", diff)
	}
}

func TestVerifyNamesWhatIsMissingBesidesRules(t *testing.T) {
	for _, tc := range []struct{ name, line, want string }{
		{"address", "ip addr del ::6/128 dev lo", "address ::6 on lo is missing"},
		{"rule", "ip rule del fwmark 1337 lookup 133", "ip rule fwmark 1337 lookup 133 is missing"},
		{"rule of IPv6", "ip -6 rule del fwmark 1337 lookup 133", "ip -6 rule fwmark 1337 lookup 133 is missing"},
		{"route", "ip route flush table 133", "ip local default route in table 133 is missing"},
		{"route of IPv6", "ip -6 route flush table 133", "ip -6 local default route in table 133 is missing"},
		{"lo", "ip link set lo down", "lo is down"},
		{"another route", "ip route replace unicast default dev lo table 133", "ip local default route in table 133 is missing"},
		{"rule for an interface", "ip rule del pref 133; ip rule add pref 133 fwmark 1337 iif eth0 lookup 133", "ip rule fwmark 1337 lookup 133 is missing"},
		{"rule for a prefix", "ip rule del pref 133; ip rule add pref 133 fwmark 1337 from 10.0.0.0/8 lookup 133", "ip rule fwmark 1337 lookup 133 is missing"},
		{"rule turned round", "ip -6 rule del pref 133; ip -6 rule add pref 133 not fwmark 1337 lookup 133", "ip -6 rule fwmark 1337 lookup 133 is missing"},
		{"rule for users", "ip rule del pref 133; ip rule add pref 133 fwmark 1337 uidrange 0-0 lookup 133", "ip rule fwmark 1337 lookup 133 is missing"},
		{"rule for ports", "ip rule del pref 133; ip rule add pref 133 fwmark 1337 ipproto tcp dport 1 lookup 133", "ip rule fwmark 1337 lookup 133 is missing"},
		{"rule without default", "ip rule del pref 133; ip rule add pref 133 fwmark 1337 suppress_prefixlength 0 lookup 133", "ip rule fwmark 1337 lookup 133 is missing"},
		{"route for a tos", "ip route flush table 133; ip route add local default dev lo tos 0x10 table 133", "ip local default route in table 133 is missing"},
		{"another rule as well", "ip rule add pref 132 fwmark 1337 iif eth0 lookup 133", ""},
		{"nothing", "true", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			enterPod(t, dual()...)
			rs := ruleSet(t, tproxy)
			mustCommit(t, rs, NFTables)
			for line := range strings.SplitSeq(tc.line, "; ") {
				command(t, line)
			}
			before := snapshot(t)
			moved, err := verify(rs, NFTables)
			if moved || fmt.Sprint(err) != tc.want && (err != nil || tc.want != "") {
				t.Errorf("got %v, %v; want %q", moved, err, tc.want)
			}
			if drift, ok := errors.AsType[*redirect.Drift](err); err != nil && !ok {
				t.Errorf("%v is no drift (%v)", err, drift)
			}
			if diff := cmp.Diff(before, snapshot(t)); diff != "" {
				t.Errorf("verify repairs: -before +after:\n%s", diff)
			}
			if strings.Contains(tc.line, "unicast") || strings.Contains(tc.line, "from") || strings.Contains(tc.line, "not") {
				return // in the place of ours, to the kernel: ADD refuses (TestARouteOfSomebodyElse…)
			}
			mustCommit(t, rs, NFTables)
			if _, err := verify(rs, NFTables); err != nil {
				t.Errorf("after another ADD: %v", err)
			}
		})
	}
}

func TestPathsThatAreNoPodsNamespaceAreRefusedByName(t *testing.T) {
	pod := enterPod(t, dual()...)
	dir := t.TempDir()
	write := func(name string) string {
		path := dir + "/" + name
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	link := func(name, to string) string {
		path := dir + "/" + name
		if err := os.Symlink(to, path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, tc := range []struct {
		path string
		want error
	}{
		{"/proc/self/ns/net", ErrHostNamespace},
		{link("host", "/proc/self/ns/net"), ErrHostNamespace},
		{write("file"), ErrNoNamespace},
		{dir, ErrNoNamespace},
		{dir + "/file/below", ErrNoNamespace},
		{"/dev/null", ErrNoNamespace},
		{"/proc/version", ErrNoNamespace},
		{"/proc/self/ns/mnt", ErrNoNamespace},
		{dir + "/gone", ErrNoNamespace},
		{link("dangling", dir+"/gone"), ErrNoNamespace},
		{link("loop", dir+"/loop"), ErrNoNamespace},
		{dir + strings.Repeat("/x", 3000), ErrNoNamespace},
		{"", ErrNoNamespace},
		{pod, nil},
		{link("pod", pod), nil},
	} {
		if err := checkNamespace(tc.path); !errors.Is(err, tc.want) {
			t.Errorf("%.60s: %v (want %v)", tc.path, err, tc.want)
		}
		if removed, err := Remove(tc.path, owner); errors.Is(tc.want, ErrNoNamespace) && (removed || err != nil) {
			t.Errorf("remove in %.60s: %v, %v (want nothing, and no error)", tc.path, removed, err)
		}
	}
}

func TestRerouteWarnsOfAnInterfaceWithoutAnAddress(t *testing.T) {
	enterPod(t, append(dual(), "ip link add br0 type veth peer name br1", "ip link set br0 up", "ip addr add 10.8.0.1/24 dev br1")...)
	rs := ruleSet(t, func(s *redirect.Spec) {
		for _, name := range []redirect.Iface{"br0", "br1", "later", "tap+", "eth0"} {
			s.RerouteInterfaces = append(s.RerouteInterfaces, redirect.Reroute{Iface: name})
		}
	})
	want := []string{
		`rerouteInterfaces: "br0" has no IPv4 address: its IPv4 connections will be dropped`,
		`rerouteInterfaces: "br0" has no IPv6 address: its IPv6 connections will be dropped`,
		`rerouteInterfaces: "br1" has no IPv6 address: its IPv6 connections will be dropped`,
	}
	if diff := cmp.Diff(want, mustCommit(t, rs, NFTables).Warnings); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
