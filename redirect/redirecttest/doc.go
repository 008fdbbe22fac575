// Package redirecttest holds what tests of the redirect share: the rule cases in
// testdata/rules, namespaces to try them in, and the judge that asks the kernel.
// Only tests import it.
//
// A rule case is a txtar file: prose, then
//
//	-- spec.json --   keys laid over redirect.EnvoyDefaults
//	-- packets --     a table: one packet a line, and what must become of it
//	-- nftables --    what the backends are sent (go test -update writes these)
//	-- iptables --
//	-- ip6tables --
//
// The packets live in a world of three namespaces:
//
//	    peer ("the wire")               pod                        side (behind net1)
//	+---------------------+   +-------------------------+   +----------------------+
//	| answers for any     |   | lo    127.0.0.1 ::1     |   |                      |
//	| destination         |   |                         |   |                      |
//	|  10.9.0.1  fd09::1  |---| eth0  10.9.0.2  fd09::2 |   |                      |
//	|                     |   | net1  10.8.0.1  fd08::1 |---|  10.8.0.5  fd08::5   |
//	+---------------------+   +-------------------------+   +----------------------+
//	                           forwards; its default route is the peer
//
// The columns of the table:
//
//	hook         OUTPUT (a socket in the pod), PREROUTING (from the wire),
//	             PREROUTING@net1 (from behind the second interface, whose name is free)
//	uid          1000, 1337:1000 (uid:gid; the gid is the uid unless given), "-" from
//	             outside, "none" for what the kernel itself sends (resets, echo replies)
//	source       address, or address:port where the port matters; an address that is
//	             not the pod's own is a transparent proxy's
//	destination  10.9.0.1:80 is TCP, udp/10.9.0.1:53, icmp/10.9.0.1
//	want         pass, redirect 15001, tproxy 15006, dnat 10.0.0.1:8600, drop
//
// and then, where it is not the usual, what the packet brings along:
//
//	ct=invalid, ct=established, ct=related
//	mark=1337, connmark=1337   of the packet, of its connection
//	socket=transparent         a transparent socket has this connection already
//	                           (ct=established from outside alone, to a server's port: the
//	                           ACK that answers a SYN cookie, before there is a socket)
//	flags=syn                  a new connection from the port of one that the proxy closed
//	                           first: with socket=transparent its socket is in TIME_WAIT,
//	                           with ct=established conntrack alone remembers it; from the
//	                           smaller port, whom the pod called in vain calls back
//	listener=none, listener=plain   nobody listens on inboundPort, or nobody transparent
//
// and what else becomes of it, which is "nothing" unless it says so:
//
//	zone=1                     conntrack's zone
//	outmark=1337, saved=1337   the packet's mark and the connection's, afterwards
//	                           (tproxy sets the packet's by itself)
//
// Each row is judged by [redirect.Trace] and, by [Judge], in the kernel: real
// listeners in all three namespaces, a real client socket of the row's owner,
// bound to the row's source. What counts is who answered, which destination they
// take for the original one, whom they saw calling, and that the answer arrived.
//
// Be aware:
//   - Rows run in order in one pod. Two rows with the same 5-tuple, source port
//     included, are a collision: the first one's conntrack entry is still there.
//   - Only the redirect is under test: the proxy here answers, it does not relay.
package redirecttest
