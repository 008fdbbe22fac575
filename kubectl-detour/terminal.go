package main

import (
	"errors"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"golang.org/x/term"
	"k8s.io/client-go/tools/remotecommand"

	"github.com/detour-cni/detour/inspect/words"
)

// terminal is how the command's streams are joined to ours. Only --watch has a terminal of its own there:
// everything else is text for a pipe as well.
type terminal struct {
	tty   bool
	sizes chan remotecommand.TerminalSize
}

// terminalFor gives the terminal for a command; restore puts ours back as it was.
func terminalFor(command []string) (t terminal, restore func(), err error) {
	restore = func() {}
	if !slices.Contains(command, "--watch") && !slices.Contains(command, "-w") {
		return t, restore, nil
	}
	in, out := int(os.Stdin.Fd()), int(os.Stdout.Fd())
	if !term.IsTerminal(in) || !term.IsTerminal(out) {
		return t, restore, errors.New("--watch: want a terminal")
	}
	was, err := term.MakeRaw(in)
	if err != nil {
		return t, restore, err
	}
	t = terminal{tty: true, sizes: make(chan remotecommand.TerminalSize, 1)}
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	go func() {
		for {
			if w, h, err := term.GetSize(out); err == nil {
				t.sizes <- remotecommand.TerminalSize{Width: uint16(w), Height: uint16(h)}
			}
			<-resized
		}
	}()
	return t, func() { _ = term.Restore(in, was) }, nil // there is nothing else to do
}

// Next implements remotecommand.TerminalSizeQueue.
func (t terminal) Next() *remotecommand.TerminalSize {
	size := <-t.sizes
	return &size
}

// streams passes on an answer as text. A watch draws the screen with escapes: detour's own, which show a pod's words
// by the same rule.
func (t terminal) streams(out *words.Stdout, stderr io.Writer) remotecommand.StreamOptions {
	if !t.tty {
		return remotecommand.StreamOptions{Stdout: &words.Writer{To: out}, Stderr: stderr}
	}
	return remotecommand.StreamOptions{Stdin: os.Stdin, Stdout: out, Tty: true, TerminalSizeQueue: t}
}
