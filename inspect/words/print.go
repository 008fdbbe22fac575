package words

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A pod's author names processes, chains, sets and interfaces, and writes comments and annotations.
// Who reads them sits at a terminal of the node, which obeys escapes (a title, a cleared screen, a
// forged "nothing wrong found"). Values stay as they are up to here, so that JSON has the true bytes.

// Fprintf is fmt.Fprintf, with every argument on one line and nothing in it that a terminal obeys: what is
// not to be seen is U+FFFD, and a line's end "; ", since an error may have several causes. Only the format ends
// lines and cells. An error is w's own to keep.
func Fprintf(w io.Writer, format string, args ...any) {
	for i := range args {
		args[i] = oneLine{args[i]}
	}
	fmt.Fprintf(w, format, args...)
}

// oneLine is a value as its verb shows it, without what cannot be seen.
type oneLine struct{ of any }

// Format implements fmt.Formatter.
func (l oneLine) Format(s fmt.State, verb rune) {
	text := fmt.Sprintf(fmt.FormatString(s, verb), l.of)
	text = strings.Map(func(r rune) rune { return seen(r, "\n") }, text)
	_, _ = io.WriteString(s, strings.ReplaceAll(text, "\n", "; ")) // into fmt's own buffer
}

// Text is a whole text of ours, with its lines and tabs, and nothing else that cannot be seen: nothing that a
// terminal obeys or XML refuses.
func Text(s string) string {
	return strings.Map(func(r rune) rune { return seen(r, "\n\t") }, s)
}

func seen(r rune, besides string) rune {
	if unicode.IsPrint(r) || strings.ContainsRune(besides, r) {
		return r
	}
	return utf8.RuneError
}

// JSON escapes in a JSON document what encoding/json leaves as it is and a terminal may obey: DEL, the controls
// of U+0080 to U+009F, and those that turn the direction of text. It is the same document.
func JSON(document string) string {
	var b strings.Builder
	for _, r := range document {
		switch {
		case unicode.IsPrint(r) || r == '\n':
			b.WriteRune(r)
		case r > 0xFFFF:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xD800+r>>10, 0xDC00+r&0x3FF)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// Writer passes on text, as Text shows it. Runes may come in parts.
type Writer struct {
	To   io.Writer
	part []byte
}

// Write implements io.Writer.
func (w *Writer) Write(p []byte) (int, error) {
	all := append(w.part, p...)
	whole := len(all)
	for i := max(0, whole-utf8.UTFMax+1); i < whole; i++ {
		if utf8.RuneStart(all[i]) && !utf8.FullRune(all[i:]) {
			whole = i
		}
	}
	w.part = append([]byte(nil), all[whole:]...)
	if _, err := io.WriteString(w.To, Text(string(all[:whole]))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Stdout keeps the first error of a write, so that nobody has to look for it: a program whose answer did not
// arrive must not end as if it had said it.
type Stdout struct {
	File *os.File
	Err  error
}

// Write implements io.Writer.
func (s *Stdout) Write(p []byte) (int, error) {
	if s.Err != nil {
		return 0, s.Err
	}
	var n int
	n, s.Err = s.File.Write(p)
	return n, s.Err
}
