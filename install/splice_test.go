package install

import (
	"strings"
	"testing"

	"github.com/detour-cni/detour/plugin/mesh"
)

func entry(t *testing.T, object string) Entry {
	t.Helper()
	e, err := NewEntry([]byte(object), mesh.All())
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func parse(t *testing.T, text string) List {
	t.Helper()
	l, err := ParseList([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

const us = `{"type":"detour-cni","capabilities":{"io.kubernetes.cri.pod-annotations":true},"detour":{}}`

func TestSpliceKeepsEveryOtherByte(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"one line", `{"name":"n","plugins":[{"type":"ptp"}]}`, `{"name":"n","plugins":[{"type":"ptp"},` + us + `]}`},
		{"a plugin a line", "{\"name\":\"n\",\"plugins\":[\n\t{\"type\":\"ptp\"},\n\t{\"type\":\"portmap\"}\n]}\n", "{\"name\":\"n\",\"plugins\":[\n\t{\"type\":\"ptp\"},\n\t{\"type\":\"portmap\"},\n\t" + us + "\n]}\n"},
		{"CRLF", "{\"name\":\"n\",\r\n\"plugins\":[\r\n {\"type\":\"ptp\"}\r\n]}", "{\"name\":\"n\",\r\n\"plugins\":[\r\n {\"type\":\"ptp\"},\r\n " + us + "\r\n]}"},
		{"two keys, the last counts", `{"name":"n","plugins":[{"type":"a"}],"plugins":[{"type":"b"}]}`, `{"name":"n","plugins":[{"type":"a"}],"plugins":[{"type":"b"},` + us + `]}`},
		{"numbers that no float holds", `{"name":"n","x":123456789012345678901234567890,"plugins":[{"type":"a","mtu":"9001"}]}`, `{"name":"n","x":123456789012345678901234567890,"plugins":[{"type":"a","mtu":"9001"},` + us + `]}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Splice(parse(t, tc.in), entry(t, "").Text)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
			back, err := Unsplice(parse(t, string(got)))
			if err != nil {
				t.Fatal(err)
			}
			if string(back) != tc.in {
				t.Errorf("back %s\nwas  %s", back, tc.in)
			}
		})
	}
}

func TestSpliceFindsOurEntryWhereverItIs(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"the same, formatted by somebody", `{"name":"n","plugins":[{"type":"a"},{ "detour": {}, "type": "detour-cni", "capabilities": {"io.kubernetes.cri.pod-annotations": true} },{"type":"b"}]}`, ""},
		{"other options", `{"name":"n","plugins":[{"type":"a"},{"type":"detour-cni","detour":{"pods":"all"}},{"type":"b"}]}`, `{"name":"n","plugins":[{"type":"a"},` + us + `,{"type":"b"}]}`},
		{"twice", `{"name":"n","plugins":[{"type":"a"},` + us + `, {"type":"detour-cni"}]}`, `{"name":"n","plugins":[{"type":"a"},` + us + `]}`},
		{"first of all", `{"name":"n","plugins":[{"type":"detour-cni"}, {"type":"a"}]}`, `{"name":"n","plugins":[` + us + `, {"type":"a"}]}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Splice(parse(t, tc.in), entry(t, "").Text)
			if err != nil {
				t.Fatal(err)
			}
			if tc.want == "" {
				tc.want = tc.in
			}
			if string(got) != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestUnspliceLeavesNoEmptyChain(t *testing.T) {
	if _, err := Unsplice(parse(t, `{"name":"n","plugins":[{"type":"detour-cni"}]}`)); err == nil || !strings.Contains(err.Error(), "the only one") {
		t.Error(err)
	}
	got, err := Unsplice(parse(t, `{"name":"n","plugins":[ {"type":"detour-cni"} , {"type":"a"}]}`))
	if err != nil || string(got) != `{"name":"n","plugins":[ {"type":"a"}]}` {
		t.Error(string(got), err)
	}
}

// What is a list to the runtime, in any bytes: the entry goes in, the list still
// reads, and it comes out to the byte.
func FuzzSplice(f *testing.F) {
	f.Add([]byte(`{"name":"n","plugins":[{"type":"ptp"}]}`))
	f.Add([]byte(`{"name":"n","plugins":[{"type":"a"},` + us + `, {"type":"detour-cni"}]}`))
	f.Add([]byte("{\"plugins\":[1],\"name\":\"n\",\"plugins\":[\n\t{\"type\":\"ptp\"} ,{\"type\":\"b\"}\n]}\n"))
	ours, err := NewEntry(nil, mesh.All())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := ParseList(text)
		if err != nil {
			return
		}
		in, err := Splice(l, ours.Text)
		if err != nil {
			t.Fatal(err)
		}
		joined, err := ParseList(in)
		if err != nil {
			t.Fatalf("%s: %v", in, err)
		}
		if n := len(joined.Ours()); n != 1 {
			t.Fatalf("%d entries of ours in %s", n, in)
		}
		again, err := Splice(joined, ours.Text)
		if err != nil || string(again) != string(in) {
			t.Fatalf("a second time: %s, %v", again, err)
		}
		if len(l.Ours()) > 0 {
			return
		}
		if out, err := Unsplice(joined); err != nil || string(out) != string(text) {
			t.Fatalf("%q came back as %q, %v", text, out, err)
		}
	})
}
