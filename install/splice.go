package install

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
)

// Splice gives the list's text with the entry in its chain, and every byte that is
// not ours as it was. An entry of ours that says the same is left alone, wherever it
// is and however somebody formatted it; one that says something else is replaced in its
// place; a second one goes.
func Splice(l List, entry []byte) ([]byte, error) {
	ours := l.Ours()
	if len(ours) == 0 {
		return appendElement(l, entry), nil
	}
	text := l.Text
	for i := len(ours) - 1; i > 0; i-- {
		text = cut(l, text, ours[i])
	}
	first := l.Plugins[ours[0]]
	if sameJSON(text[first.Start:first.End], entry) {
		return text, nil
	}
	return splice(text, first.Start, first.End, entry), nil
}

// Unsplice gives the text without our entries: after Splice, the very bytes as
// they were before. A chain of nothing else cannot be left, and is an error.
func Unsplice(l List) ([]byte, error) {
	ours := l.Ours()
	if len(ours) == len(l.Plugins) {
		return nil, fmt.Errorf("plugins: %s is the only one, and a list without plugins is refused by the runtime", PluginType)
	}
	text := l.Text
	for i := len(ours) - 1; i >= 0; i-- {
		text = cut(l, text, ours[i])
	}
	return text, nil
}

// appendElement puts the entry after the last plugin, behind the white space that
// the writer put before that one: a list with a plugin a line stays one.
func appendElement(l List, entry []byte) []byte {
	last := l.Plugins[len(l.Plugins)-1]
	start := last.Start
	for start > 0 && bytes.IndexByte([]byte(" \t\r\n"), l.Text[start-1]) >= 0 {
		start--
	}
	added := append([]byte{','}, l.Text[start:last.Start]...)
	return splice(l.Text, last.End, last.End, append(added, entry...))
}

// cut takes the element at index i out of text, with the comma before it; the first
// with the comma after it. Elements after i have been cut before.
func cut(l List, text []byte, i int) []byte {
	if i > 0 {
		return splice(text, l.Plugins[i-1].End, l.Plugins[i].End, nil)
	}
	end := l.Plugins[0].End
	rest := text[end:]
	// What follows is white space and a comma, or there was nothing but ours.
	if comma := bytes.IndexByte(rest, ','); comma >= 0 && len(bytes.TrimSpace(rest[:comma])) == 0 {
		end += comma + 1
		for end < len(text) && bytes.IndexByte([]byte(" \t\r\n"), text[end]) >= 0 {
			end++
		}
	}
	return splice(text, l.Plugins[0].Start, end, nil)
}

// splice gives a new slice: text with [start, end) replaced.
func splice(text []byte, start, end int, by []byte) []byte {
	return bytes.Join([][]byte{text[:start], by, text[end:]}, nil)
}

// sameJSON compares what two documents say. Numbers are compared as they are
// written: 1 and 1.0 are not the same to whoever wrote them.
func sameJSON(a, b []byte) bool {
	decode := func(text []byte) (v any, err error) {
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.UseNumber()
		err = dec.Decode(&v)
		return v, err
	}
	va, err := decode(a)
	if err != nil {
		return false
	}
	vb, err := decode(b)
	return err == nil && reflect.DeepEqual(va, vb)
}
