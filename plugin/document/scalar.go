package document

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// value reads what stands behind a key or a dash, and on the lines after it
// that are indented further than parent.
func (y *reader) value(text string, parent, depth int) (Node, error) {
	if text[0] == '|' || text[0] == '>' {
		return y.blockText(text, parent)
	}
	if strings.IndexByte(`{["'`, text[0]) >= 0 {
		f := flow{y: y, text: text, parent: parent}
		n, err := f.node(depth)
		if err != nil {
			return n, err
		}
		return n, f.end()
	}
	if err := startsPlain(text); err != nil {
		return Node{}, err
	}
	return y.plain(text, parent)
}

// blockText passes a literal or folded scalar.
func (y *reader) blockText(text string, parent int) (Node, error) {
	header, comment, _ := strings.Cut(text[1:], " ")
	if comment = strings.TrimLeft(comment, " "); comment != "" && comment[0] != '#' || strings.Trim(header, "+-") != "" || len(header) > 1 {
		return Node{}, errors.New("a block of text with an odd header (want | or >, and + or -)")
	}
	if parent < 0 { // its lines may stand at column 0, where libraries take some for others
		return Node{}, errors.New("a block of text that is the whole document (want key: value)")
	}
	y.at++
	first, empty := -1, 0 // the column of its first line, the longest of empty ones before that
	for ; y.more() && (y.lines[y.at].text == "" || y.lines[y.at].indent > parent); y.at++ {
		l := y.lines[y.at]
		switch {
		case l.text != "" && first < 0:
			first = l.indent
			if first < empty {
				return Node{}, errors.New("a block of text that starts left of an empty line's end")
			}
		case l.text != "" && l.indent < first:
			return Node{}, errors.New("a block of text whose lines start left of its first one")
		case l.text == "" && first < 0:
			empty = max(empty, l.indent)
		}
	}
	return Node{Kind: BlockText}, nil
}

// plain reads an unquoted scalar; where it goes on in the next lines, a space
// joins them.
func (y *reader) plain(text string, parent int) (Node, error) {
	text, ended := cutComment(text)
	b := strings.Builder{}
	b.WriteString(text)
	for y.at++; !ended && y.more() && y.lines[y.at].text != "" && y.lines[y.at].indent > parent; y.at++ {
		l := y.lines[y.at]
		if isMarker(l) || l.text[0] == '#' {
			break
		}
		text, ended = cutComment(l.text)
		if hasColon(text) {
			return Node{}, errors.New("a key inside a value")
		}
		b.WriteByte(' ')
		b.WriteString(text)
	}
	if y.more() && y.lines[y.at].text == "" && !ended {
		if next := y.afterBlank(); next.indent > parent {
			return Node{}, errors.New("a value that goes on after an empty line (want it in quotes)")
		}
	}
	if hasColon(b.String()) {
		return Node{}, errors.New("a key inside a value (want the value in quotes)")
	}
	return plainNode(b.String()), nil
}

func (y *reader) afterBlank() line {
	for _, l := range y.lines[y.at:] {
		if l.text != "" {
			if l.text[0] == '#' {
				break
			}
			return l
		}
	}
	return line{indent: -1}
}

func plainNode(text string) Node {
	switch text {
	case "", "~", "null", "Null", "NULL":
		return Node{}
	}
	return Node{Kind: Scalar, Text: text}
}

// hasColon reports whether a plain text holds what would make it a key.
func hasColon(text string) bool {
	return strings.HasSuffix(text, ":") || strings.Contains(text, ": ")
}

// cutComment cuts " # …" off a plain text; true when there was one.
func cutComment(text string) (string, bool) {
	for i := 1; i < len(text); i++ {
		if text[i] == '#' && text[i-1] == ' ' {
			return strings.TrimRight(text[:i], " "), true
		}
	}
	return text, false
}

// startsPlain refuses what no plain text may begin with.
func startsPlain(text string) error {
	c, _ := utf8.DecodeRuneInString(text)
	switch c {
	case '&', '*':
		return errors.New("anchors and aliases are not read")
	case '!':
		return errors.New("tags are not read")
	case ',', ']', '}', '%', '@', '`', '|', '>', '#', '[', '{', '"', '\'':
		return errors.New("a value that begins with a character of YAML's own (want it in quotes)")
	case '?', ':':
		return errors.New("a value that begins with a question mark or a colon (want it in quotes)")
	case '-':
		if len(text) == 1 || strings.IndexByte(" ,[]{}", text[1]) >= 0 {
			return errors.New("a dash alone (want the value in quotes)")
		}
	}
	return nil
}

// maxKey is how far a colon may be from where its key begins, in bytes: YAML 1.2
// allows 1024 characters, on one line.
const maxKey = 1000

var errKey = errors.New("a key of more than one line or " + strconv.Itoa(maxKey) + " bytes")

// key splits a line "name: rest". It is not ok where the line is no such thing.
func key(text string) (name, rest string, ok bool, err error) {
	if text[0] == '"' || text[0] == '\'' {
		f := flow{text: text}
		n, err := f.quoted()
		if err != nil {
			return "", "", false, nil // perhaps a value of several lines
		}
		after := strings.TrimLeft(f.text[f.at:], " ")
		if rest, ok = cutColon(after); ok && len(text)-len(after) > maxKey {
			return "", "", false, errKey
		}
		return n.Text, rest, ok, nil
	}
	if strings.IndexByte("[{|>", text[0]) >= 0 {
		return "", "", false, nil
	}
	plain, _ := cutComment(text)
	i := strings.Index(plain, ": ")
	if i < 0 && strings.HasSuffix(plain, ":") {
		i = len(plain) - 1
	}
	if i < 0 {
		return "", "", false, nil
	}
	if i > maxKey {
		return "", "", false, errKey
	}
	name = strings.TrimRight(plain[:i], " ")
	if err := startsPlain(text); err != nil {
		return "", "", false, err
	}
	rest, ok = cutColon(text[i:])
	return name, rest, ok, nil
}

func cutColon(text string) (string, bool) {
	rest, ok := strings.CutPrefix(text, ":")
	if !ok || rest != "" && rest[0] != ' ' {
		return "", false
	}
	return strings.TrimLeft(rest, " "), true
}
