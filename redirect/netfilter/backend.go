package netfilter

import (
	"errors"
	"fmt"
	"slices"

	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/iptables"
	"github.com/detour-cni/detour/redirect/nftables"
)

// Backend names what installs the rules.
type Backend string

// The backends. Auto is NFTables where the kernel has it, else IPTables.
const (
	Auto           Backend = "auto"
	NFTables       Backend = "nftables"
	IPTables       Backend = "iptables"
	IPTablesNFT    Backend = "iptables-nft"
	IPTablesLegacy Backend = "iptables-legacy"
)

// ParseBackend reads a backend's name; "" is Auto.
func ParseBackend(text string) (Backend, error) {
	switch b := Backend(text); b {
	case "":
		return Auto, nil
	case Auto, NFTables, IPTables, IPTablesNFT, IPTablesLegacy:
		return b, nil
	}
	return "", fmt.Errorf("%q: unknown (want auto, nftables, iptables, iptables-nft or iptables-legacy)", text)
}

// tool is what a backend does in the current thread's namespace.
type tool interface {
	// Commit replaces whatever is ours by the rules and a stamp, in one step.
	Commit(redirect.RuleSet, redirect.Attachment, redirect.Extras) (redirect.Change, error)
	reader
	// Remove takes out all that is ours; false when there was nothing.
	Remove() (bool, error)
}

// reader is what CHECK needs of a backend.
type reader interface {
	Want(redirect.RuleSet) redirect.Listing
	List() (redirect.Listing, *redirect.Stamp, error)
	// Stamp gives the stamp alone, nil where there is none.
	Stamp() (*redirect.Stamp, error)
}

// variants are the iptables variants by backend.
var variants = map[Backend]iptables.Variant{IPTables: "", IPTablesNFT: "nft", IPTablesLegacy: "legacy"}

// find gives the tool of a backend, and the backend's full name.
func find(b Backend) (tool, Backend, error) {
	if b == NFTables || b == Auto {
		return nftables.Backend{}, NFTables, nil
	}
	t, err := iptables.Find(variants[b])
	if err != nil {
		return nil, b, err
	}
	return t, "iptables-" + Backend(t.Variant()), nil
}

// findFresh is find for a namespace that is known to have no rules at all.
func findFresh(b Backend) (tool, Backend, error) {
	if b == NFTables || b == Auto {
		return nftables.Backend{Fresh: true}, NFTables, nil
	}
	return find(b)
}

// Probe says whether the backend can work on this node, without changing
// anything and without a pod: for STATUS.
func Probe(b Backend) error {
	switch b {
	case NFTables:
		return nftables.Available()
	case Auto:
		err := nftables.Available()
		if err == nil || iptables.Available("") == nil {
			return nil
		}
		return err
	}
	return iptables.Available(variants[b])
}

// found is what an earlier ADD left in the namespace: by which tool, and its stamp.
// The zero found is nothing of ours; none says that no backend has any rules.
type found struct {
	tool  tool
	name  Backend
	stamp *redirect.Stamp
	none  bool
	// more is what other backends hold: that of an ADD which was killed before it took
	// out what it had replaced.
	more []found
}

// installed finds the tool that holds rules of ours here. The kernel says which
// tools could have left some; in a new pod none, and nobody is looked for.
func installed(b Backend) (found, error) {
	candidates, err := leftovers()
	if err != nil {
		return found{}, err
	}
	slices.SortStableFunc(candidates, func(x, y Backend) int { return rank(b, x) - rank(b, y) })
	var all []found
	for _, candidate := range candidates {
		t, name, err := find(candidate)
		if errors.Is(err, iptables.ErrNotFound) {
			continue
		}
		if err != nil {
			return found{}, err
		}
		stamp, err := t.Stamp()
		if err != nil && len(all) == 0 {
			return found{}, err
		}
		if stamp != nil {
			all = append(all, found{tool: t, name: name, stamp: stamp})
		}
	}
	if len(all) == 0 {
		return found{none: len(candidates) == 0}, nil
	}
	all[0].more = all[1:]
	return all[0], nil
}

// leftovers asks the kernel which backends may have rules here.
func leftovers() ([]Backend, error) {
	var of []Backend
	ours, iptablesNFT, err := nftables.Look()
	if err != nil && !errors.Is(err, nftables.ErrUnsupported) {
		return nil, err
	}
	if ours {
		of = append(of, NFTables)
	}
	if iptablesNFT {
		of = append(of, IPTablesNFT)
	}
	legacy, err := iptables.LegacyInUse()
	if legacy {
		of = append(of, IPTablesLegacy)
	}
	return of, err
}

func rank(want, b Backend) int {
	if want == b || want == Auto && b == NFTables || want == IPTables && b != NFTables {
		return 0
	}
	return 1
}
