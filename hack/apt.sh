#!/usr/bin/env bash
# Installs what the tests, the demo and the benchmark use of Debian, and nothing when
# all of it is there. No service is started: a policy-rc.d forbids it meanwhile.
#
#	hack/apt.sh [PACKAGE...]	these instead
set -euo pipefail

packages=(
	gcc libc6-dev                   # go test -race
	iproute2 util-linux procps      # ip netns, unshare, nsenter
	nftables iptables conntrack     # the other side of every comparison
	strace                          # counts child processes and system calls
	haproxy                         # a real proxy
	pkg-config                      # runc finds libseccomp by it, for e2e
)
[ $# = 0 ] || packages=("$@")

missing=()
for p in "${packages[@]}"; do
	status=$(dpkg-query -W -f '${Status}' "$p" 2>/dev/null || true)
	[ "$status" = "install ok installed" ] || missing+=("$p")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ]; then
	echo "hack/apt.sh: missing ${missing[*]}: run as root, or: sudo apt-get install --no-install-recommends ${missing[*]}" >&2
	exit 1
fi

guard=/usr/sbin/policy-rc.d
saved=$guard.detour-saved
restore() {
	rm -f "$guard"
	if [ -e "$saved" ] || [ -L "$saved" ]; then mv "$saved" "$guard"; fi
}
if [ -e "$guard" ] || [ -L "$guard" ]; then mv "$guard" "$saved"; fi
trap restore EXIT
printf '#!/bin/sh\nexit 101\n' >"$guard"
chmod 755 "$guard"

echo "apt-get install ${missing[*]}"
log=$(mktemp)
export DEBIAN_FRONTEND=noninteractive
if ! { apt-get -q update && apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
	tail -n 40 "$log" >&2
	echo "hack/apt.sh: apt-get install ${missing[*]}: see above" >&2
	exit 1
fi
rm -f "$log"
