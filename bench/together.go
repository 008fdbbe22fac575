package main

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"time"
)

// atOnce is how many pods a node gets in one go: a node that restarts.
const atOnce = 64

// crowd is what one subject did, over all rounds.
type crowd struct {
	perSecond []float64 // a round each
	took      []float64 // ms from the common start to each process' exit
	failed    int
	firstErr  error
}

// togetherTable measures 64 ADDs at once in 64 namespaces.
func (b *bench) togetherTable(subjects []subject) (table, error) {
	crowds, err := b.measureTogether(subjects)
	if err != nil {
		return table{}, err
	}
	t := table{
		title:  fmt.Sprintf("%d at once, each in its own namespace", atOnce),
		header: []string{"what", "a second", "p50 ms", "p99 ms", "failed", "ratio", "95 % interval", "limit", ""},
	}
	base := crowds[doNothing]
	for _, s := range subjects {
		c := crowds[s.name]
		r := ratioOf(c.perSecond, base.perSecond)
		row := []string{s.label, fmt.Sprintf("%.0f", median(c.perSecond)), fmt.Sprintf("%.0f", quantile(c.took, 0.5)),
			fmt.Sprintf("%.0f", quantile(c.took, 0.99)), fmt.Sprintf("%d of %d", c.failed, len(c.took)),
			fmt.Sprintf("%.2f", r.value), fmt.Sprintf("%.2f-%.2f", r.low, r.high), "none fails", met}
		if s.name == addDefault {
			row[7], row[8] = ">= 0.70, none fails", r.atLeast(0.7)
		}
		if c.failed > 0 {
			row[8] = missed
			b.progress("%s: %d failed; the first: %v", s.name, c.failed, c.firstErr)
		}
		t.rows = append(t.rows, row)
	}
	return t, nil
}

func (b *bench) measureTogether(subjects []subject) (map[string]*crowd, error) {
	crowds := map[string]*crowd{}
	for _, s := range subjects {
		crowds[s.name] = &crowd{}
	}
	rounds := max(b.pairs/6, 3)
	for round := -1; round < rounds; round++ {
		order := slices.Clone(subjects)
		rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, s := range order {
			c := crowds[s.name]
			if round < 0 {
				c = &crowd{} // warm-up
			}
			if err := b.together(s, c); err != nil {
				return nil, fmt.Errorf("%d at once: %s: %w", atOnce, s.name, err)
			}
		}
	}
	b.progress("%d at once: %d rounds", atOnce, rounds)
	return crowds, nil
}

// together starts all processes at one moment and adds the outcome to c.
func (b *bench) together(s subject, c *crowd) error {
	pods, err := b.node.makePods(atOnce)
	if err != nil {
		return err
	}
	commands := make([]*command, atOnce)
	for i, p := range pods {
		if commands[i], err = s.in(p).prepare(); err != nil {
			return err
		}
	}
	runtime.GC()
	took, errs := runAll(commands)
	c.perSecond = append(c.perSecond, 1000*atOnce/slices.Max(took))
	c.took = append(c.took, took...)
	for _, err := range errs {
		if err != nil {
			c.failed++
			c.firstErr = err
		}
	}
	return b.node.release(pods)
}

func runAll(commands []*command) (took []float64, errs []error) {
	took, errs = make([]float64, len(commands)), make([]error, len(commands))
	start := make(chan struct{})
	var began time.Time
	var all sync.WaitGroup
	for i, cmd := range commands {
		all.Go(func() {
			<-start
			err := cmd.Run()
			took[i] = millis(time.Since(began))
			errs[i] = cmd.finish(err)
		})
	}
	began = time.Now()
	close(start)
	all.Wait()
	return took, errs
}
