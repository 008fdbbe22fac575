package words_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/detour-cni/detour/inspect/words"
)

// TestAnArgumentNeverWritesALine: nor moves a cursor; what the format says is as it is, and verbs work on.
func TestAnArgumentNeverWritesALine(t *testing.T) {
	for _, tc := range []struct {
		format string
		arg    any
		want   string
	}{
		{"a\t%s\n", "x\x1b[2J\ny", "a\tx�[2J; y\n"},
		{"%s", errors.New("two\nlines\tand \u009b"), "two; lines�and �"},
		{"%s", "half \xe2\x82", "half ��"},
		{"%s", "\u202eturned", "�turned"},
		{"%5d|", 42, "   42|"},
		{"%q", "→ é 世界", `"→ é 世界"`},
		{"%v", []string{"a\r", "b"}, "[a� b]"},
		{"%[1]s %[1]s", "\x07", "� �"},
	} {
		var b strings.Builder
		words.Fprintf(&b, tc.format, tc.arg)
		if b.String() != tc.want {
			t.Errorf("%q of %q gives %q, want %q", tc.format, tc.arg, b.String(), tc.want)
		}
	}
}

// TestJSONKeepsTheBytes: escaped, what a terminal obeys is still what it was.
func TestJSONKeepsTheBytes(t *testing.T) {
	const odd = "\x1b[2J\n\t\x7f\u009b \u202e\U000e0001 é \U0001f980"
	text, err := json.MarshalIndent(map[string]string{"odd": odd}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	safe := words.JSON(string(text))
	if words.Text(safe) != safe || strings.Contains(safe, "\t") {
		t.Errorf("%q has what cannot be seen", safe)
	}
	var back map[string]string
	if err := json.Unmarshal([]byte(safe), &back); err != nil || back["odd"] != odd {
		t.Errorf("%q, %v, want %q", back["odd"], err, odd)
	}
}

// TestAWriterTakesRunesInParts: a pipe ends its pieces anywhere.
func TestAWriterTakesRunesInParts(t *testing.T) {
	const text = "→\x1b[1m é\u009b\U0001f980\n"
	for size := 1; size < len(text); size++ {
		var b strings.Builder
		w := &words.Writer{To: &b}
		for rest := text; rest != ""; {
			n := min(size, len(rest))
			if got, err := w.Write([]byte(rest[:n])); got != n || err != nil {
				t.Fatal(got, err)
			}
			rest = rest[n:]
		}
		if want := "→�[1m é�\U0001f980\n"; b.String() != want {
			t.Errorf("in pieces of %d: %q, want %q", size, b.String(), want)
		}
	}
}
