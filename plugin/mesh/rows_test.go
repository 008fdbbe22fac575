package mesh_test

import (
	"slices"
	"testing"

	"github.com/detour-cni/detour/plugin"
	"github.com/detour-cni/detour/redirect"
)

// TestEveryRowHasItsPacket drops each row in turn: some packet of some case must
// then be treated otherwise. A row without one is a promise that nobody looked at.
func TestEveryRowHasItsPacket(t *testing.T) {
	cases := allCases(t)
	for _, d := range known() {
		if d.Name == plugin.OwnDialect {
			continue // its rows are the Spec's keys; detour_test.go goes through them
		}
		for _, row := range d.Rows() {
			if !missed(t, cases, d, row) {
				t.Errorf("%s: no case has a packet that goes elsewhere without %s", d.Name, row.Name())
			}
		}
	}
}

// TestRowWithoutCaseIsSeen: the test above would not see a row that nothing needs
// if it took any case for a proof.
func TestRowWithoutCaseIsSeen(t *testing.T) {
	cases := allCases(t)
	d := dialect(t, "nginx")
	idle := plugin.Row{Annotation: "config.nsm.nginx.com/nobody-writes-this", Key: "outboundPort", Mode: plugin.Replace}
	rows := append(d.Rows(), idle)
	d.Rows = func() []plugin.Row { return rows }
	if missed(t, cases, d, idle) {
		t.Error("a row that no case has counts as proven")
	}
	for _, c := range cases {
		if c.name() != "nginx/ports" {
			continue
		}
		if missed(t, []meshCase{c}, d, idle) || !missed(t, []meshCase{c}, d, rows[0]) {
			t.Errorf("%s: of its rows exactly those that it has are proven", c.name())
		}
	}
}

// TestAppendOrReplaceHasItsPacket turns each list's mode round: where a mesh adds
// and where it replaces is a fact like the annotation's name.
func TestAppendOrReplaceHasItsPacket(t *testing.T) {
	cases := allCases(t)
	for _, d := range known() {
		if d.Name == plugin.OwnDialect {
			continue
		}
		for i, row := range d.Rows() {
			if key, _ := redirect.KeyOf(row.Key); !key.Many || row.Apply != nil {
				continue
			}
			other := d
			rows := d.Rows()
			rows[i].Mode = map[plugin.RowMode]plugin.RowMode{plugin.Append: plugin.Replace, plugin.Replace: plugin.Append}[row.Mode]
			other.Rows = func() []plugin.Row { return rows }
			if !differ(t, cases, d, other) {
				t.Errorf("%s: %s: no packet tells %s from %s", d.Name, row.Name(), row.Mode, rows[i].Mode)
			}
		}
	}
}

// TestEmptyHasItsPacket: what an empty value means is one, too.
func TestEmptyHasItsPacket(t *testing.T) {
	cases := allCases(t)
	for _, d := range known() {
		if d.Name == plugin.OwnDialect {
			continue
		}
		for i, row := range d.Rows() {
			if row.Empty != plugin.EmptyNone {
				continue
			}
			other := d
			rows := d.Rows()
			rows[i].Empty = plugin.EmptyUnset
			other.Rows = func() []plugin.Row { return rows }
			if row.Mode == plugin.Replace && !differ(t, cases, d, other) {
				t.Errorf("%s: %s: no packet tells an empty list from none", d.Name, row.Name())
			}
		}
	}
}

func dialect(t *testing.T, name string) plugin.Dialect {
	t.Helper()
	for _, d := range known() {
		if d.Name == name {
			return d
		}
	}
	t.Fatalf("no dialect %s", name)
	return plugin.Dialect{}
}

// missed reports whether some case's packets tell that the dialect lost the row.
func missed(t *testing.T, cases []meshCase, d plugin.Dialect, row plugin.Row) bool {
	t.Helper()
	less := d
	rows := slices.DeleteFunc(d.Rows(), func(r plugin.Row) bool { return r.Name() == row.Name() })
	less.Rows = func() []plugin.Row { return rows }
	return differ(t, cases, d, less)
}

// differ reports whether some case's packets tell one dialect from another.
func differ(t *testing.T, cases []meshCase, d, other plugin.Dialect) bool {
	t.Helper()
	for _, c := range cases {
		if c.mesh != d.Name {
			continue
		}
		with, err := plugin.Decide(c.options, c.pod, []plugin.Dialect{d})
		if err != nil || with.Dialect != d.Name {
			continue
		}
		without, err := plugin.Decide(c.options, c.pod, []plugin.Dialect{other})
		if err != nil {
			continue // an ADD that fails has no packets
		}
		if with.Redirect != without.Redirect {
			return true // every packet goes elsewhere
		}
		if with.Redirect && len(misjudged(t, without.Spec, c.packetCase(t, with.Spec))) > 0 {
			return true
		}
	}
	return false
}
