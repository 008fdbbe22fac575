package main

import (
	"io"
	"os"

	"github.com/detour-cni/detour/inspect/words"
)

// stdout keeps the first error of a write, so that no command has to look for it: doctor whose answer did not
// arrive must not end as if it had said it.
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

// raw is for what is no text: an archive, and a watch, whose own escapes draw the screen.
func raw(w io.Writer) io.Writer {
	if text, ok := w.(*words.Writer); ok {
		return text.To
	}
	return w
}
