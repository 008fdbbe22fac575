// Package iptables installs a compiled redirect with the iptables tools, for
// nodes that want it there: the same rules as redirect/nftables, one
// iptables-restore a family.
//
//	b, err := iptables.Find("")              // nft or legacy, nothing touched
//	change, err := b.Commit(rules, owner, extras)
//	listing, stamp, err := b.List()          // listing equals b.Want(rules)
//
// What is wanted and what is there are the same type; a Commit sends the way
// from one to the other, each table one transaction:
//
//	*nat
//	:DETOUR_OUTPUT - [0:0]                       made, or emptied
//	-D OUTPUT -m comment … -j DETOUR_OUTPUT      jumps that are there
//	-A DETOUR_OUTPUT -o lo … -j RETURN
//	-I OUTPUT 1 -m comment … -j DETOUR_OUTPUT
//	COMMIT
//
// Every function works in the current thread's network namespace: the caller has
// entered it and keeps its goroutine locked to the thread. Children are forked
// from that thread.
//
// A first Commit runs one child a family and no other: whether anything of ours
// is there, the kernel is asked by netlink (nft) and getsockopt (legacy).
//
// Be aware:
//   - A list becomes as many rules as it needs. 5,000 prefixes are walked one by
//     one for each new connection; nftables looks them up.
//   - Rules are rendered as iptables-save prints them (1.8.9), because CHECK
//     compares text. A version that prints them otherwise would look like drift.
//   - Tables are committed one by one. If one is refused, what was there before
//     is put back, counters and all; in between the namespace has some of each.
//   - ip6tables-nft 1.8.9 ignores --counters: what is put back there counts from 0.
//     A legacy restore of any kind sets the counters of built-in policies to 0.
//   - A legacy table, once made, stays (empty) as long as its namespace.
//   - Owner matches are refused in a namespace of another user namespace:
//     [ErrForeignUserNS].
//   - Nothing here keeps two from changing one namespace at once: package netfilter
//     does. The tools' own lock is nobody's from iptables 1.8.6 on; before that it
//     is the node's, waited for at most 5 s, and a busy node can fail an ADD.
//   - Somebody else's rule that jumps to a chain of ours counts as ours: it cannot
//     stay when the chain goes.
package iptables
