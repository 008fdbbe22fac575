package main

import "slices"

// subject is something whose cost is measured: one call of one plugin.
type subject struct {
	name   string // for -only
	label  string // in the table
	binary string
	verb   string
	conf   conf
	// before is called in the pod first, outside the clock.
	before []step
	// against names the subject that runs beside this one; "" is the do-nothing plugin.
	against string
	// limit is the most that the ratio may be; 0 for none.
	limit float64
}

// step is a call that has to come before the one that is measured.
type step struct {
	verb string
	conf conf
}

func (s subject) in(p pod) call {
	return call{binary: s.binary, verb: s.verb, conf: s.conf.text(p), pod: p}
}

// ready does what comes before.
func (s subject) ready(p pod) error {
	for _, st := range s.before {
		c := call{binary: s.binary, verb: st.verb, conf: st.conf.text(p), pod: p}
		if _, err := c.run(); err != nil {
			return err
		}
	}
	return nil
}

// everyPod is the configuration under which each pod is redirected.
func everyPod(backend string, redirect map[string]any) conf {
	detour := map[string]any{"pods": "all", "backend": backend}
	if redirect != nil {
		detour["redirect"] = redirect
	}
	return conf{detour: detour}
}

func excluding(backend string, n int) conf {
	return everyPod(backend, map[string]any{"excludeOutboundCIDRs": excluded(n)})
}

// meshedOnly is the default configuration, in a pod with these annotations.
func meshedOnly(annotations map[string]string) conf {
	return conf{
		detour:      map[string]any{"pods": "meshed", "backend": "nftables"},
		annotations: annotations,
	}
}

// stamped is what the kubelet and a Deployment leave on any pod.
func stamped(more map[string]string) map[string]string {
	annotations := map[string]string{
		"kubernetes.io/config.seen":   "2026-01-01T00:00:00.000000000Z",
		"kubernetes.io/config.source": "api",
		"prometheus.io/scrape":        "true",
	}
	for k, v := range more {
		annotations[k] = v
	}
	return annotations
}

// Names by which other files find a subject.
const (
	doNothing  = "do-nothing"
	addDefault = "add-nftables"
	addNFT     = "add-iptables-nft"
	addLegacy  = "add-iptables-legacy"
	addLarge   = "prefixes-5000"
	unmeshed   = "unmeshed"
)

func (b binaries) subjects(r rules) []subject {
	control := b.nothing()
	control.name, control.label = "control", "the same again: what the noise makes of 1.00"
	return slices.Concat([]subject{control}, b.adds(), b.verbs(), b.prefixes(), b.byOtherMeans(r))
}

func (b binaries) nothing() subject {
	return subject{name: doNothing, label: "do-nothing plugin (skel + ns)", binary: b.doNothing, verb: "ADD"}
}

func (b binaries) adds() []subject {
	claimed := stamped(map[string]string{"detour-cni.dev/redirect": "true"})
	return []subject{
		{name: addDefault, label: "ADD, nftables", conf: everyPod("nftables", nil), limit: 1.2, binary: b.detour, verb: "ADD"},
		{name: "meshed", label: "ADD, nftables, claimed by annotation", conf: meshedOnly(claimed), limit: 1.25, binary: b.detour, verb: "ADD"},
		{name: unmeshed, label: "ADD of an unmeshed pod", conf: meshedOnly(stamped(nil)), limit: 1.06, binary: b.detour, verb: "ADD"},
		{name: addNFT, label: "ADD, iptables-nft, both families", conf: everyPod("iptables-nft", nil), limit: 4, binary: b.detour, verb: "ADD"},
		{name: addLegacy, label: "ADD, iptables-legacy, both families", conf: everyPod("iptables-legacy", nil), limit: 4, binary: b.detour, verb: "ADD"},
	}
}

func (b binaries) verbs() []subject {
	nft, ipt := everyPod("nftables", nil), everyPod("iptables-nft", nil)
	status := nft
	status.version = "1.1.0" // STATUS came with it
	added, addedIPT := []step{{"ADD", nft}}, []step{{"ADD", ipt}}
	return []subject{
		{name: "re-add", label: "second ADD, nothing to change", conf: nft, before: added, binary: b.detour, verb: "ADD"},
		{name: "check", label: "CHECK", conf: nft, before: added, binary: b.detour, verb: "CHECK"},
		{name: "del", label: "DEL", conf: nft, before: added, binary: b.detour, verb: "DEL"},
		{name: "status", label: "STATUS", conf: status, binary: b.detour, verb: "STATUS"},
		{name: "re-add-iptables", label: "second ADD, iptables-nft", conf: ipt, before: addedIPT, binary: b.detour, verb: "ADD"},
		{name: "check-iptables", label: "CHECK, iptables-nft", conf: ipt, before: addedIPT, binary: b.detour, verb: "CHECK"},
		{name: "del-iptables", label: "DEL, iptables-nft", conf: ipt, before: addedIPT, binary: b.detour, verb: "DEL"},
	}
}

func (b binaries) prefixes() []subject {
	return []subject{
		{name: "prefixes-1000", label: "ADD, nftables, 1,000 excluded prefixes", conf: excluding("nftables", 1000), against: addDefault, limit: 2.5, binary: b.detour, verb: "ADD"},
		{name: addLarge, label: "ADD, nftables, 5,000 excluded prefixes", conf: excluding("nftables", 5000), against: addDefault, limit: 7, binary: b.detour, verb: "ADD"},
	}
}

func (b binaries) byOtherMeans(r rules) []subject {
	restore := func(variant string) conf {
		return conf{byHand: map[string]any{"restore": []map[string]any{
			{"command": []string{"iptables-" + variant + "-restore", "--noflush"}, "stdin": r.restore4},
			{"command": []string{"ip6tables-" + variant + "-restore", "--noflush"}, "stdin": r.restore6},
		}}}
	}
	return []subject{
		{name: "nft", label: "the same rules by `nft -f`", conf: conf{byHand: map[string]any{"nft": r.nft}}, binary: b.byHand, verb: "ADD"},
		{name: "restore-nft", label: "… by iptables-nft-restore, twice", conf: restore("nft"), binary: b.byHand, verb: "ADD"},
		{name: "restore-legacy", label: "… by iptables-legacy-restore, twice", conf: restore("legacy"), binary: b.byHand, verb: "ADD"},
		{name: "go-iptables", label: "… by go-iptables, a call a rule", conf: conf{byHand: map[string]any{"calls": r.calls}}, binary: b.byHand, verb: "ADD"},
	}
}

// named gives the subject of that name.
func named(subjects []subject, name string) subject {
	i := slices.IndexFunc(subjects, func(s subject) bool { return s.name == name })
	return subjects[i]
}
