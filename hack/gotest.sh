#!/usr/bin/env bash
# Runs one stage of tests and keeps its events for hack/count.sh.
#
#	hack/gotest.sh [--kernel] STAGE [go test's arguments]
#
# With --kernel the tests may touch the kernel: they get namespaces of their own, and in
# CI one that skips has failed. Without root such a stage says that it was left out.
set -euo pipefail

kernel=
if [ "$1" = --kernel ]; then
	kernel=1
	shift
fi
stage=$1
shift

if [ -n "$kernel" ] && [ "$(id -u)" != 0 ]; then
	echo "left out: $stage needs root, for namespaces of its own and their rules"
	[ "${CI-}" != true ]
	exit
fi

events=$(dirname "$0")/../bin/test/$stage.json
mkdir -p "$(dirname "$events")"
run=(gotestsum --format pkgname-and-test-fails --format-hide-empty-pkg --hide-summary=skipped --jsonfile "$events" --)
if [ -z "$kernel" ]; then
	exec "${run[@]}" "$@"
fi

go list -deps -test ./... >/dev/null # modules, while there still is a network
export DETOUR_NETNS_TESTS=1
if [ "${CI-}" = true ]; then export DETOUR_NO_SKIP=1; fi
hack/isolate.sh "${run[@]}" -count=1 "$@"
grep -q '"Action":"pass".*"Test":' "$events" || { # a stage that runs nothing promises nothing
	echo "hack/gotest.sh: $stage: no test ran" >&2
	exit 1
}
