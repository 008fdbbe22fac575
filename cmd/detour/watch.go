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

	"github.com/detour-cni/detour/inspect/words"
)

// The alternate screen (xterm's DECSET 1049): what was on the terminal comes back with leave.
const (
	enter = "\x1b[?1049h\x1b[?25l"
	fresh = "\x1b[H\x1b[J"
	leave = "\x1b[?25h\x1b[?1049l"
)

// watch shows a pod again each second, with packets a second, until it is interrupted or the pod is gone.
func (l looker) watch(ctx context.Context, w io.Writer, t target, output string) (err error) {
	if _, err := io.WriteString(w, enter); err != nil {
		return exit{exitUnknown, err}
	}
	defer io.WriteString(w, leave) //nolint:errcheck // the terminal is gone
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
		if _, err := io.WriteString(w, fresh+inspect.Table(r, output == "wide")); err != nil {
			return exit{exitUnknown, err}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// checkWatch says why nothing can be watched.
func checkWatch(w io.Writer, output string, all bool) error {
	out, ok := w.(*words.Stdout)
	switch {
	case all:
		return errors.New("--all and --watch: want one of them")
	case output != "table" && output != "wide":
		return fmt.Errorf("--watch: want -o table or wide, not %s", output)
	case !ok || !isTerminal(out.File):
		return errors.New("--watch: want a terminal (for programs: -o json, again and again)")
	}
	return nil
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
