// Command bench measures what detour costs, against a CNI plugin that does
// nothing and against other ways of putting the same rules into a pod. It is
// run by `make bench`, as root, and writes docs/benchmarks.md.
//
//	one round   pods made ─ ADDs that come before (CHECK needs one) ─┐   outside
//	            ┌─────────────────────────────────────────────────────┘  the clock
//	            └ pairs in random order: (do-nothing, A) (B, do-nothing) (do-nothing, C) …
//	              each a whole process, exec to exit, in a fresh network namespace
//	all rounds  median A / median do-nothing, and a 95 % interval of that ratio
//
// # Be aware
//
// Absolute times say more about the machine than about the plugin: a limit is
// always on a ratio within one run. The benchmark unshares its own mount and
// network namespace where its caller did not, and leaves nothing behind.
//
// It enters network namespaces itself (STYLE.md, section 8, gives that to
// redirect/netfilter alone): to make pods, and to start processes in them.
package main
