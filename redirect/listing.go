package redirect

import (
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
)

// Listing is our rules as a backend keeps them, in a form of that backend's own
// in which what it sends and what it reads back are the same text: counters,
// handles and set ids left out, chains sorted by name, the stamp's chain left out.
type Listing struct{ Chains []ListedChain }

// ListedChain is one chain of a Listing. Attached says where and how it hangs
// ("nat OUTPUT -100", or iptables' jump), "" for chains that are only jumped to.
type ListedChain struct {
	Name, Attached string
	Rules          []ListedRule
}

// ListedRule is one rule: all of it, and its comment again for people.
type ListedRule struct{ Text, Comment string }

// Digest is 32 hex digits of FNV-1a over the whole Listing. It is no signature:
// whoever may change rules here may change the stamp beside them as well. So it
// need not be a cryptographic hash, which would cost the plugin 250 KB and a
// self-test at every start.
func (l Listing) Digest() string {
	h := fnv.New128a()
	var b []byte
	text := func(s string) { // its length says where it ends
		b = append(append(append(strconv.AppendInt(b[:0], int64(len(s)), 10), ' '), s...), '\n')
		_, _ = h.Write(b) // never fails (hash.Hash)
	}
	for _, c := range l.Chains {
		text("chain")
		text(c.Name)
		text(c.Attached)
		for _, r := range c.Rules {
			text(r.Text)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Drift says how the rules in a namespace differ from those that ADD installed.
type Drift struct{ What string }

func (d *Drift) Error() string { return d.What }

func drift(format string, args ...any) error { return &Drift{fmt.Sprintf(format, args...)} }

// Change is what a Commit did.
type Change string

// The changes.
const (
	Unchanged Change = "unchanged"
	Installed Change = "installed"
	Replaced  Change = "replaced"
)

// Check compares what is there with what the Spec of today wants, and gives the
// first difference as a *Drift. Where the stamp says that ADD installed something
// else (for another Spec, or by a build that made other rules of it), it is the stamp's
// digest that counts, and moved is true.
func Check(want, got Listing, stamp *Stamp) (moved bool, err error) {
	if len(got.Chains) == 0 && stamp == nil {
		return false, drift("no rules of detour: they were removed, or never installed")
	}
	if stamp == nil {
		return false, drift("chain %s is missing or altered: nothing says what ADD installed", ChainStamp)
	}
	if stamp.Digest == want.Digest() {
		return false, want.diff(got)
	}
	if found := got.Digest(); found != stamp.Digest {
		return true, drift("rules are not those that ADD installed: digest %s (want %s)", found, stamp.Digest)
	}
	return true, nil
}

func (l Listing) diff(got Listing) error {
	for _, want := range l.Chains {
		i := slices.IndexFunc(got.Chains, func(c ListedChain) bool { return c.Name == want.Name })
		if i < 0 {
			return drift("chain %s is missing", want.Name)
		}
		if err := want.diff(got.Chains[i]); err != nil {
			return err
		}
	}
	for _, c := range got.Chains {
		if !slices.ContainsFunc(l.Chains, func(w ListedChain) bool { return w.Name == c.Name }) {
			return drift("chain %s is not one that ADD installed", c.Name)
		}
	}
	return nil
}

func (c ListedChain) diff(got ListedChain) error {
	if c.Attached != got.Attached {
		return drift("chain %s hangs on %q (want %q)", c.Name, got.Attached, c.Attached)
	}
	for i := range max(len(c.Rules), len(got.Rules)) {
		switch {
		case i < len(c.Rules) && i < len(got.Rules) && c.Rules[i].Text == got.Rules[i].Text:
			continue
		case len(c.Rules) > len(got.Rules):
			return drift("chain %s: rule %d is missing: %s", c.Name, i+1, c.Rules[i].name())
		case len(c.Rules) < len(got.Rules):
			return drift("chain %s: rule %d is not one that ADD installed: %s", c.Name, i+1, got.Rules[i].name())
		default:
			return drift("chain %s: rule %d was changed: %s (want %s)", c.Name, i+1, got.Rules[i].Text, c.Rules[i].Text)
		}
	}
	return nil
}

// name is how people know a rule.
func (r ListedRule) name() string {
	if r.Comment != "" {
		return fmt.Sprintf("%q", r.Comment)
	}
	return r.Text
}
