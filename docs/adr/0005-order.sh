#!/usr/bin/env bash
# The experiment of ADR 0005: who matches "not this owner" when the kernel itself
# answers? Ten connections to a closed port, ten resets. Needs root, nft, iptables.
set -euo pipefail
[ "${1-}" = inside ] || exec unshare -m -n --propagation private bash "$0" inside
mount -t tmpfs tmpfs /run
ip link set lo up
iptables-nft -t mangle -A OUTPUT -o lo -p tcp --tcp-flags RST RST -m owner ! --uid-owner 1337
iptables-legacy -t mangle -A OUTPUT -o lo -p tcp --tcp-flags RST RST -m owner ! --uid-owner 1337
nft -f - <<-N
	table inet t {
		chain out {
		type filter hook output priority -150;
		oifname lo tcp flags & rst == rst counter comment "all resets"
		oifname lo tcp flags & rst == rst meta skuid != 1337 counter comment "not owner"
		}
	}
N
for _ in $(seq 10); do (: </dev/tcp/127.0.0.1/9) 2>/dev/null || true; done
echo "resets sent:                       $(nft list chain inet t out | sed -n 's/.*packets \([0-9]*\).*all resets.*/\1/p')"
echo "matched by nft 'skuid != 1337':    $(nft list chain inet t out | sed -n 's/.*packets \([0-9]*\).*not owner.*/\1/p')"
for v in nft legacy; do
	echo "matched by iptables-$v '! --uid-owner 1337': $(iptables-$v -t mangle -nvxL OUTPUT | awk 'NR == 3 {print $1}')"
done
