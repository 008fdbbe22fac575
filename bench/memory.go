package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// peakMemory runs a call and gives the most memory, in bytes, that was resident.
//
// It stops the process at its exit and reads VmHWM. The maxrss of wait4 would
// not do: Go starts children with CLONE_VM, and exec charges them with what
// this process has resident (exec_mmap, setmax_mm_hiwater_rss).
func peakMemory(c call) (int64, error) {
	runtime.LockOSThread() // ptrace knows threads, not processes
	defer runtime.UnlockOSThread()
	cmd, err := c.prepare()
	if err != nil {
		return 0, err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	peak, status, err := followToExit(cmd.Process.Pid)
	if err != nil {
		return 0, err
	}
	if err := cmd.Process.Release(); err != nil { // wait4 has taken it
		return 0, err
	}
	if status != 0 {
		return 0, cmd.finish(fmt.Errorf("exit status %d", status))
	}
	return peak, cmd.finish(nil)
}

func followToExit(pid int) (peak int64, status int, err error) {
	var ws syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &ws, 0, nil); err != nil { // stopped after exec
		return 0, 0, fmt.Errorf("wait4: %w", err)
	}
	if err := syscall.PtraceSetOptions(pid, unix.PTRACE_O_TRACEEXIT|unix.PTRACE_O_EXITKILL); err != nil {
		return 0, 0, fmt.Errorf("ptrace: %w", err)
	}
	for deliver := 0; ; {
		if err := syscall.PtraceCont(pid, deliver); err != nil {
			return 0, 0, fmt.Errorf("ptrace: %w", err)
		}
		if _, err := syscall.Wait4(pid, &ws, 0, nil); err != nil {
			return 0, 0, fmt.Errorf("wait4: %w", err)
		}
		switch {
		case ws.Exited():
			return peak, ws.ExitStatus(), nil
		case ws.Signaled():
			return peak, -1, nil
		case ws.StopSignal() == syscall.SIGTRAP && ws.TrapCause() == unix.PTRACE_EVENT_EXIT:
			if peak, err = highWater(pid); err != nil {
				return 0, 0, err
			}
			deliver = 0
		default: // a signal of its own (the runtime preempts with SIGURG)
			deliver = int(ws.StopSignal())
		}
	}
}

// highWater reads VmHWM of a stopped process.
func highWater(pid int) (int64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64)
			return kib * 1024, err
		}
	}
	return 0, fmt.Errorf("/proc/%d/status: no VmHWM", pid)
}
