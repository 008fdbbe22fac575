package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// What is where. 203.0.113.0/24 and 2001:db8::/32 are documentation's own: no
// network has them.
const (
	service4, service6 = "203.0.113.10", "2001:db8::10"
	podNet4, podNet6   = "10.22.0.0/24", "fd22::/64"
	appPort            = 8080
	appUID             = 1000
)

func serviceAt(family string) string {
	if family == "v4" {
		return service4 + ":80"
	}
	return "[" + service6 + "]:80"
}

// families are gone through wherever something is shown.
func families() []string { return []string{"v4", "v6"} }

// node is the machine that the demo plays: the namespaces that it runs in.
type node struct {
	running []*process
	page    *os.File // where the picture goes
}

// newNode makes the namespaces a node: files, loopback, a service out there.
func newNode(bin string) (*node, error) {
	n := &node{}
	if err := settle(bin); err != nil {
		return n, err
	}
	// Duplicate address detection would keep every IPv6 address unusable for a second.
	for _, which := range []string{"all", "default"} {
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+which+"/accept_dad", []byte("0"), 0o644); err != nil {
			return n, fmt.Errorf("this machine has no IPv6, the demo shows both families: %w", err)
		}
	}
	ip := exec.Command("ip", "-batch", "-")
	ip.Stdin = strings.NewReader("link set lo up\naddr add " + service4 + "/32 dev lo\naddr add " + service6 + "/128 dev lo nodad\n")
	if out, err := ip.CombinedOutput(); err != nil {
		return n, fmt.Errorf("ip -batch: %w: %s", err, out)
	}
	return n, n.run("", ourselves(0, "serve", "-name", "the service", "-port", "80"))
}

// run starts a program that goes on running until the node stops.
func (n *node) run(netns string, cmd *exec.Cmd) error {
	_, err := n.keep(netns, cmd)
	return err
}

func (n *node) keep(netns string, cmd *exec.Cmd) (*process, error) {
	p, err := start(netns, cmd)
	if err == nil {
		n.running = append(n.running, p)
	}
	return p, err
}

// stop ends what still runs. The rest ends with the namespaces.
func (n *node) stop() error {
	var errs []error
	for _, p := range n.running {
		errs = append(errs, p.stop())
	}
	return errors.Join(errs...)
}

// pod is a network namespace, and what a runtime knows of it.
type pod struct {
	name, network string // network is the name in the conflist
	netns         string
	annotations   map[string]string
	addr4, addr6  netip.Addr
	// result is what ADD printed, container what it was told.
	result    json.RawMessage
	container string
	proxy     sidecar
}

// addr gives an address of the pod with a port.
func (p *pod) addr(family string, port uint16) netip.AddrPort {
	a := p.addr4
	if family == "v6" {
		a = p.addr6
	}
	return netip.AddrPortFrom(a, port)
}

// newPod makes an empty namespace.
func newPod(name, network string) (*pod, error) {
	p := &pod{name: name, network: network, netns: filepath.Join("/run/netns", name)}
	if err := os.WriteFile(p.netns, nil, 0o600); err != nil {
		return nil, err
	}
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, in its namespace
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			err = unix.Mount("/proc/thread-self/ns/net", p.netns, "", unix.MS_BIND, "")
		}
		made <- err
	}()
	return p, <-made
}

// startApp runs the pod's app.
func (n *node) startApp(p *pod) error {
	return n.run(p.netns, ourselves(appUID, "serve", "-name", p.name+"'s app", "-port", fmt.Sprint(appPort)))
}

// startProxy runs the pod's proxy.
func (n *node) startProxy(p *pod, uid uint32, outbound, inbound int, sources string) error {
	process, err := n.keep(p.netns, ourselves(uid, "proxy",
		"-outbound", fmt.Sprint(outbound), "-inbound", fmt.Sprint(inbound), "-from", sources))
	p.proxy = sidecar{process}
	return err
}
