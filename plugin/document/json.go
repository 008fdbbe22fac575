package document

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// ParseJSON reads a JSON document.
func ParseJSON(text string) (Node, error) {
	if len(text) > MaxSize {
		return Node{}, errSize
	}
	if !utf8.ValidString(text) { // the decoder would put U+FFFD in its place
		return Node{}, errors.New("not JSON: not UTF-8")
	}
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	n, err := jsonNode(dec, 0)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("more than one value")
		}
	}
	if err != nil {
		return Node{}, fmt.Errorf("not JSON: byte %d: %w", dec.InputOffset(), err)
	}
	return n, nil
}

func jsonNode(dec *json.Decoder, depth int) (Node, error) {
	if depth > MaxDepth {
		return Node{}, errDepth
	}
	t, err := dec.Token()
	if err != nil {
		return Node{}, tooEarly(err)
	}
	switch t := t.(type) {
	case json.Delim:
		return jsonCollection(dec, t, depth)
	case string:
		return Node{Kind: Scalar, Text: t, Quoted: true}, nil
	case nil:
		return Node{}, nil
	}
	return Node{Kind: Scalar, Text: fmt.Sprint(t)}, nil // a json.Number or a bool
}

// tooEarly says what an EOF means where more was to come.
func tooEarly(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("ends too early")
	}
	return err
}

func jsonCollection(dec *json.Decoder, open json.Delim, depth int) (Node, error) {
	b := builder{node: Node{Kind: List}}
	if open == '{' {
		b.node.Kind = Map
	}
	for dec.More() {
		name, err := jsonName(dec, b.node.Kind)
		if err != nil {
			return Node{}, err
		}
		value, err := jsonNode(dec, depth+1)
		if err != nil {
			return Node{}, err
		}
		if b.node.Kind == List {
			b.node.Items = append(b.node.Items, value)
		} else if err := b.add(name, value); err != nil {
			return Node{}, err
		}
	}
	_, err := dec.Token() // the closing bracket
	return b.node, tooEarly(err)
}

// jsonName gives a member's name; in a list there is none.
func jsonName(dec *json.Decoder, in Kind) (string, error) {
	if in == List {
		return "", nil
	}
	t, err := dec.Token()
	if err != nil {
		return "", tooEarly(err)
	}
	name, _ := t.(string) // Token gives nothing else where a key stands
	return name, nil
}
