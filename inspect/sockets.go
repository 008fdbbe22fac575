package inspect

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect"
)

// sockets reads those of the current thread's namespace that take something: TCP
// ones that listen, and UDP ones without a peer (proc_pid_net(5)).
func sockets() (all []Socket, err error) {
	fs, err := procfs.NewFS("/proc/thread-self")
	if err != nil {
		return nil, err
	}
	add := func(proto redirect.Proto, ip net.IP, port, uid, inode uint64) {
		addr, _ := netip.AddrFromSlice(ip)
		if len(ip) == net.IPv4len {
			addr = addr.Unmap()
		}
		all = append(all, Socket{Proto: proto, Addr: netip.AddrPortFrom(addr, uint16(port)), UID: uint32(uid), inode: inode})
	}
	for _, read := range []func() (procfs.NetTCP, error){fs.NetTCP, fs.NetTCP6} { //nolint:staticcheck // the netlink way that it advises loads the kernel's module tcp_diag; looking loads nothing
		lines, err := read()
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		for _, l := range lines {
			if l.St == 10 { // TCP_LISTEN (net/tcp_states.h)
				add(redirect.TCPProto, l.LocalAddr, l.LocalPort, l.UID, l.Inode)
			}
		}
	}
	for _, read := range []func() (procfs.NetUDP, error){fs.NetUDP, fs.NetUDP6} {
		lines, err := read()
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		for _, l := range lines {
			if l.RemPort == 0 {
				add(redirect.UDPProto, l.LocalAddr, l.LocalPort, l.UID, l.Inode)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Socket) int {
		return cmp.Or(cmp.Compare(a.Proto, b.Proto), cmp.Compare(a.Addr.Port(), b.Addr.Port()), a.Addr.Addr().Compare(b.Addr.Addr()))
	})
	return all, nil
}

// Processes are those of the machine, by the network namespace they are in.
type Processes struct{ by map[namespace][]int }

type namespace struct{ dev, inode uint64 }

// ReadProcesses reads /proc once. A process that is gone meanwhile, or that we may not
// look at, is left out.
func ReadProcesses() *Processes {
	all := &Processes{by: map[namespace][]int{}}
	entries, _ := os.ReadDir("/proc") // without /proc nobody is seen, and nobody is shown
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if ns, err := namespaceAt(fmt.Sprintf("/proc/%d/ns/net", pid)); err == nil {
			all.by[ns] = append(all.by[ns], pid)
		}
	}
	return all
}

func namespaceAt(path string) (namespace, error) {
	var s unix.Stat_t
	if err := unix.Stat(path, &s); err != nil {
		return namespace{}, err
	}
	return namespace{s.Dev, s.Ino}, nil
}

// inside are the processes in the namespace at path.
func (all *Processes) inside(path string) []int {
	ns, err := namespaceAt(path)
	if err != nil || all == nil {
		return nil
	}
	return all.by[ns]
}

// name finds who has the sockets open.
func name(all []Socket, pids []int) {
	open := map[string]*Socket{}
	for i := range all {
		open[fmt.Sprintf("socket:[%d]", all[i].inode)] = &all[i]
	}
	for _, pid := range pids {
		proc, err := procfs.NewProc(pid)
		if err != nil {
			continue
		}
		targets, err := proc.FileDescriptorTargets()
		if err != nil {
			continue
		}
		var who Process
		for _, t := range targets {
			s := open[t]
			if s == nil || s.Process.PID != 0 {
				continue
			}
			if who.PID == 0 {
				who = process(proc)
			}
			s.Process = who
		}
	}
}

func process(p procfs.Proc) Process {
	who := Process{PID: p.PID}
	who.Name, _ = p.Comm()
	if status, err := p.NewStatus(); err == nil {
		who.GID = uint32(status.GIDs[1]) // the effective one: what a new socket gets
	}
	return who
}

// nameservers reads resolv.conf(5) of the first process that shows it.
func nameservers(pids []int) (all []netip.Addr) {
	for _, pid := range pids {
		f, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "root/etc/resolv.conf"))
		if err != nil {
			continue
		}
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			if words := strings.Fields(lines.Text()); len(words) > 1 && words[0] == "nameserver" {
				if a, err := netip.ParseAddr(words[1]); err == nil {
					all = append(all, a)
				}
			}
		}
		f.Close() //nolint:errcheck // only read
		if len(all) > 0 {
			return all
		}
	}
	return nil
}
