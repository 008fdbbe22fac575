package install

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/detour-cni/detour/install/cri"
)

// An Asker answers for the runtime: cri.Socket.
type Asker interface {
	Version(context.Context) (string, error)
	Loaded(context.Context) (cri.Loaded, error)
}

// A CRI is the runtime's own word. It remembers what the runtime is: while that restarts, it
// does not answer, and a way into the chain must not change for that.
type CRI struct {
	Asker
	last atomic.Pointer[Runtime]
}

// AskRuntime gives what is known of the runtime: its own word, else its word of before, else what
// somebody said. The error says that it did not answer; the Runtime holds all the same.
func (n Node) AskRuntime() (Runtime, error) {
	if n.CRI == nil {
		return n.Runtime, nil
	}
	text, err := n.CRI.Version(context.Background())
	if err == nil {
		var r Runtime
		if r, err = ParseRuntime(text); err == nil {
			n.CRI.last.Store(&r)
			return r, nil
		}
	}
	if last := n.CRI.last.Load(); last != nil {
		return *last, err
	}
	return n.Runtime, err
}

// Loaded is nil when the runtime has us in memory for this network, and where nobody can say: no
// CRI, a runtime that does not tell, or one that does not answer, and so starts no pod either.
func (n Node) Loaded(network string) error {
	loaded, err := n.AskLoaded()
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	return HasUs(loaded, network)
}

// HasUs is nil when we are in what the runtime has in memory of a network.
func HasUs(loaded cri.Loaded, network string) error {
	has := "nothing of that name"
	for _, c := range loaded.Chains {
		if c.Network != network {
			continue
		}
		if slices.Contains(c.Plugins, PluginType) {
			return nil
		}
		has = strings.Join(c.Plugins, ", ")
	}
	return fmt.Errorf("the runtime has not loaded us: of network %q it has %s in memory (it reads %s)", network, has, loaded.ConfDir)
}

// errNoCRI says that there is nobody to ask.
var errNoCRI = errors.New("no CRI socket was given")

// AskLoaded gives what the runtime has in memory.
func (n Node) AskLoaded() (cri.Loaded, error) {
	if n.CRI == nil {
		return cri.Loaded{}, errNoCRI
	}
	return n.CRI.Asker.Loaded(context.Background())
}
