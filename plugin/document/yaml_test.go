package document

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/detour-cni/detour/redirect/redirecttest"
)

func scalar(text string) Node { return Node{Kind: Scalar, Text: text} }

func mapOf(pairs ...any) Node {
	n := Node{Kind: Map}
	for i := 0; i < len(pairs); i += 2 {
		n.Members = append(n.Members, Member{pairs[i].(string), pairs[i+1].(Node)})
	}
	return n
}

func listOf(items ...Node) Node { return Node{Kind: List, Items: items} }

func TestYAMLReadsWhatInjectorsAndPeopleWrite(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want Node
	}{
		{"", Node{}},
		{"# nothing\n\n", Node{}},
		{"---\na: 1\n...\n", mapOf("a", scalar("1"))},
		{"a: 1", mapOf("a", scalar("1"))},
		{"a:\n  b: x # a comment\n  c: y#z\n", mapOf("a", mapOf("b", scalar("x"), "c", scalar("y#z")))},
		{"a:\n- 1\n- 2\nb: 3\n", mapOf("a", listOf(scalar("1"), scalar("2")), "b", scalar("3"))},
		{"a:\n  - b: 1\n    c: 2\n  -\n    d: 3\n", mapOf("a", listOf(mapOf("b", scalar("1"), "c", scalar("2")), mapOf("d", scalar("3"))))},
		{"- - 1\n  - 2\n- 3\n", listOf(listOf(scalar("1"), scalar("2")), scalar("3"))},
		{"a: {b: [1, 2,], \"c\":3, d: , e: {}}\n", mapOf("a", mapOf("b", listOf(scalar("1"), scalar("2")), "c", scalar("3"), "d", Node{}, "e", mapOf()))},
		{"a: [1,\n  2, # two\n  3]\nb: x\n", mapOf("a", listOf(scalar("1"), scalar("2"), scalar("3")), "b", scalar("x"))},
		{"a: one\n  two\nb: 3\n", mapOf("a", scalar("one two"), "b", scalar("3"))},
		{"a: ~\nb: null\nc:\nd: false\n", mapOf("a", Node{}, "b", Node{}, "c", Node{}, "d", scalar("false"))},
		{"a: |\n  any: text\n\n  at all\nb: >-\n  x\nc: 1\n", mapOf("a", Node{Kind: BlockText}, "b", Node{Kind: BlockText}, "c", scalar("1"))},
		{"url: http://a:80/b\nt: 10:30\n", mapOf("url", scalar("http://a:80/b"), "t", scalar("10:30"))},
		{"a: 'it''s'\nb: \"\\u00e9\\n\\U0001f600\\x41\"\n\"c d\": e\n", mapOf("a", scalar("it's"), "b", scalar("é\n😀A"), "c d", scalar("e"))},
		{"\r\na: 1\r\nb: 2\r\n", mapOf("a", scalar("1"), "b", scalar("2"))},
	} {
		n, err := ParseYAML(tc.in)
		if err != nil {
			t.Errorf("%q: %v", tc.in, err)
			continue
		}
		if diff := cmp.Diff(tc.want, unquoted(n)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tc.in, diff)
		}
	}
}

func TestYAMLRefusesWhatItDoesNotRead(t *testing.T) {
	for _, tc := range []struct{ in, err string }{
		{"a: &x 1\nb: *x\n", "line 1: anchors and aliases"},
		{"a: 1\nb: *x\n", "line 2: anchors and aliases"},
		{"a: !!str 1\n", "tags are not read"},
		{"!!map {a: 1}", "tags are not read"},
		{"<<: {a: 1}\n", "merge keys"},
		{"{<<: {a: 1}}\n", "merge keys"},
		{"a: 1\na: 2\n", `key "a" stands there twice`},
		{"{a: 1, 'a': 2}", `key "a" stands there twice`},
		{"? a\n: 1\n", "question mark"},
		{"a: 1\n---\nb: 2\n", "line 2"},
		{"a:\n\tb: 1\n", "line 2: a tab (want spaces)"},
		{"a: 1\n  b: 2\n", "a key inside a value"},
		{"a:\n    b: 1\n  c: 2\n", "indented"},
		{"a: [1, 2,\nb: 3\n", "never closed"},
		{"a: \"x\nb: 3\n", "never closed"},
		{"a: {b: 1}} \n", "behind a closed bracket"},
		{"a: 1\n- b\n", "no key"},
		{"a: b: c\n", "a key inside a value"},
		{"a: \x00\n", "line 1: character U+0000"},
		{"a: 1\nb: \xff\n", "line 2: not UTF-8"},
		{"a: 1\rb: 2\n", "line 1: character U+000D"},
		{": x\n", "line 1: a value that begins with"},
		{"a: :\n", "a colon (want it in quotes)"},
		{"{:: }", "a colon (want it in quotes)"},
		{"a: -\n", "a dash alone"},
		{"|\n\"0", "the whole document"},
		{"a: |\n  x\n y\n", "line 3: a block of text whose lines start left of its first one"},
		{"a: >\n  \n b\n", "line 3: a block of text that starts left of an empty line's end"},
		{strings.Repeat("k", maxKey+1) + ": b", "line 1: a key of more"},
		{"'" + strings.Repeat("k", maxKey) + "': b", "line 1: a key of more"},
		{"a: {" + strings.Repeat("k", maxKey+1) + ": b}", "line 1: a key of more"},
		{"{a: b?c}", "a question mark in brackets"},
		{"{'a\n b': c}", "line 2: a key of more"},
		{"a: \"\\q\"\n", "unknown escape"},
		{`a: "\/"`, "unknown escape"},
		{`a: "\ud83d\ude00"`, "half a character"},
		{"a: @x\n", "YAML's own"},
		{"%YAML 1.2\n---\na: 1\n", "line 1"},
		{strings.Repeat("[", 100), "nested deeper than 32"},
		{strings.Repeat("- ", 100), "nested deeper than 32"},
		{strings.Repeat(" ", MaxSize+1), "larger than 65536 bytes"},
	} {
		_, err := ParseYAML(tc.in)
		if err == nil || !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%.40q: error %v (want %q)", tc.in, err, tc.err)
		}
	}
}

