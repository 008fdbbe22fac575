#!/usr/bin/env bash
# The experiment of ADR 0007: what does looking for rules leave behind in a new
# namespace? Needs root, nft, iptables in both variants.
set -euo pipefail
if [ "${1-}" != inside ]; then
	for look in 'iptables-nft -t nat -S' 'iptables-legacy-save' 'iptables-legacy -t nat -S'; do
		unshare -m -n --propagation private bash "$0" inside $look
	done
	exit
fi
shift
mount -t tmpfs tmpfs /run
"$@" >/dev/null 2>&1
legacy=$(cat /proc/net/ip_tables_names 2>/dev/null | wc -l)
echo "$*: $legacy legacy tables, $(nft list tables | wc -l) nftables tables"
