package document

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// flow reads what stands in brackets or quotes, which may go over several lines.
// Without a reader it is one line only.
type flow struct {
	y      *reader
	text   string
	at     int
	parent int // lines after the first are indented further than this
}

// peek gives the current byte, 0 at the end of the line.
func (f *flow) peek() byte {
	if f.at < len(f.text) {
		return f.text[f.at]
	}
	return 0
}

var errOpen = errors.New("a bracket or a quote that is never closed")

// next goes to the next line of the document.
func (f *flow) next() error {
	if f.y == nil {
		return errOpen
	}
	f.y.at++
	if !f.y.more() {
		return errOpen
	}
	l := f.y.lines[f.y.at]
	if l.text != "" && (l.indent <= f.parent || isMarker(l)) {
		return errOpen
	}
	f.text, f.at = l.text, 0
	return nil
}

// space passes spaces, comments and line ends.
func (f *flow) space() error {
	for {
		for f.peek() == ' ' {
			f.at++
		}
		if c := f.peek(); c == '#' && (f.at == 0 || f.text[f.at-1] == ' ') {
			f.at = len(f.text)
		} else if c != 0 {
			return nil
		}
		if err := f.next(); err != nil {
			return err
		}
	}
}

// end wants nothing but a comment behind the value, and goes to the next line.
func (f *flow) end() error {
	rest := f.text[f.at:]
	trimmed := strings.TrimLeft(rest, " ")
	if trimmed != "" && (trimmed[0] != '#' || rest == trimmed) {
		return errors.New("more text behind a closed bracket or quote")
	}
	f.y.at++
	return nil
}

func (f *flow) node(depth int) (Node, error) {
	if depth > MaxDepth {
		return Node{}, errDepth
	}
	switch f.peek() {
	case '{':
		return f.collection(Map, '}', depth)
	case '[':
		return f.collection(List, ']', depth)
	case '"', '\'':
		return f.quoted()
	}
	return f.plain()
}

func (f *flow) collection(kind Kind, closing byte, depth int) (Node, error) {
	b := builder{node: Node{Kind: kind}}
	f.at++
	for {
		if err := f.space(); err != nil {
			return b.node, err
		}
		if f.peek() == closing {
			f.at++
			return b.node, nil
		}
		if err := f.entry(&b, depth); err != nil {
			return b.node, err
		}
		if err := f.space(); err != nil {
			return b.node, err
		}
		switch f.peek() {
		case ',':
			f.at++
		case closing:
		default:
			return b.node, errors.New("want a comma or the closing bracket")
		}
	}
}

func (f *flow) entry(b *builder, depth int) error {
	start, line := f.at, f.y.at
	n, err := f.node(depth + 1)
	if err != nil {
		return err
	}
	if b.node.Kind == List {
		b.node.Items = append(b.node.Items, n)
		return nil
	}
	if n.Kind != Scalar {
		return errors.New("a key that is no text")
	}
	for f.peek() == ' ' {
		f.at++
	}
	if f.peek() != ':' {
		return errors.New("no colon behind a key")
	}
	if f.y.at > line || f.at-start > maxKey {
		return errKey
	}
	f.at++
	if c := f.peek(); !n.Quoted && c != 0 && c != ' ' {
		return errors.New("no space behind a colon")
	}
	if err := f.space(); err != nil {
		return err
	}
	var value Node
	if c := f.peek(); c != ',' && c != '}' {
		if value, err = f.node(depth + 1); err != nil {
			return err
		}
	}
	return b.add(n.Text, value)
}

// plain reads an unquoted scalar inside brackets, of one line.
func (f *flow) plain() (Node, error) {
	if err := startsPlain(f.text[f.at:]); err != nil {
		return Node{}, err
	}
	start := f.at
	for ; f.at < len(f.text); f.at++ {
		c := f.text[f.at]
		if strings.IndexByte(",[]{}", c) >= 0 || c == '#' && f.at > start && f.text[f.at-1] == ' ' {
			break
		}
		if c == '?' { // libraries differ
			return Node{}, errors.New("a question mark in brackets (want the value in quotes)")
		}
		if c == ':' && (f.at+1 == len(f.text) || strings.IndexByte(" ,[]{}", f.text[f.at+1]) >= 0) {
			break
		}
	}
	text := strings.TrimRight(f.text[start:f.at], " ")
	if f.at == len(f.text) && f.y != nil && f.y.at+1 < len(f.y.lines) {
		if l := f.y.lines[f.y.at+1].text; l == "" || strings.IndexByte(",]}#", l[0]) < 0 {
			return Node{}, errors.New("an unquoted value over several lines in brackets (want it in quotes)")
		}
	}
	return plainNode(text), nil
}

// quoted reads a scalar in quotes. A line end inside becomes one space.
func (f *flow) quoted() (Node, error) {
	quote := f.peek()
	var b strings.Builder
	for f.at++; ; {
		c := f.peek()
		switch {
		case f.at >= len(f.text):
			if err := f.fold(&b); err != nil {
				return Node{}, err
			}
		case c == quote && quote == '\'' && f.at+1 < len(f.text) && f.text[f.at+1] == '\'':
			b.WriteByte('\'')
			f.at += 2
		case c == quote:
			f.at++
			return Node{Kind: Scalar, Text: b.String(), Quoted: true}, nil
		case c == '\\' && quote == '"':
			if err := f.escape(&b); err != nil {
				return Node{}, err
			}
		default:
			b.WriteByte(c)
			f.at++
		}
	}
}

func (f *flow) fold(b *strings.Builder) error {
	if strings.HasSuffix(b.String(), " ") || strings.HasSuffix(b.String(), "\t") { // "\t" of an escape
		return errors.New("a space before a line end in quotes")
	}
	if err := f.next(); err != nil {
		return err
	}
	if f.text == "" {
		return errors.New("an empty line in quotes")
	}
	b.WriteByte(' ')
	return nil
}

// simpleEscapes are those of YAML that stand for one character. JSON's "\/" is not
// among them: YAML 1.1, and so the Go library, refuses it.
const simpleEscapes = "\"\"\\\\n\nt\tr\rb\bf\f  "

func (f *flow) escape(b *strings.Builder) error {
	if f.at+1 >= len(f.text) {
		return errors.New("a backslash at the end of a line")
	}
	c := f.text[f.at+1]
	for i := 0; i < len(simpleEscapes); i += 2 {
		if simpleEscapes[i] == c {
			b.WriteByte(simpleEscapes[i+1])
			f.at += 2
			return nil
		}
	}
	digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]
	r, ok := f.hex(f.at+2, digits)
	if digits == 0 || !ok {
		return errors.New("an unknown escape")
	}
	f.at += 2 + digits
	if utf16.IsSurrogate(r) { // JSON's two for a large character, which YAML does not have
		return errors.New("half a character (want it as it is, or \\U and 8 digits)")
	}
	b.WriteRune(r)
	return nil
}

func (f *flow) hex(at, digits int) (rune, bool) {
	if at+digits > len(f.text) || digits == 0 {
		return 0, false
	}
	n, err := strconv.ParseUint(f.text[at:at+digits], 16, 32)
	return rune(n), err == nil && n <= utf8.MaxRune
}
