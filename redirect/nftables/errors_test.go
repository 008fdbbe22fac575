package nftables

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/internal/netlink"
)

func TestARefusalNamesTheMessage(t *testing.T) {
	e, _ := stamped(overlay(t, specs["prefixes"]), inet, owner, redirect.Extras{}, []family{ip4})
	names := map[string]uint32{}
	rules := map[string]int{}
	for m, err := range netlink.Messages(e.Bytes()) {
		if err != nil {
			t.Fatal(err)
		}
		names[nameOf(m, rules)] = m.Seq
	}
	for _, tc := range []struct {
		name, err   string
		errno       unix.Errno
		unsupported bool
	}{
		{"delete table ip detour", "nf_tables: delete table ip detour: no such file or directory", unix.ENOENT, false},
		{"add table inet detour", "nf_tables: add table inet detour: operation not supported: not in this kernel", unix.EOPNOTSUPP, true},
		{"add table inet detour", "nf_tables: add table inet detour: file exists", unix.EEXIST, false},
		{"add chain DETOUR_OUTPUT", "nf_tables: add chain DETOUR_OUTPUT: no such file or directory: not in this kernel", unix.ENOENT, true},
		{"add set 1", "nf_tables: add set 1: cannot allocate memory", unix.ENOMEM, false},
		{"add elements of set 1", "nf_tables: add elements of set 1: file exists", unix.EEXIST, false},
		{`add rule 2 of DETOUR_OUTPUT, "detour: localhost stays local"`, `nf_tables: add rule 2 of DETOUR_OUTPUT, "detour: localhost stays local": invalid argument`, unix.EINVAL, false},
		{"", "nf_tables: commit: operation not permitted", unix.EPERM, false},
	} {
		seq, ok := names[tc.name]
		if !ok {
			t.Errorf("no message %q in %v", tc.name, names)
			continue
		}
		err := refused(e.Bytes(), seq, tc.errno)
		if err.Error() != tc.err || !errors.Is(err, tc.errno) || errors.Is(err, ErrUnsupported) != tc.unsupported {
			t.Errorf("%q: %v (want %s, unsupported: %v)", tc.name, err, tc.err, tc.unsupported)
		}
	}
}

// A batch that the kernel refuses leaves nothing, and the error says which rule it was.
func TestTheKernelsRefusalIsNamed(t *testing.T) {
	inNetns(t, func() {
		rs := overlay(t, specs["dns"])
		last := &rs.Chains[len(rs.Chains)-1]
		last.Rules = append(last.Rules, redirect.Rule{Target: redirect.Jump{Chain: "NOWHERE"}, Why: "no such chain"})
		_, err := Backend{}.Commit(rs, owner, redirect.Extras{})
		if err == nil || !strings.HasSuffix(err.Error(), `nf_tables: add rule 4 of DETOUR_INBOUND, "detour: no such chain": no such file or directory: not in this kernel`) {
			t.Errorf("commit: %v", err)
		}
		rs = overlay(t, specs["dns"])
		rs.Chains[0].Rules = append(rs.Chains[0].Rules, redirect.Rule{Target: redirect.RedirectTo{Port: 1}, Why: "not in raw"})
		_, err = Backend{}.Commit(rs, owner, redirect.Extras{})
		if err == nil || !strings.Contains(err.Error(), `add rule 2 of DETOUR_ZONE, "detour: not in raw": operation not supported`) {
			t.Errorf("commit: %v", err)
		}
		if out := run(t, "nft", "list", "ruleset"); out != "" {
			t.Errorf("left behind:\n%s", out)
		}
	})
}

// Errors about messages of 30 KiB and more come back whole, and every one of a
// batch's errors is waiting when the first is read: none may be taken for the
// next answer, and none is waited for.
func TestARefusalOfManyMessagesIsOneError(t *testing.T) {
	inNetns(t, func() {
		var of []interval
		for i := range uint32(50_000) {
			of = append(of, interval{network32(4 * i), network32(4*i + 1)})
		}
		e := begin(inet) // no table: each of the messages is an error
		e.newSet(newSet(kindIPv4, of))
		e.newRule("NONE", rule{exprs: []expr{counter()}, comment: "none"}, unix.NLM_F_ACK)
		c, err := open()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.close()
		if err := c.transact(e.end()); !errors.Is(err, unix.ENOENT) || !strings.Contains(err.Error(), "add set 1") {
			t.Errorf("transact: %v", err)
		}
	})
}

// An error about a message with many elements is small all the same, and names it.
func TestARefusedElementIsNamed(t *testing.T) {
	inNetns(t, func() {
		var of []interval
		for i := range uint32(1000) {
			of = append(of, interval{network32(4 * i), network32(4*i + 1)})
		}
		of = append(of, interval{network32(4), network32(9)}) // overlaps the second and the third
		e := begin(inet)
		e.newTable()
		e.newChain(chain{name: "C"})
		e.newRule("C", rule{exprs: []expr{lookup(newSet(kindIPv4, of)), counter()}, comment: "none"}, unix.NLM_F_ACK)
		err := send(t, e.end())
		if !errors.Is(err, unix.EEXIST) && !errors.Is(err, unix.ENOTEMPTY) || !strings.Contains(err.Error(), "add elements of set 1") {
			t.Errorf("transact: %v", err)
		}
	})
}

// Without an acknowledgement there is nothing to read: an error, and no waiting.
func TestNoAnswerIsAnError(t *testing.T) {
	inNetns(t, func() {
		e := begin(inet)
		e.newTable()
		if err := send(t, e.end()); err == nil || !strings.Contains(err.Error(), "no answer") {
			t.Errorf("transact: %v", err)
		}
	})
}

// Somebody who was quicker is not added to.
func TestATableThatIsThereByNowIsRefused(t *testing.T) {
	inNetns(t, func() {
		run(t, "nft", "add table inet detour; add chain inet detour MINE")
		before := run(t, "nft", "-a", "list", "ruleset")
		c, err := open()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.close()
		if _, err := c.install(overlay(t, `{}`), owner, redirect.Extras{}, nil); !errors.Is(err, unix.EEXIST) || errors.Is(err, ErrUnsupported) {
			t.Errorf("install: %v", err)
		}
		if after := run(t, "nft", "-a", "list", "ruleset"); after != before {
			t.Errorf("rules:\n%s", after)
		}
	})
}

func send(t *testing.T, batch []byte) error {
	t.Helper()
	c, err := open()
	if err != nil {
		t.Error(err)
		return err
	}
	defer c.close()
	return c.transact(batch)
}
