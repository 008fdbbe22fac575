package nftables

import (
	"errors"
	"testing"

	"github.com/detour-cni/detour/redirect/internal/netlink"
)

// Two generations in one reading are two halves of two different truths.
func TestRulesThatChangeWhileTheyAreReadAreNotBelieved(t *testing.T) {
	e := encode(build(overlay(t, `{}`), inet), nil)
	r := reader{family: inet}
	gen := byte(1)
	var err error
	for m, bad := range netlink.Messages(e.Bytes()) {
		if bad != nil {
			t.Fatal(bad)
		}
		if len(r.chains) == 2 {
			gen = 2
		}
		m.Data[3] = gen // nfgenmsg.res_id
		if err = r.message(m); err != nil {
			break
		}
	}
	if !errors.Is(err, errMoved) {
		t.Errorf("%v", err)
	}
}

// Mangle in OUTPUT is of type route: a changed mark asks for the route again.
// The priorities are those that other tools expect of each table.
func TestEveryChainHangsWhereItMust(t *testing.T) {
	want := map[string]string{
		"DETOUR_ZONE":       "inet filter output -300 accept",
		"DETOUR_TPROXY":     "inet filter prerouting -150 accept",
		"DETOUR_REPLY":      "inet route output -150 accept",
		"DETOUR_OUTPUT":     "inet nat output -100 accept",
		"DETOUR_PREROUTING": "inet nat prerouting -100 accept",
	}
	rs := overlay(t, `{"inboundMode": "tproxy", "dnsPort": 15053, "rerouteInterfaces": ["vm0"]}`)
	for _, c := range (Backend{}).Want(rs).Chains {
		if c.Attached != want[c.Name] {
			t.Errorf("%s: %q (want %q)", c.Name, c.Attached, want[c.Name])
		}
		delete(want, c.Name)
	}
	if len(want) > 0 {
		t.Errorf("not there: %v", want)
	}
}

// What nobody of ours ever sends must not panic the reader, nor make it loop.
func FuzzReader(f *testing.F) {
	for _, json := range specs {
		f.Add(encode(build(overlay(f, json), inet), nil).Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := reader{family: inet}
		for m, err := range netlink.Messages(b) {
			if err != nil || r.message(m) != nil {
				return
			}
		}
		parseStamp(r.stampChain())
		if l := r.listing(); l.Digest() == "" {
			t.Error(l)
		}
		if refused(b, 1, errMoved) == nil {
			t.Error("a refusal became none")
		}
	})
}
