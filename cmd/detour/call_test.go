package main

import (
	"fmt"
	"testing"

	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/redirecttest"
)

// TestExplainAgreesWithThePacketTables: what a person can say with flags gets the answer
// that the kernel gives (make test-netns judges the same rows).
func TestExplainAgreesWithThePacketTables(t *testing.T) {
	asked := 0
	for _, c := range redirecttest.Cases(t) {
		rs, err := redirect.Compile(c.Spec)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range c.Rows {
			said, ok := sayable(row.Packet)
			if !ok {
				continue
			}
			asked++
			p, err := said.packet(c.Spec)
			if err != nil {
				t.Errorf("%s: %v: %v", c.Name, row, err)
				continue
			}
			got := redirect.Trace(rs, p)
			if got.Verdict != row.Want.Verdict || got.Port != row.Want.Port || got.To != row.Want.To {
				t.Errorf("%s: %v: %+v says %s %d %v", c.Name, row, said, got.Verdict, got.Port, got.To)
			}
		}
	}
	if asked < 500 {
		t.Errorf("%d rows asked, want most of them", asked)
	}
}

// sayable gives the flags for a packet; false where only conntrack or the kernel itself
// could send it.
func sayable(p redirect.Packet) (call, bool) {
	if p.State != 0 && p.State != redirect.CTNew || p.NoSocket || p.Mark != 0 || p.ConnMark != 0 || p.TransparentSocket || p.NoListener {
		return call{}, false
	}
	c := call{from: fmt.Sprintf("%d:%d", p.UID, p.GID), to: p.Dst.String(), src: p.Src.String(), proto: p.Proto.String(), in: p.Out,
		podIPs: []string{"10.9.0.2", "fd09::2", "10.8.0.1", "fd08::1"}}
	if p.Proto == redirect.ICMPProto {
		c.to = p.Dst.Addr().String()
	}
	if p.Hook == redirect.Prerouting {
		c.from, c.in = "wire", p.In
	}
	return c, true
}
