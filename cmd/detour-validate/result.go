package main

import (
	"fmt"
	"strings"
)

// state is what a check came to.
type state string

const (
	proved  state = "proved"
	broken  state = "BROKEN"
	absent  state = "absent" // the pod has no such family
	unknown state = "not provable"
)

// result is one check.
type result struct {
	what  string // "IPv4 outbound TCP"
	state state
	why   string
}

func (r result) String() string { return fmt.Sprintf("%s: %s: %s", r.what, r.state, r.why) }

// verdict is the exit code and the line: what is broken, or else what was proved.
func verdict(all []result) (code int, line string) {
	said := map[state][]string{}
	for _, r := range all {
		text := r.what
		if r.state == broken || r.state == unknown {
			text += " (" + r.why + ")"
		}
		said[r.state] = append(said[r.state], text)
	}
	switch {
	case len(said[broken]) > 0:
		return exitBroken, "detour-validate: NOT redirected as it should be: " + strings.Join(said[broken], "; ")
	case len(said[proved]) == 0:
		return exitUnknown, "detour-validate: nothing could be proved: the pod has neither an IPv4 nor an IPv6 route"
	}
	line = "detour-validate: ok: " + strings.Join(said[proved], ", ")
	for _, s := range []state{absent, unknown} {
		if len(said[s]) > 0 {
			line += fmt.Sprintf("; %s: %s", s, strings.Join(said[s], ", "))
		}
	}
	return 0, line
}