func TestJSONRefusesWhatIsAmbiguous(t *testing.T) {
	for _, tc := range []struct{ in, err string }{
		{`{"a":1,"a":2}`, `byte 12: key "a" stands there twice`},
		{`{"a":1} {}`, "more than one value"},
		{`{"a":`, "byte 5: ends too early"},
		{"{\"a\":\"\xff\"}", "not UTF-8"},
		{"{\"a\":\"\x00\"}", "invalid character"},
		{`{"a":1,`, "ends too early"},
		{``, "ends too early"},
		{`{'a':1}`, "not JSON"},
		{strings.Repeat("[", 100), "nested deeper than 32"},
		{strings.Repeat(" ", MaxSize+1), "larger than"},
	} {
		_, err := ParseJSON(tc.in)
		if err == nil || !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%.40q: error %v (want %q)", tc.in, err, tc.err)
		}
	}
}

// TestTimeIsLinear: what takes another parser seconds (64 KiB of "[" took one 18 s)
// must not hold up a pod. The bound is generous: this is about n², not about noise.
func TestTimeIsLinear(t *testing.T) {
	for _, unit := range []string{"[", "{", "- ", "{a: ", "\n", ",", "a: ", "? ", "'", "\"\\x41", " ", "&a ", "- x\n", "#\n", "|\n", "a\n b\n", "\"a\": ", "[1],", "a:\n", "é", "a b ", "'a'\n  ", "- - x\n"} {
		text := strings.Repeat(unit, MaxSize/len(unit))
		for _, doc := range []string{text, "[" + text, "a: " + text, "a: \"" + text} {
			took := redirecttest.CPUTime(t, func() {
				_, _ = ParseYAML(doc)
				_, _ = ParseJSON(doc)
			})
			if took > 500*time.Millisecond {
				t.Errorf("%.10q…: %v for %d bytes", doc, took, len(doc))
			}
		}
	}
	var keys, nested strings.Builder
	for i := 0; keys.Len() < MaxSize-20; i++ {
		fmt.Fprintf(&keys, "k%d: v\n", i)
	}
	for i := 0; nested.Len() < MaxSize-400; i++ {
		nested.WriteString(strings.Repeat(" ", i) + "k:\n")
	}
	for _, doc := range []string{keys.String(), nested.String()} {
		if took := redirecttest.CPUTime(t, func() { _, _ = ParseYAML(doc) }); took > 500*time.Millisecond {
			t.Errorf("%.10q…: %v for %d bytes", doc, took, len(doc))
		}
	}
}

// FuzzYAML: what is read here is read the same by a library that reads all of
// YAML. It need not be the other way round.
func FuzzYAML(f *testing.F) {
	for _, seed := range []string{
		"a: 1\nb:\n- x\n- {c: [d, 'e']}\n", "a: |\n  x\n", "a: \"\\u00e9 \\n\"", "- - a: b\n    c: d\n", "a: one\n  two # three\n",
		"a:\n\n  # x\n  b: c\n", "? a\n: b", "a: 'x\n  y'\n", "{a, b: c}", "a: -\n", "[a: b]", "a: [\n]", "'a' : b", "a : b", "0: 00 #\n 0", "- \n- ", "---\n- a\n...",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseYAML(text)
		if err != nil {
			return
		}
		var theirs yaml.Node
		if err := yaml.Unmarshal([]byte(text), &theirs); err != nil {
			t.Fatalf("read as %+v, which the library refuses: %v", got, err)
		}
		want := Node{}
		if len(theirs.Content) > 0 {
			want = fromLibrary(t, theirs.Content[0])
		}
		if diff := cmp.Diff(want, unquoted(got)); diff != "" {
			t.Fatalf("(-library +here):\n%s", diff)
		}
	})
}

func fromLibrary(t *testing.T, n *yaml.Node) Node {
	switch n.Kind {
	case yaml.SequenceNode:
		list := listOf()
		for _, c := range n.Content {
			list.Items = append(list.Items, fromLibrary(t, c))
		}
		return list
	case yaml.MappingNode:
		m := mapOf()
		for i := 0; i < len(n.Content); i += 2 {
			m.Members = append(m.Members, Member{n.Content[i].Value, fromLibrary(t, n.Content[i+1])})
		}
		return m
	case yaml.ScalarNode:
		switch {
		case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
			return Node{Kind: BlockText}
		case n.Tag == "!!null":
			return Node{}
		}
		return scalar(n.Value)
	}
	t.Fatalf("the library sees an alias or an anchor: kind %d", n.Kind)
	return Node{}
}

// unquoted forgets which scalars stood in quotes.
func unquoted(n Node) Node {
	n.Quoted = false
	for i := range n.Items {
		n.Items[i] = unquoted(n.Items[i])
	}
	for i := range n.Members {
		n.Members[i].Value = unquoted(n.Members[i].Value)
	}
	return n
}
