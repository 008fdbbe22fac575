#!/usr/bin/env bash
# The experiment of ADR 0014: is the same ip rule, added twice, there twice? Needs
# root, iproute2.
set -euo pipefail
[ "${1-}" = inside ] || exec unshare -n bash "$0" inside
try() {
	local second=accepted
	ip rule add fwmark 1337 lookup 133 "$@"
	ip rule add fwmark 1337 lookup 133 "$@" 2>/dev/null || second=refused
	echo "${*:-without a priority}: second $second, rules there: $(ip rule | grep -c 'lookup 133')"
	while ip rule del lookup 133 2>/dev/null; do :; done
}
try
try priority 133
