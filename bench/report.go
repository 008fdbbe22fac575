package main

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// table is one part of the report.
type table struct {
	title, note string
	header      []string
	rows        [][]string
}

const (
	met    = "met"
	missed = "**missed**"
	// noisy is said where the interval of the ratio lies on both sides of the limit.
	noisy = ", within the noise"
)

// atMost judges a ratio that must not be greater than limit.
func (r ratio) atMost(limit float64) string {
	verdict := missed
	if r.value <= limit {
		verdict = met
	}
	if r.low <= limit && r.high > limit {
		verdict += noisy
	}
	return verdict
}

// atLeast judges a ratio that must not be less than limit.
func (r ratio) atLeast(limit float64) string {
	verdict := missed
	if r.value >= limit {
		verdict = met
	}
	if r.low < limit && r.high >= limit {
		verdict += noisy
	}
	return verdict
}

// markdown is the table, its columns aligned for those who read it as text.
func (t table) markdown() string {
	width := make([]int, len(t.header))
	lines := append([][]string{t.header}, t.rows...)
	for _, line := range lines {
		for i, cell := range line {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n", t.title)
	for n, line := range lines {
		for i, cell := range line {
			fmt.Fprintf(&b, "| %s%s ", cell, strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell)))
		}
		b.WriteString("|\n")
		if n == 0 {
			for _, w := range width {
				b.WriteString("|" + strings.Repeat("-", w+2))
			}
			b.WriteString("|\n")
		}
	}
	if t.note != "" {
		fmt.Fprintf(&b, "\n%s\n", t.note)
	}
	return b.String()
}

// verdicts counts the limits that were met and missed.
func verdicts(tables []table) (mets, misses int) {
	for _, t := range tables {
		for _, row := range t.rows {
			switch last := row[len(row)-1]; {
			case strings.HasPrefix(last, met):
				mets++
			case strings.HasPrefix(last, missed):
				misses++
			}
		}
	}
	return mets, misses
}
