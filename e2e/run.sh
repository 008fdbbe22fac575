#!/usr/bin/env bash
# `make e2e`: the parts of a node, this tree's image, and the tests in each flavour.
#
#	e2e/run.sh [go test's arguments, such as -run X -v]
set -euo pipefail
cd "$(dirname "$0")/.."

e2e/parts/build.sh
e2e/build.sh
go -C e2e test -c -o "$PWD/bin/e2e/e2e.test" . # compiled while there still is a network
cd e2e
for flavour in containerd-2 containerd-1.6; do
	echo "== $flavour"
	DETOUR_E2E=1 go test -count=1 . -flavour "$flavour" "$@"
done
