package main

import (
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"
)

// stdout keeps the first error of a write: the stream of an exec drops it.
type stdout struct {
	file *os.File
	err  error
}

// Write implements io.Writer.
func (s *stdout) Write(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	var n int
	n, s.err = s.file.Write(p)
	return n, s.err
}

// printable leaves of a text its lines and tabs, and nothing else that a terminal obeys: a node's answer and an
// API server's message tell of pods, which name themselves. It is detour's words.Text, in a module that has none
// of detour: what answers may be another version.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) || r == '\n' || r == '\t' {
			return r
		}
		return utf8.RuneError
	}, text)
}

// plain passes on text as printable. Runes may come in parts.
type plain struct {
	to   io.Writer
	part []byte
}

// Write implements io.Writer.
func (w *plain) Write(p []byte) (int, error) {
	all := append(w.part, p...)
	whole := len(all)
	for i := max(0, whole-utf8.UTFMax+1); i < whole; i++ {
		if utf8.RuneStart(all[i]) && !utf8.FullRune(all[i:]) {
			whole = i
		}
	}
	w.part = append([]byte(nil), all[whole:]...)
	if _, err := io.WriteString(w.to, printable(string(all[:whole]))); err != nil {
		return 0, err
	}
	return len(p), nil
}
