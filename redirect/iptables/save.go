package iptables

import (
	"fmt"
	"slices"
	"strings"

	"github.com/detour-cni/detour/redirect"
)

// chainPrefix begins the name of every chain of ours, and of nobody else's.
const chainPrefix = "DETOUR_"

// parseSave reads what iptables-save -c prints, and keeps what is ours.
func parseSave(text string) (rules, error) {
	var of rules
	var t *table
	var foreign map[string]int // how many rules of each chain of others went by
	for l := range strings.Lines(text) {
		l = strings.TrimSuffix(l, "\n")
		switch {
		case strings.HasPrefix(l, "#"):
			if strings.Contains(l, "is incompatible") { // iptables-nft 1.8: "# Table `nat' is incompatible, use 'nft' tool."
				return of, fmt.Errorf("%s", strings.TrimPrefix(l, "# "))
			}
		case strings.HasPrefix(l, "*"):
			name := redirect.Table(l[1:])
			if slices.ContainsFunc(of.tables, func(t table) bool { return t.name == name }) {
				return of, fmt.Errorf("table %.80q stands there twice", name)
			}
			of.tables = append(of.tables, table{name: name})
			t, foreign = &of.tables[len(of.tables)-1], map[string]int{}
		case t == nil || l == "" || l == "COMMIT":
		case strings.HasPrefix(l, ":"):
			if name, _, _ := strings.Cut(l[1:], " "); strings.HasPrefix(name, chainPrefix) {
				if slices.ContainsFunc(t.chains, func(c chain) bool { return c.name == name }) {
					return of, fmt.Errorf("chain %.80q stands there twice", name)
				}
				t.chains = append(t.chains, chain{name: name})
			}
		default:
			if err := t.read(l, foreign); err != nil {
				return of, err
			}
		}
	}
	of.tables = slices.DeleteFunc(of.tables, func(t table) bool { return len(t.chains) == 0 })
	return of, nil
}

// read takes one "[packets:bytes] -A CHAIN …".
func (t *table) read(l string, foreign map[string]int) error {
	counters := ""
	if strings.HasPrefix(l, "[") {
		counters, l, _ = strings.Cut(l, " ")
	}
	rest, ok := strings.CutPrefix(l, "-A ")
	if !ok {
		return fmt.Errorf("line %.80q (want -A)", l)
	}
	name, text, _ := strings.Cut(rest, " ")
	if i := slices.IndexFunc(t.chains, func(c chain) bool { return c.name == name }); i >= 0 {
		t.chains[i].rules = append(t.chains[i].rules, line{text, counters})
		return nil
	}
	foreign[name]++
	words := split(text)
	for i := range len(words) - 1 {
		if (words[i] == "-j" || words[i] == "-g") && strings.HasPrefix(words[i+1], chainPrefix) {
			t.jumps = append(t.jumps, jump{name, foreign[name], words[i+1], line{text, counters}})
			break
		}
	}
	return nil
}

// split takes a rule apart as iptables-restore does: at spaces outside of double
// quotes, a backslash taking the next character as it is.
func split(text string) []string {
	var words []string
	var word strings.Builder
	quoted, escaped, begun := false, false, false
	for _, c := range []byte(text) {
		switch {
		case escaped:
			escaped = false
			word.WriteByte(c)
		case c == '\\' && quoted:
			escaped = true
		case c == '"':
			quoted, begun = !quoted, true
		case c == ' ' && !quoted:
			if begun {
				words = append(words, word.String())
			}
			word.Reset()
			begun = false
		default:
			begun = true
			word.WriteByte(c)
		}
	}
	if begun {
		words = append(words, word.String())
	}
	return words
}

// comment gives a rule's comment, "" where it has none.
func comment(text string) string {
	words := split(text)
	if i := slices.Index(words, "--comment"); i >= 0 && i+1 < len(words) {
		return words[i+1]
	}
	return ""
}
