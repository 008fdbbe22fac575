package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/detour-cni/detour/demo/proxy"
	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/redirecttest"
)

// TestMain runs this very program as a proxy, where a pod needs one.
func TestMain(m *testing.M) {
	if os.Getenv("DETOUR_TEST_PROXY") == "1" {
		p := proxy.Proxy{OutboundPort: 15001, InboundPort: 15006, Report: func(proxy.Seen) {},
			AppSources: []netip.Addr{netip.MustParseAddr("127.0.0.6"), netip.MustParseAddr("::6")}}
		if err := p.Listen(); err != nil {
			panic(err)
		}
		fmt.Println("listening")
		select {}
	}
	os.Exit(m.Run())
}

// started runs a program in the pod as a user without any right, to the test's end, and gives its lines.
func started(t *testing.T, pod *redirecttest.Pod, uid uint32, env, path string, args ...string) *bufio.Scanner {
	t.Helper()
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), env)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := pod.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatalf("%s %v says nothing", path, args)
	}
	return lines
}

// probe calls the pod from outside, as the kubelet does, and gives the status line.
func probe(t *testing.T, pod *redirecttest.Pod, to string) (status string) {
	t.Helper()
	err := pod.Peer.Do(func() error {
		c, err := net.DialTimeout("tcp", to, callWait)
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(callWait)); err != nil {
			return err
		}
		fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		answer, err := io.ReadAll(c)
		status, _, _ = strings.Cut(string(answer), "\r\n")
		return err
	})
	if err != nil {
		return err.Error()
	}
	return status
}

// The kubelet's call is answered well exactly where the inbound hook bends it, in both families; then the
// ports are free for whoever is to have them.
func TestProbeProvesTheInboundHook(t *testing.T) {
	redirecttest.NeedsKernel(t)
	path := program(t)
	for name, tc := range map[string]struct {
		change func(*redirect.Spec)
		rules  bool
		status string
		line   string
	}{
		"redirected": {rules: true, status: "HTTP/1.1 200 OK", line: "ok: inbound hook: a call from %s to %s landed on port 15006"},
		"no rules":   {status: "HTTP/1.1 503 Service Unavailable", line: "NOT redirected: a call from %s arrived at port 15777 itself, not at port 15006"},
		"no inbound": {rules: true, change: func(s *redirect.Spec) { s.InboundMode = redirect.InboundOff }, status: "HTTP/1.1 503 Service Unavailable", line: "NOT redirected: a call from %s arrived"},
		"port excluded": {rules: true, change: func(s *redirect.Spec) {
			s.ExcludeInboundPorts = append(s.ExcludeInboundPorts, redirect.PortRange{First: 15777, Last: 15777})
		}, status: "HTTP/1.1 503 Service Unavailable", line: "NOT redirected: a call from %s arrived"},
		"another port":   {rules: true, change: func(s *redirect.Spec) { s.InboundPort = 15106 }, status: "connect: connection refused", line: ""},
		"outbound alone": {rules: true, change: func(s *redirect.Spec) { s.IncludeInboundPorts.All = false }, status: "HTTP/1.1 503 Service Unavailable", line: "NOT redirected"},
	} {
		for _, ends := range [][2]string{{"10.9.0.1", "10.9.0.2:15777"}, {"fd09::1", "[fd09::2]:15777"}} {
			t.Run(name+" from "+ends[0], func(t *testing.T) {
				t.Parallel()
				pod := redirecttest.NewPod(t)
				if tc.rules {
					commit(t, pod.NetNS, compiled(t, tc.change))
				}
				lines := started(t, pod, app, "", path, "probe")
				if got := probe(t, pod, ends[1]); !strings.HasSuffix(got, tc.status) {
					t.Errorf("the kubelet is answered %q, want %q", got, tc.status)
				}
				if tc.line == "" {
					return
				}
				want := tc.line
				if strings.Count(want, "%s") == 2 {
					want = fmt.Sprintf(want, ends[0], ends[1])
				} else if strings.Contains(want, "%s") {
					want = fmt.Sprintf(want, ends[0])
				}
				if !lines.Scan() || !strings.Contains(lines.Text(), want) {
					t.Errorf("it says %q, want %q", lines.Text(), want)
				}
				if strings.HasSuffix(tc.status, "OK") {
					refused(t, pod, ends[1])
				}
			})
		}
	}
}

// refused waits until nobody has the ports any more.
func refused(t *testing.T, pod *redirecttest.Pod, to string) {
	t.Helper()
	for end := time.Now().Add(callWait); time.Now().Before(end); {
		if strings.HasSuffix(probe(t, pod, to), "connection refused") {
			return
		}
	}
	t.Error("the inbound port is still held after the proof")
}

// The proxy is there already: the call comes back from it, and without rules it still comes straight.
func TestProbeBesideAProxy(t *testing.T) {
	redirecttest.NeedsKernel(t)
	path := program(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, bent := range []bool{true, false} {
		for _, to := range []string{"10.9.0.2:15777", "[fd09::2]:15777"} {
			pod := redirecttest.NewPod(t)
			status, line := "HTTP/1.1 503 Service Unavailable", "NOT redirected: a call from"
			if bent {
				commit(t, pod.NetNS, compiled(t, nil))
				status, line = "HTTP/1.1 200 OK", "ok: inbound hook: a call to port 15777 came through whoever holds port 15006"
			}
			started(t, pod, 0, "DETOUR_TEST_PROXY=1", self)
			lines := started(t, pod, app, "", path, "probe")
			if got := probe(t, pod, to); got != status {
				t.Errorf("rules %t, %s: the kubelet is answered %q, want %q", bent, to, got, status)
			}
			if !lines.Scan() || !strings.Contains(lines.Text(), line) {
				t.Errorf("rules %t, %s: it says %q, want %q", bent, to, lines.Text(), line)
			}
		}
	}
}

func TestUsage(t *testing.T) {
	for args, want := range map[string]string{
		"probe --port 15006":           "--port: 15006 is --inbound-port",
		"probe --port 0":               "--port: 0 (want 1 to 65535)",
		"probe now":                    `"now": want no arguments`,
		"--loopback around":            `--loopback: "around" (want hairpin, bypass or localhost-only)`,
		"--dns-protocols udp,sctp":     `--dns-protocols: "udp,sctp" (want udp, tcp or both)`,
		"--as root":                    `--as: "root" (want app or proxy)`,
		"--outbound-port 70000":        "--outbound-port: 70000 (want 1 to 65535)",
		"--dns-port 70000":             "--dns-port: 70000 (want 0 to 65535)",
		"--as proxy --hairpin=false":   "flag provided but not defined: -hairpin",
		"--outbound-port 15001 please": `"please": want no arguments`,
	} {
		var out, errs strings.Builder
		if code := run(strings.Fields(args), &out, &errs); code != exitUsage || !strings.Contains(errs.String(), want) || out.Len() > 0 {
			t.Errorf("%s: exit code %d, %q on stderr, %q on stdout, want %d, %q", args, code, errs.String(), out.String(), exitUsage, want)
		}
	}
}
