// Package redirect says which of a pod's packets go to its proxy, and why.
//
//	Spec --Compile--> RuleSet --Trace(packet)--> Outcome
//	                     |
//	                     +-- redirect/nftables and redirect/iptables render it
//
// A [Spec] is what a mesh, a node and a pod's author want. [Compile] turns it
// into a [RuleSet]: chains of rules in netfilter's own terms, each with its
// reason. [Trace] walks a RuleSet for one packet. The two backends only
// translate a RuleSet, they decide nothing; so what Trace says, and what the
// kernel does, come from the same page.
//
//	         OUTPUT (app, proxy)                    PREROUTING (wire, and lo again)
//	raw      DETOUR_ZONE    apps' DNS in a zone
//	mangle   DETOUR_REPLY   tproxy: marks           DETOUR_TPROXY | DETOUR_INVALID
//	nat      DETOUR_OUTPUT  apps to outboundPort    DETOUR_INBOUND  wire to inboundPort
//
// Everything here is pure: no system call, no clock, no log; standard library only.
//
// Be aware:
//   - nat sees only a connection's first packet. A packet on lo keeps its
//     conntrack entry from OUTPUT, so nat PREROUTING is not asked again for it,
//     but raw and mangle PREROUTING are.
//   - No rule says "not this owner": packets without a socket (resets, echo
//     replies) would match that in iptables and not in nftables. Order does it.
//   - Prefixes and ports in a RuleSet are merged: sorted and disjoint.
package redirect
