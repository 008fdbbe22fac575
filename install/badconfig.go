package install

import (
	"bytes"
	"errors"
	"slices"
)

// A ConfigError says why the Config file cannot be used. The node stays in the chain then, with the
// options of before.
type ConfigError struct {
	Path string
	Err  error
	// Beside is what else went wrong in the run, nil for nothing.
	Beside error
}

func (e ConfigError) Error() string {
	text := e.Path + ": " + e.Err.Error()
	if e.Beside != nil {
		text += "; " + e.Beside.Error()
	}
	return text
}

// Unwrap gives both.
func (e ConfigError) Unwrap() []error {
	if e.Beside == nil {
		return []error{e.Err}
	}
	return []error{e.Err, e.Beside}
}

// beside is the error of a run: what is wrong with Config, if anything is, and what else went wrong.
func beside(bad, err error) error {
	if e, ok := errors.AsType[ConfigError](bad); ok {
		e.Beside = err
		return e
	}
	return err
}

// Did reports whether a run that ended so has done what its Report says, and not only meant to.
func Did(err error) bool {
	if bad, ok := errors.AsType[ConfigError](err); ok {
		err = bad.Beside
	}
	return err == nil || errors.Is(err, ErrNoPrimary) // the binary is ready for when there is something to join
}

// entryOfBefore is what a Node whose Config cannot be used goes on with: the entry of its last good
// run, or else the one that is in the chain. It is empty where there is none. Where this build cannot
// read one that is there, another that is there may: then it is a newer one's, and none of ours.
func (n Node) entryOfBefore(d Dir, there BinaryState) Entry {
	all, refused := d.standing(n.Dialects)
	switch {
	case refused != nil && there == BinaryOther:
		return Entry{}
	case n.before.Text != nil:
		return n.before
	case refused != nil || len(all) == 0 || slices.ContainsFunc(all, func(e Entry) bool { return !bytes.Equal(e.Text, all[0].Text) }):
		return Entry{} // of two that differ nobody knows which is meant
	}
	return all[0]
}

// decideAsBefore is Decide with options of before. It keeps the way into the chain that is there as
// well, where that is still one: who means another has to say so with options that can be used.
func decideAsBefore(d Dir, w Want) (Plan, error) {
	there := w
	if there.Mode = d.JoinedAs(); there.Mode == Auto {
		return Decide(d, w)
	}
	p, err := Decide(d, there)
	if _, leave := errors.AsType[VersionError](err); err != nil && !leave {
		return Decide(d, w)
	}
	p.Why = "as before: options that cannot be used change nothing"
	return p, err
}
