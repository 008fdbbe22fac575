package install

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
)

// What says in a word or two what a Step does.
func (s Step) What() string {
	switch {
	case s.Text == nil:
		return "removed"
	case s.Was == nil:
		return "written"
	}
	return "changed"
}

// Found says how the file of a Step is not as it should be: what somebody else did to it, or what
// is left of another mode.
func (s Step) Found() string {
	switch {
	case s.Was == nil:
		return "no file"
	case s.Text == nil:
		return "a join that is no longer wanted"
	case bytes.Equal(s.Was, s.Text):
		return "readable by more than the primary is"
	case filepath.Ext(s.Path) == ".conf" && !json.Valid(s.Was):
		return "broken: not JSON, so that the runtime loads no network"
	case filepath.Ext(s.Path) == ".conf": // a drop-in
		return "our entry, with other words than wanted"
	}
	was, err := ParseList(s.Was)
	if err != nil {
		return fmt.Sprintf("broken: %v", err)
	}
	wanted, err := ParseList(s.Text)
	if err != nil { // never: it was made from a list that could be read
		return fmt.Sprintf("broken: %v", err)
	}
	ours, want := was.Ours(), wanted.Ours()
	switch {
	case len(want) == 0:
		return "a join that is no longer wanted"
	case len(ours) == 0:
		return "without our entry"
	case len(ours) > 1:
		return fmt.Sprintf("our entry %d times", len(ours))
	}
	a, b := was.Plugins[ours[0]], wanted.Plugins[want[0]]
	if sameJSON(was.Text[a.Start:a.End], wanted.Text[b.Start:b.End]) {
		return "a chain that is no longer the primary's"
	}
	return "our entry, with other words than wanted"
}
