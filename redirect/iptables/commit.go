package iptables

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/detour-cni/detour/redirect"
)

// wanted is a RuleSet in the families that there are.
func wanted(rs redirect.RuleSet) families {
	var f families
	if rs.V4() {
		f.v4 = rulesOf(rs, true)
	}
	if rs.V6() && hasIPv6() {
		f.v6 = rulesOf(rs, false)
	}
	return f
}

// Want gives the Listing that List finds after a Commit of rs in this namespace.
func (b *Backend) Want(rs redirect.RuleSet) redirect.Listing { return wanted(rs).listing() }

// List gives what is here of ours, and the stamp if it is whole.
func (b *Backend) List() (redirect.Listing, *redirect.Stamp, error) {
	have, err := b.current()
	if err != nil {
		return redirect.Listing{}, nil, err
	}
	return have.listing(), have.wholeStamp(), nil
}

// Stamp gives the stamp, nil where there is none that can be read.
func (b *Backend) Stamp() (*redirect.Stamp, error) {
	have, err := b.current()
	if err != nil {
		return nil, err
	}
	return have.stamp(), nil
}

// current reads what is there of ours; no child process where nothing is.
func (b *Backend) current() (families, error) {
	var f families
	maybe, err := b.maybeOurs()
	if err != nil || !maybe {
		return f, err
	}
	if f.v4, err = listFamily(b.v4); err != nil {
		return f, err
	}
	if hasIPv6() {
		f.v6, err = listFamily(b.v6)
	}
	return f, err
}

// listFamily runs iptables-save, which of the legacy variant reads only tables
// that exist. go-iptables would need a child for each chain.
func listFamily(t tools) (rules, error) {
	text, err := run("", t.save, "-c")
	if err != nil {
		return rules{}, err
	}
	r, err := parseSave(text)
	if err != nil {
		return rules{}, fmt.Errorf("%s: %w", t.save, err)
	}
	return r, nil
}

// Commit makes the namespace hold exactly these rules and their stamp. Each table
// of each family is a transaction of its own, so a failure puts back what was
// there. Nothing is sent where nothing differs.
func (b *Backend) Commit(rs redirect.RuleSet, owner redirect.Attachment, extras redirect.Extras) (redirect.Change, error) {
	if err := refuseQuotes(rs); err != nil {
		return "", err
	}
	if err := refuseForeign(rs); err != nil {
		return "", err
	}
	want := wanted(rs)
	stamp := redirect.Stamp{Version: redirect.RulesVersion, Digest: want.listing().Digest(), Owner: owner, Extras: extras}
	if rs.V4() {
		want.v4 = want.v4.with(stamp.Chain())
	}
	if rs.V6() && hasIPv6() {
		want.v6 = want.v6.with(stamp.Chain())
	}
	if want.empty() {
		return "", errors.New("ipFamilies: this kernel has no IPv6, and only IPv6 is asked for")
	}
	have, err := b.current()
	if err != nil {
		return "", err
	}
	if have.same(want) {
		return redirect.Unchanged, nil
	}
	before, err := b.tablesBefore()
	if err != nil {
		return "", err
	}
	if err := b.apply(have, want, table.same); err != nil {
		if undo := b.rollBack(have, before); undo != nil {
			return "", fmt.Errorf("%w; and putting back what was there: %w", err, undo)
		}
		return "", err
	}
	if have.empty() {
		return redirect.Installed, nil
	}
	return redirect.Replaced, nil
}

// refuseQuotes refuses interface names that iptables-save cannot print so that
// they can be read back: those with a double quote.
func refuseQuotes(rs redirect.RuleSet) error {
	for _, c := range rs.Chains {
		for _, r := range c.Rules {
			for _, cond := range r.Match {
				var name redirect.Iface
				switch cond := cond.(type) {
				case redirect.InIface:
					name = cond.Iface
				case redirect.OutIface:
					name = cond.Iface
				}
				if strings.Contains(string(name), `"`) {
					return fmt.Errorf("interface %q: iptables cannot print a double quote in a name (want backend: nftables)", string(name))
				}
			}
		}
	}
	return nil
}

// apply sends each family what it lacks, IPv4 first.
func (b *Backend) apply(have, want families, alike func(table, table) bool) error {
	if err := b.v4.send(restoreText(have.v4, want.v4, alike)); err != nil {
		return err
	}
	return b.v6.send(restoreText(have.v6, want.v6, alike))
}

// send runs iptables-restore. Counters are taken where a rule has some.
func (t tools) send(text string) error {
	if text == "" {
		return nil
	}
	_, err := run(text, t.restore, "--noflush", "--counters", "-w", fmt.Sprint(int(lockWait.Seconds())))
	return err
}

// rollBack brings back what was there, counters and places of jumps included. It
// looks again, because nobody knows how far a failed restore came.
func (b *Backend) rollBack(was families, before []nftChain) error {
	now, err := b.current()
	if err != nil {
		return err
	}
	err4 := b.v4.send(restoreText(now.v4, was.v4, table.samePlaces))
	err6 := b.v6.send(restoreText(now.v6, was.v6, table.samePlaces))
	if b.variant == NFT {
		return errors.Join(err4, err6, dropNewTables(before))
	}
	return errors.Join(err4, err6)
}

// tablesBefore remembers which tables there are. Only nft's can be taken away
// again: a legacy table stays as long as its namespace, empty.
func (b *Backend) tablesBefore() ([]nftChain, error) {
	if b.variant == Legacy {
		return nil, nil
	}
	chains, err := nftChains()
	if err != nil {
		return nil, err
	}
	return slices.Clip(chains), nil
}

// Remove takes out the jumps and our chains, and nothing else. It reports whether
// there was something. A family that fails does not keep the other from going.
func (b *Backend) Remove() (bool, error) {
	have, err := b.current()
	if err != nil || have.empty() {
		return false, err
	}
	err4 := b.v4.send(restoreText(have.v4, rules{}, table.same))
	err6 := b.v6.send(restoreText(have.v6, rules{}, table.same))
	return true, errors.Join(err4, err6)
}
