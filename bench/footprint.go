package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// traced is what strace saw of one call.
type traced struct {
	programs []string // what was executed besides the plugin itself
	sockets  []string // address families of sockets other than netlink
}

var (
	execLine   = regexp.MustCompile(`execve\("([^"]+)".*(?:= 0|<unfinished \.\.\.>)$`)
	socketLine = regexp.MustCompile(`socket(?:pair)?\((AF_\w+)`)
)

// trace runs a call under strace. A child process that executes nothing would
// show as a clone without CLONE_THREAD.
func (b *bench) trace(c call) (traced, error) {
	log := filepath.Join(b.dir, "strace")
	cmd, err := c.prepare("strace", "-f", "-qq", "-o", log, "-e", "trace=execve,socket,socketpair,fork,vfork,clone,clone3")
	if err != nil {
		return traced{}, err
	}
	if _, err := cmd.measure(); err != nil {
		return traced{}, err
	}
	f, err := os.Open(log)
	if err != nil {
		return traced{}, err
	}
	defer f.Close()
	var t traced
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		t.read(lines.Text())
	}
	if len(t.programs) == 0 {
		return t, fmt.Errorf("strace %s: saw no execve", c.binary)
	}
	t.programs = t.programs[1:] // the plugin
	return t, lines.Err()
}

func (t *traced) read(line string) {
	if m := execLine.FindStringSubmatch(line); m != nil {
		t.programs = append(t.programs, filepath.Base(m[1]))
	}
	if m := socketLine.FindStringSubmatch(line); m != nil && m[1] != "AF_NETLINK" {
		t.sockets = append(t.sockets, m[1])
	}
}

// footprintTable says what one ADD leaves on the node besides its time.
func (b *bench) footprintTable(subjects []subject) (table, error) {
	t := table{
		title:  "Footprint of one process",
		header: []string{"what", "child processes", "sockets, not netlink", "RSS", "limit", ""},
		note: "Processes and sockets as strace saw them, of the plugin and its children. RSS is the plugin's own, VmHWM\n" +
			"at exit, the greatest of 5; MB are 1,000,000 bytes.",
	}
	for _, s := range subjects {
		row, err := b.footprintOf(s)
		if err != nil {
			return t, fmt.Errorf("footprint of %s: %w", s.name, err)
		}
		t.rows = append(t.rows, row)
		b.progress("footprint: %s", s.name)
	}
	return t, nil
}

func (b *bench) footprintOf(s subject) ([]string, error) {
	const times = 5
	pods, err := b.node.makePods(times + 1)
	if err != nil {
		return nil, err
	}
	seen, err := b.trace(s.in(pods[times]))
	if err != nil {
		return nil, err
	}
	var peak int64
	for _, p := range pods[:times] {
		bytes, err := peakMemory(s.in(p))
		if err != nil {
			return nil, err
		}
		peak = max(peak, bytes)
	}
	return seen.row(s, peak), b.node.release(pods)
}

// row judges all three against what the subject is allowed.
func (t traced) row(s subject, bytes int64) []string {
	row := []string{s.label, listed(t.programs), listed(t.sockets), megabytes(bytes), "", ""}
	switch s.name {
	case addDefault, unmeshed:
		row[4], row[5] = "0, 0, <= 5 MB", judge(len(t.programs) == 0 && len(t.sockets) == 0 && bytes <= 5e6)
	case addLarge:
		row[4], row[5] = "0, 0", judge(len(t.programs) == 0 && len(t.sockets) == 0)
	case addNFT, addLegacy:
		restores := 0
		for _, p := range t.programs {
			if strings.Contains(p, "restore") {
				restores++
			}
		}
		row[4], row[5] = "1 restore a family", judge(restores <= 2)
	}
	return row
}

// listed gives how many there are, and which.
func listed(of []string) string {
	if len(of) == 0 {
		return "0"
	}
	return fmt.Sprintf("%d (%s)", len(of), strings.Join(of, ", "))
}

// sizeTable says how large the binaries are.
func (b *bench) sizeTable() (table, error) {
	t := table{
		title:  "Size of the binary, static and stripped",
		header: []string{"binary", "size", "limit", ""},
	}
	for _, binary := range []string{b.binaries.doNothing, b.binaries.detour} {
		info, err := os.Stat(binary)
		if err != nil {
			return t, err
		}
		row := []string{filepath.Base(binary), megabytes(info.Size()), "", ""}
		if binary == b.binaries.detour {
			row[2], row[3] = "<= 4 MB", judge(info.Size() <= 4e6)
		}
		t.rows = append(t.rows, row)
	}
	return t, nil
}

func megabytes(bytes int64) string { return fmt.Sprintf("%.2f MB", float64(bytes)/1e6) }

func judge(ok bool) string {
	if ok {
		return met
	}
	return missed
}
