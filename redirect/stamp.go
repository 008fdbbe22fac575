package redirect

import (
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"strconv"
	"strings"
)

// RulesVersion numbers how rules are compiled and rendered, for who reads the stamp. It goes up
// when the same Spec begins to give other rules.
//
//	1  until 2026-11
//	2  tproxy: a SYN is never taken for part of a connection that is there (ADR 24);
//	   a rerouted interface's traffic is not inbound where nothing outbound is captured
const RulesVersion = 2

// Stamp is what ADD writes next to its rules, in two rule comments: CHECK and
// DEL need no state outside the namespace.
type Stamp struct {
	Version int
	// Digest is over the rules as the backend reads them back, without the stamp.
	Digest string
	Owner  Attachment
	Extras Extras
}

// Attachment names an ADD as CNI does (CNI_CONTAINERID, CNI_IFNAME).
type Attachment struct{ ContainerID, IfName string }

// Extras is what an ADD put into the namespace besides rules.
type Extras struct {
	LoopbackAddrs []netip.Addr // at most one in practice: see maxStampAddrs
	// LocalMark is there for MarkV4, MarkV6 or both; Table 0: for none.
	LocalMark      LocalMark
	MarkV4, MarkV6 bool
}

// ChainStamp is the chain that holds the stamp: in nat, on no hook.
const ChainStamp = "DETOUR_STAMP"

// maxContainerID is the longest container id that a stamp holds in full; the
// usual ones have 64. A longer one is kept as its first half and an FNV-1a of all.
const maxContainerID = 64

// maxStampAddrs is how many addresses fit a comment of 128 bytes.
const maxStampAddrs = 1

// Chain gives the stamp as a chain of rules that no packet meets.
func (s Stamp) Chain() Chain {
	id := shortID(s.Owner.ContainerID)
	rules := []Rule{{nil, Return{}, fmt.Sprintf("v%d %s %s %s", s.Version, s.Digest, id, s.Owner.IfName)}}
	return Chain{Name: ChainStamp, Table: NAT, Hook: NoHook, Rules: append(rules, Rule{nil, Return{}, s.Extras.String()})}
}

func shortID(id string) string {
	if len(id) <= maxContainerID {
		return id
	}
	h := fnv.New128a()
	_, _ = h.Write([]byte(id)) // never fails (hash.Hash)
	return id[:maxContainerID/2] + hex.EncodeToString(h.Sum(nil))
}

// Is reports whether the stamp was made by this attachment.
func (s Stamp) Is(a Attachment) bool {
	return s.Owner.IfName == a.IfName && shortID(s.Owner.ContainerID) == shortID(a.ContainerID)
}

// String gives "extras: lo ::6, mark 1337 table 133 v4+v6", or "extras: none".
func (e Extras) String() string {
	var parts []string
	for _, a := range e.LoopbackAddrs {
		parts = append(parts, "lo "+a.String())
	}
	if e.LocalMark.Table != 0 {
		families := map[[2]bool]string{{true, false}: "v4", {false, true}: "v6", {true, true}: "v4+v6"}[[2]bool{e.MarkV4, e.MarkV6}]
		parts = append(parts, fmt.Sprintf("mark %d table %d %s", e.LocalMark.Mark, e.LocalMark.Table, families))
	}
	if len(parts) == 0 {
		return "extras: none"
	}
	return "extras: " + strings.Join(parts, ", ")
}

// ErrNoStamp says that comments are not a stamp's.
var ErrNoStamp = errors.New("not a stamp")

// ParseStamp reads a stamp back from the comments of its chain's rules.
func ParseStamp(comments []string) (Stamp, error) {
	if len(comments) != 2 {
		return Stamp{}, fmt.Errorf("%w: %d rules in %s (want 2)", ErrNoStamp, len(comments), ChainStamp)
	}
	words := strings.Fields(strings.TrimPrefix(comments[0], CommentPrefix))
	if len(words) != 4 {
		return Stamp{}, fmt.Errorf("%w: comment %s", ErrNoStamp, quote(comments[0]))
	}
	version, err := strconv.Atoi(strings.TrimPrefix(words[0], "v"))
	if err != nil || version < 1 {
		return Stamp{}, fmt.Errorf("%w: version %s", ErrNoStamp, quote(words[0]))
	}
	extras, err := parseExtras(strings.TrimPrefix(comments[1], CommentPrefix))
	if err != nil {
		return Stamp{}, err
	}
	return Stamp{Version: version, Digest: words[1], Owner: Attachment{words[2], words[3]}, Extras: extras}, nil
}

func parseExtras(text string) (Extras, error) {
	var e Extras
	bad := fmt.Errorf("%w: comment %s", ErrNoStamp, quote(text))
	list, ok := strings.CutPrefix(text, "extras: ")
	if !ok {
		return e, bad
	}
	if list == "none" {
		return e, nil
	}
	for _, part := range strings.Split(list, ", ") {
		if a, ok := strings.CutPrefix(part, "lo "); ok {
			addr, err := ParseAddr(a)
			if err != nil {
				return e, bad
			}
			e.LoopbackAddrs = append(e.LoopbackAddrs, addr)
			continue
		}
		words := strings.Fields(part)
		if len(words) != 5 || words[0] != "mark" || words[2] != "table" {
			return e, bad
		}
		mark, err1 := parseUint32(words[1])
		table, err2 := parseUint32(words[3])
		if err1 != nil || err2 != nil {
			return e, bad
		}
		e.LocalMark = LocalMark{mark, table}
		families := words[4]
		e.MarkV4, e.MarkV6 = strings.Contains(families, "v4"), strings.Contains(families, "v6")
	}
	return e, nil
}
