package main

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
)

// pair is one process of a subject and, right beside it, one of what it is
// compared with.
type pair struct{ own, beside cost }

// warmUp is how many rounds come before those that count: page cache, kernel
// modules, the CPU's clock.
const warmUp = 3

// measurePairs runs every subject once a round, in random order, each next to
// its comparison, which comes first in every other pair by chance.
func (b *bench) measurePairs(subjects []subject) (map[string][]pair, error) {
	pairs := map[string][]pair{}
	for round := -warmUp; round < b.pairs; round++ {
		got, err := b.round(subjects)
		if err != nil {
			return nil, err
		}
		if round < 0 {
			continue
		}
		for name, p := range got {
			pairs[name] = append(pairs[name], p)
		}
		if done := round + 1; done%10 == 0 || done == b.pairs {
			b.progress("one at a time: %d of %d rounds", done, b.pairs)
		}
	}
	return pairs, nil
}

// contest is a subject and its comparison, with the pods they run in.
type contest struct {
	subject, beside subject
	pods            [2]pod
}

func (b *bench) round(subjects []subject) (map[string]pair, error) {
	pods, err := b.node.makePods(2 * len(subjects))
	if err != nil {
		return nil, err
	}
	contests := make([]contest, len(subjects))
	for i, s := range subjects {
		c := contest{subject: s, beside: b.compared(s), pods: [2]pod{pods[2*i], pods[2*i+1]}}
		contests[i] = c
		if err := c.subject.ready(c.pods[0]); err != nil {
			return nil, fmt.Errorf("before %s: %w", s.name, err)
		}
		if err := c.beside.ready(c.pods[1]); err != nil {
			return nil, fmt.Errorf("before %s: %w", c.beside.name, err)
		}
	}
	runtime.GC() // ours, not in the middle of a measurement
	rand.Shuffle(len(contests), func(i, j int) { contests[i], contests[j] = contests[j], contests[i] })
	got := map[string]pair{}
	for _, c := range contests {
		p, err := c.run()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.subject.name, err)
		}
		got[c.subject.name] = p
	}
	return got, b.node.release(pods)
}

func (b *bench) compared(s subject) subject {
	if s.against == "" {
		return b.binaries.nothing()
	}
	return named(b.subjects, s.against)
}

func (c contest) run() (pair, error) {
	calls := []call{c.subject.in(c.pods[0]), c.beside.in(c.pods[1])}
	order := rand.Perm(2)
	var took [2]cost
	for _, i := range order {
		var err error
		if took[i], err = calls[i].run(); err != nil {
			return pair{}, err
		}
	}
	return pair{own: took[0], beside: took[1]}, nil
}

// side is one of the two in many pairs.
type side struct{ elapsed, cpu []float64 }

func (s *side) add(c cost) {
	s.elapsed, s.cpu = append(s.elapsed, c.elapsed), append(s.cpu, c.cpu)
}

func split(pairs []pair) (own, beside side) {
	for _, p := range pairs {
		own.add(p.own)
		beside.add(p.beside)
	}
	return own, beside
}

// pairsTable is the table of processes that run alone.
func (b *bench) pairsTable(subjects []subject) (table, error) {
	pairs, err := b.measurePairs(subjects)
	if err != nil {
		return table{}, err
	}
	t := table{
		title:  "One at a time",
		header: []string{"what", "median ms", "quartiles", "CPU ms", "ratio", "95 % interval", "of", "limit", ""},
		note:   "CPU ms is the median of user and system time, children included: the steadier of the two on a busy machine.",
	}
	var nothing side
	for _, s := range subjects {
		own, beside := split(pairs[s.name])
		if s.against == "" {
			nothing.elapsed = append(nothing.elapsed, beside.elapsed...)
			nothing.cpu = append(nothing.cpu, beside.cpu...)
		}
		t.rows = append(t.rows, pairRow(s, own, ratioOf(own.elapsed, beside.elapsed)))
	}
	if nothing.elapsed != nil {
		first := pairRow(b.binaries.nothing(), nothing, ratio{1, 1, 1})
		t.rows = slices.Insert(t.rows, 0, first)
	}
	return t, nil
}

func pairRow(s subject, own side, r ratio) []string {
	of := doNothing
	if s.against != "" {
		of = s.against
	}
	row := []string{s.label, ms(median(own.elapsed)), spread(own.elapsed), ms(median(own.cpu)), fmt.Sprintf("%.2f", r.value),
		fmt.Sprintf("%.2f-%.2f", r.low, r.high), of, "", ""}
	if s.limit != 0 {
		row[7], row[8] = fmt.Sprintf("<= %.2f", s.limit), r.atMost(s.limit)
	}
	return row
}

func ms(v float64) string { return fmt.Sprintf("%.2f", v) }

func spread(v []float64) string {
	return ms(quantile(v, 0.25)) + "-" + ms(quantile(v, 0.75))
}
