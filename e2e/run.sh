#!/usr/bin/env bash
# `make e2e`: the parts of a node, this tree's image, and the tests in each flavour.
#
#	e2e/run.sh [go test's arguments, such as -run X -v]
#
# DETOUR_E2E_FLAVOURS names the flavours, both by default; DETOUR_E2E_PARTS the folder of parts.
set -euo pipefail
cd "$(dirname "$0")/.."

parts=${DETOUR_E2E_PARTS:-/var/cache/detour-e2e}
mkdir -p "$parts"
export PATH=$PWD/bin:$PATH
exec 9>"$parts/lock" # one node at a time: its cgroups are the machine's
flock 9
e2e/parts/build.sh "$parts"
e2e/build.sh
cd e2e
export DETOUR_E2E=1
for flavour in ${DETOUR_E2E_FLAVOURS:-containerd-2 containerd-1.6}; do
	echo "== a node with $flavour"
	if [ -n "${DETOUR_E2E_BENCH-}" ]; then
		go test -tags sandbox -count=1 -timeout 30m . -parts "$parts" -flavour "$flavour" "$@" 9>&-
	else
		../hack/gotest.sh "e2e-$flavour" -count=1 -timeout 30m . -parts "$parts" -flavour "$flavour" "$@" 9>&-
	fi
done
