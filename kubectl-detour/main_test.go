package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/detour-cni/detour/inspect/words"
)

// called runs the program with a file for its stdout, which it gives.
func called(t *testing.T, args ...string) (code int, out, said string) {
	t.Helper()
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none")) // nothing is to be asked
	f, err := os.Create(filepath.Join(t.TempDir(), "stdout"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var stderr bytes.Buffer
	code = run(context.Background(), &words.Stdout{File: f}, &words.Writer{To: &stderr}, args)
	text, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return code, string(text), stderr.String()
}

// TestAWrongWordIsAUsageErrorInEveryCommand: those of the tree, so that a new one is asked as well.
func TestAWrongWordIsAUsageErrorInEveryCommand(t *testing.T) {
	for _, c := range append(root(nil, io.Discard).Commands(), &cobra.Command{Use: ""}) {
		args := append(strings.Fields(c.Name()), "nosuch", "word")
		if code, out, stderr := called(t, args...); code != exitUsage || out != "" || !strings.Contains(stderr, `"nosuch"`) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("kubectl detour %q: exit code %d, stdout %q, stderr %q; want %d and a line that names the word", args, code, out, stderr, exitUsage)
		}
	}
	for line, want := range map[string]string{
		"inspct cart":  `"inspct": no command of kubectl detour (did you mean inspect?)`,
		"help doctr":   `"doctr": no command of kubectl detour (did you mean doctor?)`,
		"completion":   `"completion": no command of kubectl detour (kubectl detour --help lists them)`,
		"--nosuch":     "unknown flag: --nosuch",
		"help --watch": "unknown flag: --watch",
		"inspect":      "of which pod? want kubectl detour inspect POD",
		"doctor":       "of which node? want kubectl detour doctor node/NAME, or a pod that is on it",
	} {
		if code, _, stderr := called(t, strings.Fields(line)...); code != exitUsage || stderr != "kubectl detour: "+want+"\n" {
			t.Errorf("kubectl detour %s: exit code %d, %q, want %q", line, code, stderr, want)
		}
	}
}

// TestHelpIsNoError: asked for, or for want of a command.
func TestHelpIsNoError(t *testing.T) {
	if _, out, _ := called(t, "--help"); !strings.Contains(out, "\n  kubectl detour [flags]\n") {
		t.Errorf("the usage names another program:\n%s", out)
	}
	for _, line := range []string{"", "--help", "help", "help inspect", "inspect --help", "doctor -h"} {
		if code, out, stderr := called(t, strings.Fields(line)...); code != 0 || !strings.Contains(out, "Usage:") || stderr != "" {
			t.Errorf("kubectl detour %s: exit code %d, stdout %q, stderr %q", line, code, out, stderr)
		}
	}
}

// TestWhatCannotBeWrittenIsSaid: of help, and of an answer, whose stream says nothing of it.
func TestWhatCannotBeWrittenIsSaid(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err) // not on Linux
	}
	defer full.Close()
	for _, line := range []string{"", "help", "inspect --help", "--version"} {
		var stderr bytes.Buffer
		if code := run(context.Background(), &words.Stdout{File: full}, &stderr, strings.Fields(line)); code != exitUnknown || stderr.String() != "kubectl detour: write /dev/full: no space left on device\n" {
			t.Errorf("kubectl detour %s: exit code %d, %q", line, code, &stderr)
		}
	}
	out := &words.Stdout{File: full}
	_, _ = io.WriteString(terminal{}.streams(out, io.Discard).Stdout, "an answer\n") // as an exec's stream does
	if out.Err == nil {
		t.Error("an answer was lost, and nobody knows")
	}
}

// TestAnAnswerIsPassedOnAsText: in pieces that end anywhere, with nothing that a terminal obeys.
func TestAnAnswerIsPassedOnAsText(t *testing.T) {
	const text, want = "pod\t→ \x1b[31m\u009b é\U0001f980\r\n", "pod\t→ �[31m� é\U0001f980�\n"
	for size := 1; size <= len(text); size++ {
		f, err := os.Create(filepath.Join(t.TempDir(), "stdout"))
		if err != nil {
			t.Fatal(err)
		}
		w := terminal{}.streams(&words.Stdout{File: f}, io.Discard).Stdout
		for rest := text; rest != ""; {
			n := min(size, len(rest))
			if _, err := io.WriteString(w, rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		got, err := os.ReadFile(f.Name())
		if err != nil || string(got) != want {
			t.Errorf("in pieces of %d: %q, %v, want %q", size, got, err, want)
		}
		_ = f.Close() // it was read
	}
}
