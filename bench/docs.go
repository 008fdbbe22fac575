package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// report prints the last word, and writes the tables where they are wanted.
func (b *bench) report(tables []table, load, write string) error {
	mets, misses := verdicts(tables)
	fmt.Printf("%d limits met, %d missed, in %.0f s\n", mets, misses, time.Since(b.began).Seconds())
	if write == "" {
		return nil
	}
	machine, err := machineLine()
	if err != nil {
		return err
	}
	var doc strings.Builder
	doc.WriteString(preface)
	fmt.Fprintf(&doc, "Measured on %s: %s; load average %s before, %s after.\n", time.Now().UTC().Format(time.DateOnly), machine, load, loadAverage())
	fmt.Fprintf(&doc, "%d pairs a row, %d limits met, %d missed.\n", b.pairs, mets, misses)
	for _, t := range tables {
		doc.WriteString("\n" + t.markdown())
	}
	if err := os.MkdirAll(filepath.Dir(write), 0o755); err != nil {
		return err
	}
	return os.WriteFile(write, []byte(doc.String()), 0o644)
}

// preface says how the numbers came about.
const preface = `# What an ADD costs

Written by ` + "`make bench`" + `; do not edit. Repeat it as root: ` + "`make bench`" + `, or for a part of it
` + "`go run ./bench -only 'add-nftables|unmeshed' -pairs 200`" + ` (names: bench/subjects.go; ` + "`together`, `connections`, `footprint`" + `).

Each row is whole processes, from exec to exit, called as libcni calls them, each in a fresh network namespace with a
veth pair and an address of each family. Beside every one of them, in random order, runs one of what it is compared with: the
*do-nothing plugin* (bench/donothing: skel parses, ns enters the namespace once, prevResult is printed), built as the plugin is.
A ratio is median over median; its interval holds it in 95 of 100 resamples of the pairs. "Within the noise" stands
where that interval lies on both sides of the limit.

**Machines are noisy.** The second row runs the do-nothing plugin against itself: its interval is how much of any ratio here
is noise. Where that is wider than a limit's distance from 1, or the load average below is near the number of CPUs, repeat
the run on a quiet machine with more pairs before believing a verdict; the ratio of the CPU column moves less.
What it is of a whole pod's start is in [sandbox-start](sandbox-start.md).
The same rules by other means (bench/byhand) come from the same compiler, so only the way into the kernel differs.

`

func loadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Fields(string(b))[0]
}

// machineLine says what this was measured on.
func machineLine() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", fmt.Errorf("uname: %w", err)
	}
	cpu := "unknown CPU"
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			cpu = strings.TrimSpace(value)
			break
		}
	}
	return fmt.Sprintf("%d x %s, Linux %s, %s", runtime.NumCPU(), cpu, unix.ByteSliceToString(u.Release[:]), runtime.Version()), nil
}
