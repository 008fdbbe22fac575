package mesh_test

import (
	"slices"
	"testing"

	"github.com/detour-cni/detour/plugin"
)

// TestEveryRowHasItsPacket drops each row in turn: some packet of some case must
// then be treated otherwise. A row without one is a promise that nobody looked at.
func TestEveryRowHasItsPacket(t *testing.T) {
	cases := allCases(t)
	for _, d := range known() {
		if d.Name == plugin.OwnDialect {
			continue // its rows are the Spec's keys; detour_test.go goes through them
		}
		for _, row := range d.Rows {
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
	d.Rows = append(slices.Clone(d.Rows), idle)
	if missed(t, cases, d, idle) {
		t.Error("a row that no case has counts as proven")
	}
	for _, c := range cases {
		if c.name() != "nginx/ports" {
			continue
		}
		if missed(t, []meshCase{c}, d, idle) || !missed(t, []meshCase{c}, d, d.Rows[0]) {
			t.Errorf("%s: of its rows exactly those that it has are proven", c.name())
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
	less.Rows = slices.DeleteFunc(slices.Clone(d.Rows), func(r plugin.Row) bool { return r.Name() == row.Name() })
	for _, c := range cases {
		if c.mesh != d.Name {
			continue
		}
		with, err := plugin.Decide(c.options, c.pod, []plugin.Dialect{d})
		if err != nil || with.Dialect != d.Name {
			continue
		}
		without, err := plugin.Decide(c.options, c.pod, []plugin.Dialect{less})
		if err != nil {
			continue // the row is needed to start at all: no packet says so
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
