package mesh

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/detour-cni/detour/plugin"
	"github.com/detour-cni/detour/redirect"
)

// words gives a parser for one of a few words, each with what the Spec calls it:
// pairs are word, item, word, item …
func words(pairs ...string) func(string) ([]string, error) {
	return func(text string) ([]string, error) {
		var known []string
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == strings.TrimSpace(text) {
				return []string{pairs[i+1]}, nil
			}
			known = append(known, pairs[i])
		}
		return nil, fmt.Errorf("%.64q: unknown (want %s)", text, orList(known))
	}
}

// orList gives "a, b or c".
func orList(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// flag reads a yes or no the way Go programs do, as "true" or "false".
func flag(text string) ([]string, error) {
	b, err := strconv.ParseBool(strings.TrimSpace(text))
	if err != nil {
		return nil, fmt.Errorf("%.64q: not true or false", text)
	}
	return []string{strconv.FormatBool(b)}, nil
}

// notFlag is flag turned round.
func notFlag(text string) ([]string, error) {
	items, err := flag(text)
	if err == nil {
		items[0] = strconv.FormatBool(items[0] == "false")
	}
	return items, err
}

// onlyIf gives an Apply for a flag that does something only at one of its values.
func onlyIf(value string, do func(*redirect.Spec)) func(*redirect.Spec, []string) error {
	return func(s *redirect.Spec, items []string) error {
		if slices.Equal(items, []string{value}) {
			do(s)
		}
		return nil
	}
}

// set lays items over one key of a Spec.
func set(s *redirect.Spec, key string, items ...string) error {
	k, ok := redirect.KeyOf(key)
	if !ok {
		panic("no such key: " + key)
	}
	return k.Set(s, items)
}

// list gives the names in a comma-separated text.
func list(text string) []string { return redirect.SplitList(text) }

func notMine(format string, args ...any) (plugin.Claim, error) {
	return plugin.Claim{Why: fmt.Sprintf(format, args...)}, nil
}

func left(format string, args ...any) (plugin.Claim, error) {
	return plugin.Claim{Verdict: plugin.Left, Why: fmt.Sprintf(format, args...)}, nil
}

func mine(annotation string) (plugin.Claim, error) {
	return plugin.Claim{Verdict: plugin.Mine, Why: "claimed by " + annotation}, nil
}

// ports gives single ports as ranges.
func ports(of ...uint16) []redirect.PortRange {
	var ranges []redirect.PortRange
	for _, p := range of {
		ranges = append(ranges, redirect.PortRange{First: p, Last: p})
	}
	return ranges
}

// ids gives single uids or gids as ranges.
func ids(of ...uint32) []redirect.IDRange {
	var ranges []redirect.IDRange
	for _, id := range of {
		ranges = append(ranges, redirect.IDRange{First: id, Last: id})
	}
	return ranges
}
