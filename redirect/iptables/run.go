package iptables

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// lockWait bounds the wait for the xtables lock. iptables-restore(8) takes -w in
// whole seconds; -w without a number waits for ever, so this is never zero.
const lockWait = 5 * time.Second

// lockFile is what a child locks as the xtables lock: its own standard input, so it waits
// for nobody, neither for the node nor for whoever holds the pod's lock. Those who change
// one pod wait for each other before that (package netfilter). Read since iptables 1.8.6;
// older ones lock /run/xtables.lock, for lockWait at most. The nft variant needs no lock.
const lockFile = "XTABLES_LOCKFILE=/proc/self/fd/0"

// environment is all that children get: nothing in ours is meant for them.
func environment() []string { return []string{lockFile, "LC_ALL=C"} }

// run runs a tool in the current thread's namespace, which a child inherits
// because Go forks on the calling thread. Its three streams are memory files, not
// pipes: os/exec needs no goroutine for them, and no child ever blocks on one.
func run(stdin, path string, args ...string) (stdout string, err error) {
	var files [3]*os.File
	for i := range files {
		fd, err := unix.MemfdCreate("detour", unix.MFD_CLOEXEC)
		if err != nil {
			return "", fmt.Errorf("memfd_create: %w", err)
		}
		files[i] = os.NewFile(uintptr(fd), "memfd")
		defer func() { _ = files[i].Close() }() // memory, nothing to lose
	}
	if _, err := files[0].WriteString(stdin); err != nil {
		return "", err
	}
	if _, err := files[0].Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	// A runtime kills an ADD that lasts too long, and calls DEL: no child may go on after that.
	cmd := exec.Cmd{Path: path, Args: append([]string{path}, args...), Env: environment(),
		Stdin: files[0], Stdout: files[1], Stderr: files[2], SysProcAttr: &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}}
	failure := cmd.Run()
	stderr, err := contents(files[2])
	if err != nil {
		return "", err
	}
	if failure != nil {
		return "", toolError(filepath.Base(path), failure, stderr, stdin)
	}
	return contents(files[1])
}

func contents(f *os.File) (string, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	b, err := io.ReadAll(f)
	return string(b), err
}

// maxRule is how many bytes of a rule an error repeats.
const maxRule = 200

// toolError makes one line of what a tool said, and repeats the rule that the
// tool counts to. Kernel errors of the legacy variant point at a COMMIT.
func toolError(tool string, failure error, stderr, stdin string) error {
	var said []string
	number := 0
	for l := range strings.Lines(stderr) {
		l, at := withoutLine(withoutBanner(strings.TrimSpace(l)))
		if number == 0 {
			number = at
		}
		if l != "" && !strings.HasPrefix(l, "Try `") {
			said = append(said, l)
		}
	}
	text := strings.Join(said, "; ")
	if number > 0 {
		text = fmt.Sprintf("line %d: %s%s", number, text, ruleAt(stdin, number))
	}
	var exit *exec.ExitError
	if !errors.As(failure, &exit) || text == "" {
		return fmt.Errorf("%s: %w", tool, failure)
	}
	return fmt.Errorf("%s: %w: %s", tool, failure, text)
}

// withoutBanner cuts "iptables-restore v1.8.9 (legacy): " and "iptables-restore: ".
func withoutBanner(l string) string {
	name, rest, ok := strings.Cut(l, ":")
	if ok && (strings.HasPrefix(name, "iptables") || strings.HasPrefix(name, "ip6tables")) {
		return strings.TrimSpace(rest)
	}
	return l
}

// withoutLine takes the line's number out. The tools say "Error occurred at line:
// 7" after the reason, "line 7 failed", or "line 7: RULE_APPEND failed (…)".
func withoutLine(l string) (rest string, number int) {
	if n, ok := strings.CutPrefix(l, "Error occurred at line: "); ok {
		number, _ = strconv.Atoi(n) // not a number: no line is named
		return "", number
	}
	after, ok := strings.CutPrefix(l, "line ")
	if !ok {
		return l, 0
	}
	n, rest, _ := strings.Cut(after, " ")
	number, err := strconv.Atoi(strings.TrimSuffix(n, ":"))
	if err != nil {
		return l, 0
	}
	return rest, number
}

func ruleAt(stdin string, number int) string {
	lines := strings.Split(stdin, "\n")
	if number > len(lines) || lines[number-1] == "" {
		return ""
	}
	l := lines[number-1]
	if len(l) > maxRule {
		l = l[:maxRule] + "…"
	}
	return ": " + l
}
