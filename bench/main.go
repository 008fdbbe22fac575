package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// bench is one run of the benchmark.
type bench struct {
	pairs    int
	only     *regexp.Regexp // nil: everything
	dir      string
	node     *node
	binaries binaries
	rules    rules
	subjects []subject
	began    time.Time
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == connectorArg {
		exitOn(connector(os.Stdin, os.Stdout))
		return
	}
	pairs := flag.Int("pairs", 60, "how often each process runs, next to one that it is compared with")
	only := flag.String("only", "", "a regular expression: only subjects and parts (together, connections, footprint) with such a name; writes no file")
	write := flag.String("write", "docs/benchmarks.md", "the file that gets the tables; \"\" for none")
	plugin := flag.String("plugin", "", "measure this binary (an absolute path) in place of ./cmd/detour-cni")
	flag.Parse()
	if os.Getenv(aloneKey) == "" {
		exitOn(again())
		return
	}
	b := &bench{pairs: *pairs, began: time.Now()}
	if *only != "" {
		re, err := regexp.Compile(*only)
		exitOn(err)
		b.only = re
		*write = ""
	}
	exitOn(b.run(*write, *plugin))
}

func exitOn(err error) {
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "bench:", err)
	os.Exit(1)
}

// aloneKey is set in the environment of a run that has its own namespaces.
const aloneKey = "DETOUR_BENCH_ALONE"

// again runs the same command with a network and a mount namespace of its own,
// so that neither pods nor mounts can be left on the machine, and with the right
// of way over what else runs here: all that it starts inherits both.
func again() error {
	if os.Geteuid() != 0 {
		return errors.New("needs root, to make network namespaces")
	}
	runtime.LockOSThread() // a priority is a thread's, and its child's
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, -20); err != nil {
		return fmt.Errorf("setpriority: %w", err)
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), aloneKey+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	return cmd.Run()
}

func (b *bench) run(write, plugin string) (err error) {
	debug.SetGCPercent(-1) // only between measurements: see round
	if b.dir, err = os.MkdirTemp("", "detour-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if b.node, err = newNode(b.dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.node.close()) }()
	b.progress("building")
	if b.binaries, err = build(b.dir, plugin); err != nil {
		return err
	}
	if b.rules, err = defaultRules(); err != nil {
		return err
	}
	if err := b.rules.onNode(); err != nil {
		return err
	}
	b.subjects = b.binaries.subjects(b.rules)
	load := loadAverage()
	tables, err := b.measure()
	if err != nil {
		return err
	}
	return b.report(tables, load, write)
}

// measure makes the tables, those of them that are wanted.
func (b *bench) measure() ([]table, error) {
	var alone []subject
	for _, s := range b.subjects {
		if b.wants(s.name) {
			alone = append(alone, s)
		}
	}
	adds := []subject{b.binaries.nothing()}
	for _, name := range []string{addDefault, addNFT, addLegacy} {
		adds = append(adds, named(b.subjects, name))
	}
	whole := append(adds, named(b.subjects, unmeshed), named(b.subjects, addLarge))
	var tables []table
	for _, part := range []struct {
		wanted bool
		make   func() (table, error)
	}{
		{len(alone) > 0, func() (table, error) { return b.pairsTable(alone) }},
		{b.wants("together"), func() (table, error) { return b.togetherTable(adds) }},
		{b.wants("connections"), b.connectionsTable},
		{b.wants("footprint"), func() (table, error) { return b.footprintTable(whole) }},
		{b.wants("footprint"), b.sizeTable},
	} {
		if !part.wanted {
			continue
		}
		t, err := part.make()
		if err != nil {
			return nil, err
		}
		fmt.Printf("\n%s\n", t.markdown())
		tables = append(tables, t)
	}
	return tables, nil
}

func (b *bench) wants(name string) bool { return b.only == nil || b.only.MatchString(name) }

// progress says what is done, and how long it took so far.
func (b *bench) progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%4.0f s  %s\n", time.Since(b.began).Seconds(), fmt.Sprintf(format, args...))
}
