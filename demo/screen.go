package main

import (
	"fmt"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// width is how many columns the demo writes for.
const width = 100

// screen prints, and counts what was promised and what was found.
type screen struct {
	out           *os.File
	colour        bool
	steps, checks int
	wrong         []string // promises that were not kept, each with its step
}

func newScreen(out *os.File) *screen {
	_, err := unix.IoctlGetTermios(int(out.Fd()), unix.TCGETS)
	return &screen{out: out, colour: err == nil && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

// The colours, as SGR parameters (ECMA-48).
const (
	bold, faint, red, green, cyan = "1", "2", "1;31", "32", "36"
)

func (s *screen) paint(sgr, text string) string {
	if !s.colour {
		return text
	}
	return "\x1b[" + sgr + "m" + text + "\x1b[0m"
}

func (s *screen) print(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

// step begins a step of the programme.
func (s *screen) step(title string) {
	s.steps++
	s.print("\n%s", s.paint(bold, fmt.Sprintf("%2d  %s", s.steps, title)))
}

// say prints prose.
func (s *screen) say(text string) {
	for _, line := range wrap(text, width-4) {
		s.print("    %s", line)
	}
}

// ran shows a command that was run.
func (s *screen) ran(command string) { s.print("    %s", s.paint(cyan, "$ "+command)) }

// saw shows what somebody saw or said.
func (s *screen) saw(who, format string, args ...any) {
	lines := wrap(fmt.Sprintf(format, args...), width-24)
	for i, line := range lines {
		if i > 0 {
			who = ""
		}
		s.print("      %s  %s", s.paint(faint, fmt.Sprintf("%-15s", who)), line)
	}
}

// check holds a promise against what was measured.
func (s *screen) check(kept bool, promise string, found ...any) bool {
	s.checks++
	if kept {
		s.print("    %s %s", s.paint(green, "✓"), promise)
		return true
	}
	s.wrong = append(s.wrong, fmt.Sprintf("%s (step %d)", promise, s.steps))
	s.print("    %s %s", s.paint(red, "✗ not so:"), promise)
	for _, f := range found {
		if text := fmt.Sprint(f); text != "" {
			s.saw("found", "%s", text)
		}
	}
	return false
}

// ending prints the last line, and gives the exit code.
func (s *screen) ending(err error, took time.Duration) int {
	s.print("")
	seconds := took.Round(100 * time.Millisecond)
	if err != nil {
		s.print("%s", s.paint(red, fmt.Sprintf("Stopped in step %d: %s", s.steps, strings.TrimSpace(err.Error()))))
	}
	for _, promise := range s.wrong {
		s.print("    %s %s", s.paint(red, "✗ not so:"), promise)
	}
	if len(s.wrong) > 0 {
		s.print("%s", s.paint(red, fmt.Sprintf("Not as promised: %d of %d things were otherwise (%d steps, %s).", len(s.wrong), s.checks, s.steps, seconds)))
	}
	if err != nil || len(s.wrong) > 0 {
		return 1
	}
	s.print("%s", s.paint(green, fmt.Sprintf("All as promised: %d things measured in %d steps, %s. Nothing is left behind but the picture.", s.checks, s.steps, seconds)))
	return 0
}

// wrap breaks text between words. Everything is one column wide here.
func wrap(text string, columns int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > columns:
			lines = append(lines, line)
			line = word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}
