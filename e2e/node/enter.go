package node

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// stage is the environment variable that says how far a re-executed process has come.
const stage = "DETOUR_E2E_STAGE"

// Enter brings the process into a node's namespaces. It returns true there; outside
// it has run the process again in them, and gives its exit code.
func Enter() (inside bool, code int, err error) {
	switch os.Getenv(stage) {
	case "":
		code, err := outside()
		return false, code, err
	case "init":
		if err := makeRoot(); err != nil {
			return false, 1, err
		}
		return false, reap("node"), nil
	}
	return true, 0, nil
}

func outside() (int, error) {
	if os.Getuid() != 0 {
		return 1, errors.New("a node needs root, for namespaces of its own")
	}
	self, err := os.Executable()
	if err != nil {
		return 1, err
	}
	if err := makeCgroups(); err != nil {
		return 1, err
	}
	defer removeCgroups()
	args := append([]string{"--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--mount-proc", "--kill-child", "--propagation", "private", self}, os.Args[1:]...)
	c := exec.Command("unshare", args...)
	c.Env = append(os.Environ(), stage+"=init")
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	err = c.Run()
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return e.ExitCode(), nil
	}
	return 0, err
}

// reap is what process 1 does: it runs the next stage, and buries whoever else dies. It
// must not be the tests' own process, whose children wait for themselves.
func reap(next string) int {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	if err := os.Setenv(stage, next); err != nil {
		panic(err)
	}
	child, err := os.StartProcess(self, os.Args, &os.ProcAttr{
		Env:   os.Environ(),
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		if err == nil && pid == child.Pid {
			return status.ExitStatus()
		}
	}
}

// cgroupRoot is the kubelet's, in every v1 hierarchy of the host.
const cgroupRoot = "knode"

func cgroups() []string {
	all, _ := filepath.Glob("/sys/fs/cgroup/*/cgroup.procs") // a constant pattern
	var dirs []string
	for _, f := range all {
		dirs = append(dirs, filepath.Join(filepath.Dir(f), cgroupRoot))
	}
	return dirs
}

func makeCgroups() error {
	for _, dir := range cgroups() {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		for _, f := range []string{"cpuset.cpus", "cpuset.mems"} {
			if text, err := os.ReadFile(filepath.Join(filepath.Dir(dir), f)); err == nil {
				_ = os.WriteFile(filepath.Join(dir, f), text, 0o644) // only cpuset has it
			}
		}
	}
	return nil
}

// removeCgroups takes the tree away from below. A cgroup is busy up to a second after its
// last process has gone.
func removeCgroups() {
	for _, dir := range cgroups() {
		for range 20 {
			if out, _ := exec.Command("find", dir, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";").CombinedOutput(); !strings.Contains(string(out), "busy") {
				break
			}
			_ = unix.Nanosleep(&unix.Timespec{Nsec: 1e8}, nil)
		}
	}
}

// makeRoot makes an overlay over the host's root the root of this mount namespace.
func makeRoot() error {
	const base, root = "/mnt", "/mnt/root"
	steps := []struct{ from, at, kind, data string }{
		{"tmpfs", base, "tmpfs", "size=6g"},
		{"", "/mnt/upper", "", ""}, {"", "/mnt/work", "", ""}, {"", root, "", ""},
		{"overlay", root, "overlay", "lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work"},
		{"proc", root + "/proc", "proc", ""},
		{"/dev", root + "/dev", "bind", ""},
		{"sysfs", root + "/sys", "sysfs", ""},
		{"/sys/fs/cgroup", root + "/sys/fs/cgroup", "bind", ""},
	}
	// An overlay cannot lie on an overlay, so what containerd puts its own on is tmpfs.
	for _, dir := range []string{"/run", "/var/lib/containerd", "/var/lib/kubelet", "/var/lib/cni", "/var/log"} {
		steps = append(steps, struct{ from, at, kind, data string }{"tmpfs", root + dir, "tmpfs", ""})
	}
	for _, s := range steps {
		if err := os.MkdirAll(s.at, 0o755); err != nil {
			return err
		}
		var flags uintptr
		switch s.kind {
		case "":
			continue
		case "bind":
			flags = unix.MS_BIND | unix.MS_REC
		}
		if err := unix.Mount(s.from, s.at, s.kind, flags, s.data); err != nil {
			return fmt.Errorf("mount %s on %s: %w", s.from, s.at, err)
		}
	}
	wd, err := os.Getwd()
	if err != nil {
		return err
	}
	if err := unix.PivotRoot(root, root+"/mnt"); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := os.Chdir(wd); err != nil { // in the new root
		return err
	}
	if err := unix.Unmount("/mnt", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount the old root: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_SHARED|unix.MS_REC, ""); err != nil {
		return err
	}
	return coverSysctls()
}

// coverSysctls puts files with the wanted values over sysctls that the kubelet would write:
// they are the host's, whatever the namespace.
func coverSysctls() error {
	// A proc with something over it lets no user namespace mount one of its own, unless there is
	// a whole one beside it (the kernel's mount_too_revealing): pods with hostUsers: false.
	if err := os.MkdirAll("/mnt/proc", 0o755); err != nil {
		return err
	}
	if err := unix.Mount("proc", "/mnt/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("a second proc: %w", err)
	}
	if err := os.MkdirAll("/run/sysctl", 0o755); err != nil {
		return err
	}
	for name, value := range map[string]string{
		"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
		"kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
	} {
		file := "/run/sysctl/" + strings.ReplaceAll(name, "/", ".")
		if err := os.WriteFile(file, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		if err := unix.Mount(file, "/proc/sys/"+name, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("cover sysctl %s: %w", name, err)
		}
	}
	return nil
}
