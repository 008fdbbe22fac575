package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// programs are what the demo runs, besides itself.
var programs = []string{"detour", "detour-cni", "cnitool", "bridge", "host-local"}

// exitInterrupted is what shells expect of a program that SIGINT has ended (128 + 2).
const exitInterrupted = 130

// isolate runs the demo in namespaces of its own. They end with it, and with them
// every process, interface, rule, mount and file, however it ends.
func isolate() int {
	bin, err := findPrograms()
	if err == nil && os.Geteuid() != 0 {
		err = errors.New("needs root, to make namespaces of its own (it touches nothing outside of them)")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		return 1
	}
	// Pdeathsig is sent when the thread ends that made the child (prctl(2)).
	runtime.LockOSThread()
	cmd := exec.Command("/proc/self/exe", "inside", "-bin", bin)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	page, err := os.Create(filepath.Join(bin, "cart.html"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		return 1
	}
	defer page.Close()
	cmd.ExtraFiles = []*os.File{page} // its mounts may cover the place
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "demo: make namespaces:", err)
		return 1
	}
	ended := make(chan int, 1)
	go func() { ended <- exitCode(cmd.Wait()) }()
	select {
	case code := <-ended:
		return code
	case <-signals:
		_ = cmd.Process.Kill() // as pid 1 of its namespace it takes everybody along
		<-ended
		fmt.Println("\ninterrupted: everything is gone with its namespaces")
		return exitInterrupted
	}
}

func exitCode(err error) int {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return max(exit.ExitCode(), 1) // -1: killed
	}
	if err != nil {
		return 1
	}
	return 0
}

// findPrograms gives the directory that has all of them: the demo's own, or bin/.
func findPrograms() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	for _, dir := range []string{filepath.Dir(self), "bin"} {
		missing := ""
		for _, name := range programs {
			if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
				missing = name
			}
		}
		if missing == "" {
			return filepath.Abs(dir)
		}
	}
	return "", errors.New("bin/ does not have all programs: run `make demo`, which builds them")
}

// home is where everything is that the demo writes, in a tmpfs of its own.
const home = "/run/detour-demo"

// settle makes the new namespaces a place to live in.
func settle(bin string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	// Opened now: the mounts below may cover the places where they are.
	files := map[string]*os.File{}
	for _, path := range append([]string{self}, joined(bin, programs)...) {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		files[filepath.Base(path)] = f
		if path == self {
			files["demo"] = f
		}
	}
	for _, m := range []struct {
		kind, at string
		flags    uintptr
	}{
		{"", "/", unix.MS_REC | unix.MS_PRIVATE},
		{"proc", "/proc", 0},
		{"tmpfs", "/run", 0},     // network namespaces, the xtables lock, our files
		{"tmpfs", "/var/lib", 0}, // libcni's cache
	} {
		if err := unix.Mount(m.kind, m.at, m.kind, m.flags, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	for _, dir := range []string{home + "/bin", home + "/net.d", "/run/netns"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for name, f := range files {
		if err := install(f, filepath.Join(home, "bin", name)); err != nil {
			return err
		}
	}
	return nil
}

func joined(dir string, names []string) []string {
	var paths []string
	for _, name := range names {
		paths = append(paths, filepath.Join(dir, name))
	}
	return paths
}

// install copies an opened program to where every uid may run it.
func install(from *os.File, path string) error {
	to, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, io.NewSectionReader(from, 0, 1<<40))
	return errors.Join(err, to.Close())
}
