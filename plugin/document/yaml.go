package document

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// ParseYAML reads a YAML document of the kind that the package comment describes.
func ParseYAML(text string) (Node, error) {
	if len(text) > MaxSize {
		return Node{}, fmt.Errorf("not YAML: %w", errSize)
	}
	y, err := newReader(text)
	if err == nil {
		var n Node
		if n, err = y.document(); err == nil {
			return n, nil
		}
		y.at = min(y.at, len(y.lines)-1)
	}
	return Node{}, fmt.Errorf("not YAML: line %d: %w", y.at+1, err)
}

// line is one line of a document: where its first character stands, and the
// text from there on, without the spaces at its end.
type line struct {
	indent int
	text   string
}

// reader goes through a document line by line, once.
type reader struct {
	lines []line
	at    int
}

// newReader splits a document into lines. With an error it stands at the line
// that is meant.
func newReader(text string) (*reader, error) {
	y := &reader{}
	for raw := range strings.SplitSeq(text, "\n") {
		raw = strings.TrimSuffix(raw, "\r")
		if err := checkCharacters(raw); err != nil {
			y.at = len(y.lines)
			return y, err
		}
		trimmed := strings.TrimLeft(raw, " ")
		y.lines = append(y.lines, line{len(raw) - len(trimmed), strings.TrimRight(trimmed, " ")})
	}
	return y, nil
}

func checkCharacters(line string) error {
	if !utf8.ValidString(line) {
		return errors.New("not UTF-8")
	}
	i := strings.IndexFunc(line, isOdd)
	if i < 0 {
		return nil
	}
	c, _ := utf8.DecodeRuneInString(line[i:])
	if c == '\t' {
		return errors.New("a tab (want spaces)")
	}
	return fmt.Errorf("character %U (want text)", c)
}

// isOdd finds what must not stand in a line: tabs and other control characters,
// the line breaks that only some readers take for such, byte order marks.
func isOdd(c rune) bool {
	return c < ' ' || c >= 0x7f && c < 0xa0 || c == '\u2028' || c == '\u2029' || c == '\ufeff' || c >= 0xfffe
}

func (y *reader) document() (Node, error) {
	y.skip()
	if y.more() && y.lines[y.at] == (line{0, "---"}) {
		y.at++
		y.skip()
	}
	if !y.more() {
		return Node{}, nil
	}
	n, err := y.block(y.lines[y.at].indent, 0)
	if err != nil {
		return n, err
	}
	y.skip()
	if y.more() && y.lines[y.at] == (line{0, "..."}) {
		y.at++
		y.skip()
	}
	if y.more() {
		return n, errors.New("not understood here")
	}
	return n, nil
}

func (y *reader) more() bool { return y.at < len(y.lines) }

// skip passes empty lines and those that are comment only.
func (y *reader) skip() {
	for y.more() && (y.lines[y.at].text == "" || y.lines[y.at].text[0] == '#') {
		y.at++
	}
}

// block reads the node whose first line is the current one.
func (y *reader) block(indent, depth int) (Node, error) {
	if depth > MaxDepth {
		return Node{}, errDepth
	}
	l := y.lines[y.at]
	if isMarker(l) {
		return Node{}, errors.New("a second document, or an end of this one")
	}
	if _, ok := item(l.text); ok {
		return y.list(indent, depth)
	}
	_, _, ok, err := key(l.text)
	if err != nil {
		return Node{}, err
	}
	if ok {
		return y.mapping(indent, depth)
	}
	return y.value(l.text, indent-1, depth)
}

func isMarker(l line) bool {
	return l.indent == 0 && (strings.HasPrefix(l.text, "---") || strings.HasPrefix(l.text, "...") || strings.HasPrefix(l.text, "%"))
}

// item gives what follows the dash of a list's item.
func item(text string) (string, bool) {
	if text == "-" {
		return "", true
	}
	return strings.CutPrefix(text, "- ")
}

func (y *reader) list(indent, depth int) (Node, error) {
	n := Node{Kind: List}
	for ; y.more() && y.lines[y.at].indent == indent; y.skip() {
		rest, ok := item(y.lines[y.at].text)
		if !ok {
			break
		}
		trimmed := strings.TrimLeft(rest, " ")
		var value Node
		var err error
		if trimmed == "" || trimmed[0] == '#' {
			value, err = y.below(indent, depth, false)
		} else {
			// "- a: 1" begins a mapping at the column of its first key.
			y.lines[y.at] = line{indent + 1 + len(rest) - len(trimmed) + 1, trimmed}
			value, err = y.block(y.lines[y.at].indent, depth+1)
		}
		if err != nil {
			return n, err
		}
		n.Items = append(n.Items, value)
	}
	return n, y.outdented(indent)
}

func (y *reader) mapping(indent, depth int) (Node, error) {
	b := builder{node: Node{Kind: Map}}
	for ; y.more() && y.lines[y.at].indent == indent && !isMarker(y.lines[y.at]); y.skip() {
		name, rest, ok, err := key(y.lines[y.at].text)
		if err != nil {
			return b.node, err
		}
		if !ok {
			return b.node, errors.New("no key (want key: value)")
		}
		var value Node
		if rest == "" || rest[0] == '#' {
			value, err = y.below(indent, depth, true)
		} else {
			value, err = y.value(rest, indent, depth)
		}
		if err != nil {
			return b.node, err
		}
		if err := b.add(name, value); err != nil {
			return b.node, err
		}
	}
	return b.node, y.outdented(indent)
}

// outdented refuses a line that is indented further than its collection.
func (y *reader) outdented(indent int) error {
	if y.more() && y.lines[y.at].indent > indent {
		return errors.New("indented further than what it belongs to")
	}
	return nil
}

// below reads what stands under a key or a dash that has nothing behind it; a
// key's list may stand at the key's own column.
func (y *reader) below(indent, depth int, ofKey bool) (Node, error) {
	y.at++
	y.skip()
	if !y.more() {
		return Node{}, nil
	}
	l := y.lines[y.at]
	if l.indent > indent {
		return y.block(l.indent, depth+1)
	}
	if _, ok := item(l.text); ok && ofKey && l.indent == indent {
		return y.list(indent, depth+1)
	}
	return Node{}, nil
}
