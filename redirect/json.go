package redirect

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Member is one key of a JSON object with its value, still undecoded.
type Member struct {
	Name  string
	Value json.RawMessage
}

// Members reads a JSON object key by key, in its order. A key that stands there
// twice is refused: which of the two was meant is anybody's guess.
func Members(raw []byte) ([]Member, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("%s: not a JSON object", quote(string(raw)))
	}
	var members []Member
	seen := map[string]bool{}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("%s: not JSON: %w", quote(string(raw)), err)
		}
		m := Member{Name: name.(string)} // a key: Token gives nothing else here
		if err := dec.Decode(&m.Value); err != nil {
			return nil, fmt.Errorf("%s: not JSON: %w", m.Name, err)
		}
		if seen[m.Name] {
			return nil, fmt.Errorf("%s: stands there twice", m.Name)
		}
		seen[m.Name] = true
		members = append(members, m)
	}
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("%s: not JSON: %w", quote(string(raw)), err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: more than one JSON value", quote(string(raw)))
	}
	return members, nil
}

// Overlay lays a JSON object of keys over a Spec: what it names is replaced,
// everything else stays. Unknown keys are errors. The Spec is not validated.
func Overlay(s Spec, raw []byte) (Spec, error) {
	members, err := Members(raw)
	if err != nil {
		return s, err
	}
	for _, m := range members {
		k, ok := KeyOf(m.Name)
		if !ok {
			return s, fmt.Errorf("%s: unknown key (want one of docs/configuration.md, upper and lower case as there)", clip(m.Name))
		}
		items, err := k.items(m.Value)
		if err != nil {
			return s, fmt.Errorf("%s: %w", m.Name, err)
		}
		if err := k.Set(&s, items); err != nil {
			return s, err
		}
	}
	return s, nil
}

// items turns a JSON value into the key's items.
func (k Key) items(raw json.RawMessage) ([]string, error) {
	var list []json.RawMessage
	if !k.Many || raw[0] != '[' {
		list = []json.RawMessage{raw}
	} else if err := json.Unmarshal(raw, &list); err != nil {
		return nil, err
	}
	items := make([]string, 0, len(list))
	for _, v := range list {
		item, err := k.item(v)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}

// item turns a scalar, or one of the two kinds of objects, into text.
func (k Key) item(raw json.RawMessage) (string, error) {
	if text, ok := plainScalar(raw); ok {
		return text, nil
	}
	var v any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		return "", err
	}
	switch v := v.(type) {
	case string:
		return v, nil
	case json.Number:
		return v.String(), nil
	case bool:
		return strconv.FormatBool(v), nil
	case map[string]any:
		switch k.Name {
		case "excludeOutboundOwners":
			return objectText(raw, []string{"protocol", "ports", "uids"}, func(part map[string][]string) string {
				return strings.Join(part["protocol"], "+") + ":" + strings.Join(part["ports"], "+") + ":" + strings.Join(part["uids"], "+")
			})
		case "rerouteInterfaces":
			return objectText(raw, []string{"name", "exceptCIDRs", "dns"}, func(part map[string][]string) string {
				text := strings.Join(part["name"], "+")
				for _, p := range part["exceptCIDRs"] {
					text += " except " + p
				}
				if slices.Equal(part["dns"], []string{"true"}) {
					text += " dns"
				}
				return text
			})
		}
	}
	return "", fmt.Errorf("%s: not understood (want %s)", quote(string(raw)), k.Want)
}

// plainScalar reads what nearly every item is, a number or a string without
// escapes, without a decoder: lists can have ten thousand of them.
func plainScalar(raw json.RawMessage) (string, bool) {
	if n := len(raw); n > 1 && raw[0] == '"' && bytes.IndexByte(raw, '\\') < 0 && utf8.Valid(raw) {
		return string(raw[1 : n-1]), true
	}
	if strings.Trim(string(raw), "0123456789") == "" {
		return string(raw), true
	}
	return "", false
}

// separators are what the text form of a member must not hold itself.
var separators = map[string]string{"protocol": ":+", "ports": ":+", "uids": ":+", "name": " ", "exceptCIDRs": " "}

// objectText turns an object with known members into the text form of its key.
func objectText(raw json.RawMessage, known []string, format func(map[string][]string) string) (string, error) {
	members, err := Members(raw)
	if err != nil {
		return "", err
	}
	parts := map[string][]string{}
	for _, m := range members {
		if !slices.Contains(known, m.Name) {
			return "", fmt.Errorf("%s: unknown key (want %s)", clip(m.Name), orList(known))
		}
		items, err := Key{Many: true, Want: "a value or a list"}.items(m.Value)
		if err != nil {
			return "", fmt.Errorf("%s: %w", m.Name, err)
		}
		for _, item := range items {
			if strings.ContainsAny(item, separators[m.Name]) {
				return "", fmt.Errorf("%s: %s: not understood", m.Name, quote(item))
			}
		}
		parts[m.Name] = items
	}
	return format(parts), nil
}

// MarshalJSON writes every key, in the order of the reference; [Overlay] reads it back.
func (s Spec) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	for i, k := range Keys() {
		b.WriteString(map[bool]string{true: "{", false: ","}[i == 0])
		fmt.Fprintf(&b, "%q:%s", k.Name, k.JSON(s))
	}
	b.WriteString("}")
	return b.Bytes(), nil
}

// JSON gives the key's value in a Spec as configuration writes it.
func (k Key) JSON(s Spec) json.RawMessage {
	items := k.Get(s)
	values := make([]string, 0, len(items))
	for _, item := range items {
		values = append(values, scalarJSON(item))
	}
	if !k.Many || slices.Equal(items, []string{"*"}) {
		return json.RawMessage(values[0])
	}
	return json.RawMessage("[" + strings.Join(values, ",") + "]")
}

// scalarJSON writes numbers and booleans bare, everything else as a string.
func scalarJSON(item string) string {
	if _, err := strconv.ParseUint(item, 10, 32); err == nil || item == "true" || item == "false" {
		return item
	}
	return strconv.Quote(item) // items are ASCII without control characters
}
