// Package nftables puts a [redirect.RuleSet] into the current thread's network
// namespace as one nf_tables table, and reads it back.
//
//	RuleSet --build--> table --encode--> one netlink batch --> kernel
//	                                          |                  |
//	                                          +---- read <-------+
//	                                                  |
//	                                                  v
//	                                           redirect.Listing
//
// The very bytes that are sent, and those that a dump gives back, go through
// one reader; so what [Backend.Want] says and what [Backend.List] finds are
// compared expression by expression, as the kernel has them, and not as some
// tool prints them. Nothing runs outside this process.
//
//	var b nftables.Backend
//	change, err := b.Commit(rs, owner, extras) // installed, unchanged or replaced
//	got, stamp, err := b.List()
//	_, err = redirect.Check(b.Want(rs), got, stamp)
//
// Everything is in the table "detour": family inet for both address families,
// ip or ip6 for one. Chains have the RuleSet's names, every rule a counter and
// its reason as a comment, every list of more than one value is an anonymous
// set. Another table is never touched.
//
// Be aware:
//   - The thread's network namespace is what counts; no goroutine is started.
//   - A kernel without IPv6 has no inet family. Commit then uses ip, while Want
//     still speaks of inet: Check finds the stamp's digest and says "moved".
//   - One Rule is two rules in the kernel where it has prefixes of both families.
//   - The owner sets are compared in network byte order where they hold ranges,
//     and in host order where they do not: so does nft.
//   - An interface name with a double quote cannot be said in [Text]; Commit takes it.
package nftables
