package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/detour-cni/detour/inspect/words"
)

// every gives each command of the program, with cobra's own, by its words.
func every(c *cobra.Command) (all []*cobra.Command) {
	all = append(all, c)
	for _, sub := range c.Commands() {
		all = append(all, every(sub)...)
	}
	return all
}

func wordsOf(c *cobra.Command) []string { return strings.Fields(c.CommandPath())[1:] }

// TestAWrongWordIsAUsageErrorInEveryCommand: exit code 2, the word on stderr, nothing on stdout. The commands are
// those of the tree, so that a new one is asked as well.
func TestAWrongWordIsAUsageErrorInEveryCommand(t *testing.T) {
	all := every(root(io.Discard))
	if len(all) < 20 {
		t.Fatalf("%d commands", len(all))
	}
	for _, c := range all {
		calls := [][]string{{"--no-such-flag"}, {"nosuch", "word", "at all"}}
		if c.Name() == "leave-cluster" { // it takes as many as there are
			calls = [][]string{{"--no-such-flag"}, nil}
		}
		for _, args := range calls {
			args = append(wordsOf(c), args...)
			code, out, stderr := called(t, args...)
			if code != exitUsage || out != "" || strings.Count(stderr, "\n") != 1 {
				t.Errorf("detour %q: exit code %d, stdout %q, stderr %q; want %d and one line", args, code, out, stderr, exitUsage)
			}
			if last := args[len(args)-1]; strings.HasPrefix(last, "--no") && !strings.Contains(stderr, last) ||
				last == "at all" && !strings.Contains(stderr, `"nosuch"`) {
				t.Errorf("detour %q: %q does not name the word", args, stderr)
			}
		}
	}
}

// TestTheNearestCommandIsNamed: one letter is soon wrong.
func TestTheNearestCommandIsNamed(t *testing.T) {
	for line, want := range map[string]string{
		"inspct shop/cart-0": `"inspct": no command of detour (did you mean inspect?)`,
		"help inspct":        `"inspct": no command of detour (did you mean inspect?)`,
		"example ap":         `"ap": no command of detour example (did you mean app?)`,
		"completion fisch":   `"fisch": no command of detour completion (did you mean fish?)`,
		"completion ksh93":   `"ksh93": no command of detour completion (detour completion --help lists them)`,
	} {
		if code, _, stderr := called(t, strings.Fields(line)...); code != exitUsage || stderr != "detour: "+want+"\n" {
			t.Errorf("detour %s: exit code %d, %q, want %q", line, code, stderr, want)
		}
	}
}

// TestHelpIsNoError: asked for, or for want of a command.
func TestHelpIsNoError(t *testing.T) {
	for _, c := range every(root(io.Discard)) {
		calls := [][]string{append(wordsOf(c), "--help"), append([]string{"help"}, wordsOf(c)...)}
		if c.HasSubCommands() {
			calls = append(calls, wordsOf(c))
		}
		for _, args := range calls {
			if code, out, stderr := called(t, args...); code != 0 || !strings.Contains(out, "Usage:") || stderr != "" {
				t.Errorf("detour %q: exit code %d, stdout %q, stderr %q", args, code, out, stderr)
			}
		}
	}
}

// TestWhatCannotBeWrittenIsSaid: every command writes to the one stdout that keeps errors.
func TestWhatCannotBeWrittenIsSaid(t *testing.T) {
	for _, c := range every(root(io.Discard)) {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		var stderr bytes.Buffer
		args := append(wordsOf(c), "--help")
		code := run(context.Background(), &words.Stdout{File: full}, &stderr, args)
		if code != exitUnknown || stderr.String() != "detour: write /dev/full: no space left on device\n" {
			t.Errorf("detour %q: exit code %d, stderr %q", args, code, &stderr)
		}
		_ = full.Close() // it holds nothing
	}
}

// TestASymptomIsOneLineOfDoctors: whatever a pod calls itself.
func TestASymptomIsOneLineOfDoctors(t *testing.T) {
	var b strings.Builder
	odd := symptom{stateWrong, "shop/cart\x1b[2J\nok nothing is wrong", "look\r\u009b1m"}
	if err := tell(&b, []symptom{odd}, "text"); err != nil || b.String() != "!! shop/cart�[2J; ok nothing is wrong\n   look��1m\n" {
		t.Errorf("%v, %q", err, b.String())
	}
}

// TestAnErrorObeysNoPod: its lines are its causes', its escapes are nobody's.
func TestAnErrorObeysNoPod(t *testing.T) {
	if code, _, stderr := called(t, "inspect", "shop/c\x1b[2J"); code != exitUnknown || words.Text(stderr) != stderr {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}

// called runs the program in this process, with a file for its stdout.
func called(t *testing.T, args ...string) (code int, out, said string) {
	t.Helper()
	t.Setenv("DETOUR_CRI_SOCKET", "none") // this machine may have a runtime
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	text := make(chan []byte)
	go func() {
		all, err := io.ReadAll(r)
		if err != nil && !errors.Is(err, os.ErrClosed) {
			all = []byte(err.Error())
		}
		text <- all
	}()
	var stderr bytes.Buffer
	code = run(context.Background(), &words.Stdout{File: w}, &stderr, args)
	_ = w.Close() // a pipe's
	return code, string(<-text), stderr.String()
}
