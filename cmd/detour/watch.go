package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/inspect"
	"github.com/detour-cni/detour/redirect/live"
)

// The alternate screen (xterm's DECSET 1049): what was on the terminal comes back with leave.
const (
	enter = "\x1b[?1049h\x1b[?25l"
	fresh = "\x1b[H\x1b[J"
	leave = "\x1b[?25h\x1b[?1049l"
)

// watch shows a pod again each second, with packets a second, until it is interrupted or the pod is gone.
func (l looker) watch(ctx context.Context, w io.Writer, t target, output string) (err error) {
	fmt.Fprint(w, enter)
	defer fmt.Fprint(w, leave)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var (
		before *live.Rules
		at     time.Time
	)
	for {
		reports, err := l.reports([]target{t})
		if err != nil {
			return exit{exitUnknown, err}
		}
		r, now := reports[0], time.Now()
		r.Before, r.Elapsed = before, now.Sub(at)
		before, at = &r.Seen.Rules, now
		fmt.Fprint(w, fresh, inspect.Table(r, output == "wide"))
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// checkWatch says why nothing can be watched.
func checkWatch(w io.Writer, output string, all bool) error {
	f, ok := w.(*os.File)
	switch {
	case all:
		return errors.New("--all and --watch: want one of them")
	case output != "table" && output != "wide":
		return fmt.Errorf("--watch: want -o table or wide, not %s", output)
	case !ok || !isTerminal(f):
		return errors.New("--watch: want a terminal (for programs: -o json, again and again)")
	}
	return nil
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
