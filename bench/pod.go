package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// pod is a network namespace as a primary plugin leaves it: lo up, eth0 (one
// end of a veth pair, the other on the node) with an address of each family.
type pod struct {
	id    string // container id
	netns string // path of the namespace
}

const (
	podAddr4, podAddr6 = "10.9.0.2/24", "fd09::2/64"
	gateway4, gateway6 = "10.9.0.1", "fd09::1"
)

// node is this process's network namespace and the pods that hang on it.
type node struct {
	dir  string // where the namespaces are mounted
	made int
}

// newNode keeps the caller's network namespace where ip(8) finds it.
func newNode(dir string) (*node, error) {
	n := &node{dir: dir}
	if err := os.WriteFile(n.path(), nil, 0o600); err != nil {
		return nil, err
	}
	return n, unix.Mount("/proc/thread-self/ns/net", n.path(), "", unix.MS_BIND, "")
}

func (n *node) path() string { return filepath.Join(n.dir, "node") }

func (n *node) close() error { return unix.Unmount(n.path(), unix.MNT_DETACH) }

// makePods makes n pods. Their creation is on no clock.
func (n *node) makePods(count int) ([]pod, error) {
	pods := make([]pod, count)
	var up strings.Builder
	for i := range pods {
		n.made++
		name := fmt.Sprintf("v%d", n.made)
		p, err := n.makePod(name)
		if err != nil {
			return nil, fmt.Errorf("make pod %s: %w", name, err)
		}
		pods[i] = p
		fmt.Fprintf(&up, "link set %s up\n", name)
	}
	return pods, ipBatch(up.String())
}

func (n *node) makePod(name string) (pod, error) {
	p := pod{id: fmt.Sprintf("bench%032d", n.made), netns: filepath.Join(n.dir, name)}
	if err := os.WriteFile(p.netns, nil, 0o600); err != nil {
		return p, err
	}
	made := make(chan error)
	go onLostThread(made, func() error { return furnish(p, name, n.path()) })
	return p, <-made
}

// onLostThread calls f on a thread that ends afterwards, so that it may stay in
// whatever namespace f takes it to. The main thread cannot end: while this
// goroutine keeps it busy, another gets a thread of its own.
func onLostThread(done chan<- error, f func() error) {
	runtime.LockOSThread() // a goroutine that ends locked takes its thread along
	if unix.Gettid() != unix.Getpid() {
		done <- f()
		return
	}
	defer runtime.UnlockOSThread()
	elsewhere := make(chan error)
	go onLostThread(elsewhere, f)
	done <- <-elsewhere
}

// furnish gives the calling thread a new namespace, keeps it at p.netns and
// makes it look like a pod's.
func furnish(p pod, peer, nodeNS string) error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Mount("/proc/thread-self/ns/net", p.netns, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s: %w", p.netns, err)
	}
	return ipBatch(fmt.Sprintf(`link set lo up
link add eth0 type veth peer name %s netns %s
addr add %s dev eth0
addr add %s dev eth0 nodad
link set eth0 up
route add default via %s
route add default via %s
`, peer, nodeNS, podAddr4, podAddr6, gateway4, gateway6))
}

// ipBatch runs lines of ip(8) in the calling thread's namespace.
func ipBatch(lines string) error {
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(lines)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip -batch: %w: %s", err, out)
	}
	return nil
}

// release gives the pods up and waits until the kernel has taken them down, so
// that its work does not fall into the next measurement.
func (n *node) release(pods []pod) error {
	for _, p := range pods {
		if err := unix.Unmount(p.netns, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", p.netns, err)
		}
		if err := os.Remove(p.netns); err != nil {
			return err
		}
	}
	const patience = 30 * time.Second
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		links, err := net.Interfaces()
		if err != nil {
			return err
		}
		// A pod's end of the pair takes the node's with it.
		if !anyVeth(links) {
			return nil
		}
	}
	return fmt.Errorf("pods are still there after %s", patience)
}

func anyVeth(links []net.Interface) bool {
	for _, l := range links {
		if strings.HasPrefix(l.Name, "v") {
			return true
		}
	}
	return false
}
