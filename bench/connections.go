package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"time"

	"github.com/containernetworking/plugins/pkg/ns"
)

// slice is how long one pod opens connections before another has its turn: long
// enough for thousands, short enough for many turns.
const slice = 50 * time.Millisecond

// app is a pod with rules and a connector in it.
type app struct {
	label   string
	backend string
	count   int // excluded prefixes
	limited bool
	rates   []float64 // connections a second, a slice each

	cmd    *exec.Cmd
	orders io.WriteCloser
	counts *bufio.Reader
}

func apps() []*app {
	return []*app{
		{label: "nftables, no prefix", backend: "nftables"},
		{label: "nftables, 50 prefixes", backend: "nftables", count: 50, limited: true},
		{label: "nftables, 5,000 prefixes", backend: "nftables", count: 5000, limited: true},
		{label: "iptables-nft, no prefix", backend: "iptables-nft"},
		{label: "iptables-nft, 5,000 prefixes", backend: "iptables-nft", count: 5000},
	}
}

// connectionsTable measures new connections through the redirect.
func (b *bench) connectionsTable() (table, error) {
	all := apps()
	pods, err := b.node.makePods(len(all))
	if err != nil {
		return table{}, err
	}
	for i, a := range all {
		if err := a.start(b.binaries.detour, pods[i]); err != nil {
			return table{}, fmt.Errorf("connections: %s: %w", a.label, err)
		}
	}
	if err := b.takeTurns(all); err != nil {
		return table{}, err
	}
	for _, a := range all {
		if err := a.stop(); err != nil {
			return table{}, fmt.Errorf("connections: %s: %w", a.label, err)
		}
	}
	return connectionsRows(all), b.node.release(pods)
}

func connectionsRows(all []*app) table {
	t := table{
		title:  "New TCP connections through the redirect, one after the other",
		header: []string{"rules", "connections a second", "quartiles", "ratio to no prefix", "95 % interval", "limit", ""},
		note: "An app's connect, the proxy's accept, both closed, in one thread; IPv4. The iptables rows are there to\n" +
			"compare: a list of prefixes is walked there, rule by rule.",
	}
	for _, a := range all {
		r := ratioOf(a.rates, all[0].rates)
		row := []string{a.label, fmt.Sprintf("%.0f", median(a.rates)),
			fmt.Sprintf("%.0f-%.0f", quantile(a.rates, 0.25), quantile(a.rates, 0.75)),
			fmt.Sprintf("%.3f", r.value), fmt.Sprintf("%.3f-%.3f", r.low, r.high), "", ""}
		if a.limited {
			row[5], row[6] = "0.90-1.10", r.atLeast(0.9)
			if r.value > 1 {
				row[6] = r.atMost(1.1)
			}
		}
		t.rows = append(t.rows, row)
	}
	return t
}

// takeTurns lets each app open connections for a slice, in random order.
func (b *bench) takeTurns(all []*app) error {
	turns := max(b.pairs, 5)
	for turn := -1; turn < turns; turn++ {
		for _, i := range rand.Perm(len(all)) {
			rate, err := all[i].slice()
			if err != nil {
				return fmt.Errorf("connections: %s: %w", all[i].label, err)
			}
			if turn >= 0 {
				all[i].rates = append(all[i].rates, rate)
			}
		}
	}
	b.progress("connections: %d turns of %s", turns, slice)
	return nil
}

// start puts the rules in, as an ADD does, and the app.
func (a *app) start(binary string, p pod) error {
	c := call{binary: binary, verb: "ADD", conf: excluding(a.backend, a.count).text(p), pod: p}
	if _, err := c.run(); err != nil {
		return err
	}
	a.cmd = exec.Command("/proc/self/exe", connectorArg)
	a.cmd.Stderr = os.Stderr
	var err error
	if a.orders, err = a.cmd.StdinPipe(); err != nil {
		return err
	}
	counts, err := a.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	a.counts = bufio.NewReader(counts)
	return ns.WithNetNSPath(p.netns, func(ns.NetNS) error {
		// Closed connections leave conntrack soon: it must not grow with the turns.
		const timeout = "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_close"
		if err := os.WriteFile(timeout, []byte("1"), 0o600); err != nil {
			return err
		}
		return a.cmd.Start()
	})
}

func (a *app) slice() (float64, error) {
	if _, err := fmt.Fprintln(a.orders, slice.Milliseconds()); err != nil {
		return 0, err
	}
	var n, nanos float64
	if _, err := fmt.Fscanln(a.counts, &n, &nanos); err != nil {
		return 0, err
	}
	return n / (nanos / 1e9), nil
}

func (a *app) stop() error {
	return errors.Join(a.orders.Close(), a.cmd.Wait())
}
