package redirect

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Key is one setting of a Spec, as configuration and annotations name it. Both
// give it the same list of items: JSON [80, "8000-8100"] and the annotation
// "80,8000-8100" are ["80", "8000-8100"]; a single value is a list of one.
type Key struct {
	Name    string // "excludeInboundPorts"
	Meaning string // one line, for the reference in docs/
	// Want says what a value looks like, for errors and docs.
	Want string
	// Many is true for lists; the others take exactly one item.
	Many bool
	set  func(*Spec, []string) error
	get  func(Spec) []string
}

// Keys gives every key, in the order of the reference.
func Keys() []Key {
	return slices.Concat(proxyKeys(), inboundKeys(), outboundKeys(), dnsKeys(), otherKeys())
}

// KeyOf finds a key by its name.
func KeyOf(name string) (Key, bool) {
	keys := Keys()
	i := slices.IndexFunc(keys, func(k Key) bool { return k.Name == name })
	if i < 0 {
		return Key{}, false
	}
	return keys[i], true
}

// ItemError is an item that a key does not take.
type ItemError struct {
	Key   string
	Index int // -1 for a key with a single value
	Err   error
}

func (e *ItemError) Error() string {
	if e.Index < 0 {
		return fmt.Sprintf("%s: %v", e.Key, e.Err)
	}
	return fmt.Sprintf("%s[%d]: %v", e.Key, e.Index, e.Err)
}

func (e *ItemError) Unwrap() error { return e.Err }

// Set puts items into the Spec, in place of what was there. The error begins
// with the key's name; one about an item is an *ItemError.
func (k Key) Set(s *Spec, items []string) error {
	if !k.Many && len(items) != 1 {
		return fmt.Errorf("%s: %d values (want %s)", k.Name, len(items), k.Want)
	}
	changed := *s
	if err := k.set(&changed, items); err != nil {
		if item, ok := errors.AsType[*ItemError](err); ok {
			item.Key = k.Name
		}
		return err
	}
	*s = changed
	return nil
}

// SetText is Set for a comma-separated text, as annotations have it. Spaces
// around items do not count; an empty text is the empty list.
func (k Key) SetText(s *Spec, text string) error { return k.Set(s, SplitList(text)) }

// Get gives the key's items in a Spec, in the form that Set takes.
func (k Key) Get(s Spec) []string { return k.get(s) }

// SplitList splits a comma-separated text; "" has no items.
func SplitList(text string) []string {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	items := strings.Split(text, ",")
	for i, item := range items {
		items[i] = strings.TrimSpace(item)
	}
	return items
}

// one makes the two functions of a key with a single value.
func one[T any](k Key, field func(*Spec) *T, parse func(string) (T, error), format func(T) string) Key {
	k.set = func(s *Spec, items []string) error {
		v, err := parse(items[0])
		if err != nil {
			return &ItemError{Index: -1, Err: err}
		}
		*field(s) = v
		return nil
	}
	k.get = func(s Spec) []string { return []string{format(*field(&s))} }
	return k
}

// many makes the two functions of a key with a list.
func many[T any](k Key, field func(*Spec) *[]T, parse func(string) (T, error), format func(T) string) Key {
	k.Many = true
	k.set = func(s *Spec, items []string) error {
		list, err := parseList(items, parse)
		*field(s) = list
		return err
	}
	k.get = func(s Spec) []string { return formatList(*field(&s), format) }
	return k
}

// all is many for lists that "*" stands for whole.
func all[T any](k Key, field func(*Spec) (*bool, *[]T), parse func(string) (T, error), format func(T) string) Key {
	k.Many = true
	k.set = func(s *Spec, items []string) error {
		every, list := field(s)
		if *every = slices.Equal(items, []string{"*"}); *every {
			*list = nil
			return nil
		}
		var err error
		*list, err = parseList(items, parse)
		return err
	}
	k.get = func(s Spec) []string {
		every, list := field(&s)
		if *every {
			return []string{"*"}
		}
		return formatList(*list, format)
	}
	return k
}

func parseList[T any](items []string, parse func(string) (T, error)) ([]T, error) {
	list := make([]T, 0, len(items))
	for i, item := range items {
		v, err := parse(item)
		if err != nil {
			return nil, &ItemError{Index: i, Err: err}
		}
		list = append(list, v)
	}
	return list, nil
}

func formatList[T any](list []T, format func(T) string) []string {
	items := make([]string, 0, len(list))
	for _, v := range list {
		items = append(items, format(v))
	}
	return items
}

func parseBool(text string) (bool, error) {
	switch text {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("%s: not true or false", quote(text))
}

// parseWord gives a parser for one of a few words.
func parseWord[T ~string](words ...T) func(string) (T, error) {
	return func(text string) (T, error) {
		if slices.Contains(words, T(text)) {
			return T(text), nil
		}
		return "", fmt.Errorf("%s: unknown (want %s)", quote(text), orList(words))
	}
}

// orList gives "a, b or c".
func orList[T ~string](words []T) string {
	var b strings.Builder
	for i, w := range words {
		switch {
		case i == 0:
		case i == len(words)-1:
			b.WriteString(" or ")
		default:
			b.WriteString(", ")
		}
		b.WriteString(string(w))
	}
	return b.String()
}

// parsePortOrOff is ParsePort with 0 for "off".
func parsePortOrOff(text string) (uint16, error) {
	if text == "0" {
		return 0, nil
	}
	p, err := ParsePort(text)
	if err != nil {
		return 0, fmt.Errorf("%s: not a port (want 1-65535, or 0 for off)", quote(text))
	}
	return p, nil
}

func parseUint32(text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 0, 32)
	if err != nil {
		return 0, fmt.Errorf("%s: not a number (want 0-4294967295)", quote(text))
	}
	return uint32(n), nil
}

func formatUint[T ~uint16 | ~uint32](n T) string { return strconv.FormatUint(uint64(n), 10) }
