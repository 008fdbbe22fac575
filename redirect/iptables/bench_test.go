package iptables

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect"
)

// BenchmarkText is the rendering alone.
func BenchmarkText(b *testing.B) {
	rs, err := redirect.Compile(redirect.EnvoyDefaults())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		_ = Text(rs, true)
	}
}

// BenchmarkLook is what a first ADD does before its first child: choose the
// variant, and find out that nothing of ours is there.
func BenchmarkLook(b *testing.B) {
	runtime.LockOSThread() // for good: the namespace goes with the thread
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		b.Skip(err)
	}
	for b.Loop() {
		t, err := Find("")
		if err != nil {
			b.Fatal(err)
		}
		if s, err := t.Stamp(); s != nil || err != nil {
			b.Fatal(s, err)
		}
	}
}

// BenchmarkFirstCommit is a first ADD's commit, in a fresh namespace each.
func BenchmarkFirstCommit(b *testing.B) {
	rs, err := redirect.Compile(redirect.EnvoyDefaults())
	if err != nil {
		b.Fatal(err)
	}
	for _, v := range []Variant{NFT, Legacy} {
		b.Run(string(v), func(b *testing.B) {
			runtime.LockOSThread()
			for b.Loop() {
				b.StopTimer()
				if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
					b.Skip(err)
				}
				b.StartTimer()
				t, err := Find(v)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := t.Commit(rs, redirect.Attachment{ContainerID: "b", IfName: "eth0"}, redirect.Extras{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
