#!/usr/bin/env bash
# Runs a command in mount, network and process namespaces of its own, so that nothing
# it does is seen by the host: no rule, address, lock, /run/netns entry or CNI cache,
# and no process outlives it.
#
#	hack/isolate.sh go test ./redirect/netfilter
set -euo pipefail

if [ "$(id -u)" != 0 ]; then
	echo "hack/isolate.sh: needs root for namespaces of its own" >&2
	exit 1
fi
if [ "${1-}" != --inside ]; then
	exec unshare --mount --net --pid --fork --kill-child --mount-proc --propagation private -- "$0" --inside "$@"
fi
shift

ip link set lo up
mount -t tmpfs -o mode=0755 tmpfs /run # /run/netns, /run/xtables.lock
mkdir -p /var/lib/cni # libcni's cache and host-local's leases
mount -t tmpfs -o mode=0700 tmpfs /var/lib/cni
export GOPROXY=off # there is no network in here: say so at once
export DETOUR_ISOLATED=1
"$@"
