package install

import (
	"fmt"
	"slices"
)

// withoutConfig is a run for a Config that cannot be used: bad says why. What the entry is to say is
// not known, so none is written; what is there needs its binary. A build that could not read the
// entry that is there would be a downgrade, where the entry has to go first: then that stays as well.
func (n Node) withoutConfig(bad error) (r Report, err error) {
	dir, err := Look(n.ConfDir)
	if err != nil {
		return r, fmt.Errorf("%w; %w", bad, err)
	}
	r.Runtime, _ = n.AskRuntime() // not known is an answer too
	r.Stands = dir.hasUs(r.Runtime)
	if dir.entryRefused(n.Dialects) != nil {
		return r, bad
	}
	was, err := InstallBinary(n.BinDir, n.Plugin)
	if err != nil {
		return r, fmt.Errorf("%w; %w", bad, err)
	}
	r.Binary = was
	return r, bad
}

// hasUs reports whether the file that a runtime will load has an entry of ours, whatever its words.
func (d Dir) hasUs(r Runtime) bool {
	for _, f := range d.Files {
		if f.Err != nil && r.skipsBroken() {
			continue
		}
		if slices.Contains(f.Plugins(), PluginType) {
			return true
		}
		_, dropIn := d.DropIns[f.Network()]
		return dropIn && f.List != nil && !f.List.InlineOnly && (r.ReadsDropIns() || !r.Known())
	}
	return false
}
