package install

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/detour-cni/detour/plugin"
)

// A Node is where detour is to be on this machine, and how.
type Node struct {
	// ConfDir and BinDir are the runtime's: /etc/cni/net.d and /opt/cni/bin mostly.
	ConfDir, BinDir string
	// Plugin is the binary to install, Config the file with our entry's "detour"
	// object; without one the entry has the defaults.
	Plugin, Config string
	Mode           Mode
	// Runtime is what somebody said of the runtime; CRI, where there is one, is the runtime's own
	// word, and goes before it.
	Runtime  Runtime
	CRI      *CRI
	Dialects []plugin.Dialect

	before Entry // of the last run that could use Config, as Watch keeps it
}

// A Report is what one run found and did.
type Report struct {
	Plan Plan
	// Binary is what was there before the run; empty if it was not looked at.
	Binary BinaryState
	// Refused says that an entry of ours that was there is none that the wanted build can read.
	Refused bool
	// Entry is what was wanted in the chain, Runtime what was known of the runtime then.
	Entry   Entry
	Runtime Runtime
	// Contested says, while Watch is in a fight, that it is too early to know whether what is there stays.
	Contested bool
	// Stands says, of a look and of a run that failed, that what the runtime will load has our entry now,
	// whatever its words. Broken says of a look that the runtime will load nothing, since it cannot read a
	// file. Seen is whether ConfDir could be read.
	Stands, Broken, Seen bool

	put bool // the wanted binary, by this run
}

// Changed reports whether the run did anything.
func (r Report) Changed() bool {
	return r.Binary != "" && r.Binary != BinaryCurrent && !r.stays() || len(r.Plan.Steps) > 0
}

// stays reports whether the binary is left alone: this is a downgrade, and the entry cannot go first,
// as nobody knows what it is to say, or there is no primary. What is there, a list of our own for one,
// may be what the runtime loads.
func (r Report) stays() bool {
	return r.Refused && r.Binary == BinaryOther && r.Plan.Network == ""
}

// binary is what the run has left.
func (r Report) binary() BinaryState {
	if r.put {
		return BinaryCurrent
	}
	return r.Binary
}

var errEmpty = errors.New("empty (want an object, {} for the defaults)")

// Want reads the Config file. A bad one is a ConfigError. Of the runtime it says nothing.
func (n Node) Want() (Want, error) {
	want := Want{Mode: n.Mode}
	var object []byte
	if n.Config != "" {
		var err error
		if object, err = readConf(n.Config); err != nil {
			return want, ConfigError{Path: n.Config, Err: err}
		}
		if len(bytes.TrimSpace(object)) == 0 { // as a writer leaves it for a moment, or a full disk for good
			return want, ConfigError{Path: n.Config, Err: errEmpty}
		}
	}
	var err error
	if want.Entry, err = NewEntry(object, n.Dialects); err != nil {
		return want, ConfigError{Path: n.Config, Err: err}
	}
	return want, nil
}

// Look says what a run would do now, and does nothing. The error may be a ConfigError, ErrNoPrimary,
// or a VersionError with a Plan that leaves the chain.
func (n Node) Look() (Dir, Report, error) {
	dir, r, bad, err := n.look()
	r.Stands, r.Broken = dir.hasUs(r.Runtime), dir.broken(r.Runtime)
	return dir, r, beside(bad, err)
}

// look is Look, with what is wrong with Config beside: the Plan is for the options of before then,
// and empty where nobody knows them.
func (n Node) look() (dir Dir, r Report, bad, err error) {
	want, bad := n.Want()
	var unheard error
	want.Runtime, unheard = n.AskRuntime()
	r.Runtime = want.Runtime
	if r.Binary, err = LookBinary(filepath.Join(n.BinDir, PluginType), n.Plugin); err != nil {
		return dir, r, bad, err
	}
	if dir, err = Look(n.ConfDir); err != nil {
		return dir, r, bad, err
	}
	r.Seen = true
	_, refused := dir.standing(n.Dialects)
	r.Refused = refused != nil
	decide := Decide
	if bad != nil {
		want.Entry, decide = n.entryOfBefore(dir, r.Binary), decideAsBefore
	}
	if r.Entry = want.Entry; r.Entry.Text == nil {
		if refused != nil && r.Binary != BinaryOther { // else it is a newer one's, and this would be a downgrade
			err = fmt.Errorf("the entry that is in the chain: %w", refused)
		}
		return dir, r, bad, err
	}
	r.Plan, err = decide(dir, want)
	if unheard != nil {
		r.Plan.Warnings = append(r.Plan.Warnings, fmt.Sprintf("%v: taken to be %s", unheard, want.Runtime))
	}
	return dir, r, bad, err
}

// Install does what Look says, under the directories' locks: the binary first and
// the entry last, so that no runtime ever loads an entry without its binary.
//
// A newer plugin reads every older entry, not the other way round. So when the
// entry that is there is one that the wanted plugin refuses, this is a downgrade:
// then the entry goes first, which the plugin that is there can read, and without a primary, so
// without an entry to write, neither goes. Where none of ours is there, none can.
func (n Node) Install() (r Report, err error) {
	defer func() {
		if err != nil {
			r.Stands = n.stands(r.Runtime)
		}
	}()
	for _, dir := range []string{n.ConfDir, n.BinDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return r, err
		}
	}
	release, err := n.lock()
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, release()) }()
	if err := Sweep(append(beyond(n.ConfDir), n.ConfDir, n.BinDir)...); err != nil {
		return r, err
	}
	dir, r, bad, err := n.look()
	if bad != nil {
		defer func() { err = beside(bad, err) }()
	}
	_, leave := errors.AsType[VersionError](err)
	if err != nil && !leave && !errors.Is(err, ErrNoPrimary) {
		return r, err
	}
	outside := err
	if r.stays() {
		return r, outside
	}
	if r.Binary == BinaryOther && r.Refused {
		if err := Apply(dir, r.Plan); err != nil {
			return r, err
		}
		r.Binary, err = InstallBinary(n.BinDir, n.Plugin)
		r.put = err == nil
		return r, cmp.Or(err, outside)
	}
	// What it was a moment ago may not be what it is: the state to report is the one acted on.
	if r.Binary, err = InstallBinary(n.BinDir, n.Plugin); err != nil {
		return r, err
	}
	r.put = true
	if err := Apply(dir, r.Plan); err != nil {
		return r, err
	}
	return r, outside
}

// stands reports whether what the runtime will load has our entry now.
func (n Node) stands(r Runtime) bool {
	dir, err := Look(n.ConfDir)
	return err == nil && dir.hasUs(r)
}

// standing are the entries that are in the chain now. The error says why this build of the plugin
// could not serve one.
func (d Dir) standing(dialects []plugin.Dialect) (all []Entry, err error) {
	for _, text := range d.entries() {
		var e struct {
			Detour json.RawMessage `json:"detour"`
		}
		if err := json.Unmarshal(text, &e); err != nil {
			return nil, err
		}
		entry, err := NewEntry(e.Detour, dialects)
		if err != nil {
			return nil, err
		}
		all = append(all, entry)
	}
	return all, nil
}

// entries are our entries, wherever they are.
func (d Dir) entries() (texts [][]byte) {
	for _, f := range d.Files {
		if f.List == nil {
			continue
		}
		for _, i := range f.List.Ours() {
			e := f.List.Plugins[i]
			texts = append(texts, f.List.Text[e.Start:e.End])
		}
	}
	for _, f := range d.DropIns {
		if f.Err == nil {
			texts = append(texts, f.Text)
		}
	}
	return texts
}
