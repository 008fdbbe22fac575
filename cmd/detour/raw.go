package main

import (
	"io"

	"github.com/detour-cni/detour/inspect/words"
)

// raw is for what is no text: an archive, and a watch, whose own escapes draw the screen.
func raw(w io.Writer) io.Writer {
	if text, ok := w.(*words.Writer); ok {
		return text.To
	}
	return w
}
