#!/usr/bin/env bash
# The experiment of ADR 0006: a rule of somebody else was in the pod's OUTPUT first.
# Do calls still reach the redirect? Needs root, iptables.
set -euo pipefail
[ "${1-}" = inside ] || exec unshare -m -n --propagation private bash "$0" inside
mount -t tmpfs tmpfs /run
ip link set lo up
ip addr add 203.0.113.10/32 dev lo
try() { # where our jump goes
	iptables -t nat -F
	iptables -t nat -X
	iptables -t nat -A OUTPUT -p tcp -j ACCEPT # somebody else's
	iptables -t nat -N OURS
	iptables -t nat -A OURS -p tcp -j REDIRECT --to-ports 15001
	iptables -t nat "$@" -j OURS
	for _ in $(seq 10); do (: </dev/tcp/203.0.113.10/80) 2>/dev/null || true; done
	echo "iptables $* -j OURS: $(iptables -t nat -nvxL OURS | awk 'NR == 3 {print $1}') of 10 calls redirected"
}
try -A OUTPUT
try -I OUTPUT 1
