package nftables

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect"
)

// What a commit costs in this process, without the kernel's part.
func BenchmarkEncode(b *testing.B) {
	for _, prefixes := range []int{0, 1000, 5000} {
		rs := withPrefixes(b, prefixes)
		b.Run(fmt.Sprintf("prefixes=%d", prefixes), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				stamped(rs, inet, owner, redirect.Extras{}, nil)
			}
		})
	}
}

func withPrefixes(t testing.TB, n int) redirect.RuleSet {
	t.Helper()
	s := redirect.EnvoyDefaults()
	for i := range n {
		p, err := redirect.ParsePrefix(fmt.Sprintf("20.%d.%d.0/24", i>>7, i<<1&255))
		if err != nil {
			t.Error(err)
		}
		s.ExcludeOutboundCIDRs = append(s.ExcludeOutboundCIDRs, p)
	}
	return compile(t, s)
}

// The two ways of docs/adr/0002: ask for the table first, as Commit does, or
// send the exclusive batch and ask when it is refused.
func BenchmarkCommit(b *testing.B) {
	rs := compile(b, redirect.EnvoyDefaults())
	ask := func() error {
		_, err := Backend{}.Commit(rs, owner, redirect.Extras{})
		return err
	}
	exclusive := func() error {
		c, err := open()
		if err != nil {
			return err
		}
		defer c.close()
		_, err = c.install(rs, owner, redirect.Extras{}, nil)
		if errors.Is(err, unix.EEXIST) {
			return ask()
		}
		return err
	}
	for _, way := range []struct {
		name   string
		commit func() error
	}{{"ask", ask}, {"exclusive", exclusive}} {
		b.Run("first/"+way.name, func(b *testing.B) { eachInNetns(b, func() error { return nil }, way.commit) })
		b.Run("second/"+way.name, func(b *testing.B) { eachInNetns(b, ask, way.commit) })
	}
	b.Run("remove", func(b *testing.B) {
		eachInNetns(b, ask, func() error { _, err := Backend{}.Remove(); return err })
	})
	b.Run("stamp", func(b *testing.B) {
		eachInNetns(b, ask, func() error { _, err := Backend{}.Stamp(); return err })
	})
	b.Run("available", func(b *testing.B) { eachInNetns(b, ask, Available) })
}

// eachInNetns measures one call in each of many namespaces. It holds one more
// with rules in it, as every node has one: else the kernel patches its code each
// time that the first or the last netfilter hook comes or goes.
func eachInNetns(b *testing.B, before, measured func() error) {
	inNetns(b, func() {
		if err := before(); err != nil {
			b.Error(err)
		}
		var total time.Duration
		for range b.N {
			inNetns(b, func() {
				if err := before(); err != nil {
					b.Error(err)
				}
				start := time.Now()
				if err := measured(); err != nil {
					b.Error(err)
				}
				total += time.Since(start)
			})
		}
		b.ReportMetric(float64(total.Microseconds())/float64(b.N), "us/call")
	})
}
