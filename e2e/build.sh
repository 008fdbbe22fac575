#!/usr/bin/env bash
# Builds what the end-to-end tests put on the node: the image of this tree, twice (two
# versions, for the rolling update), and the test pods' program.
set -euo pipefail
cd "$(dirname "$0")/.."

export CGO_ENABLED=0
for version in e2e e2e-next; do
	mkdir -p "bin/e2e/$version"
	go build -trimpath -buildvcs=false -ldflags "-s -w -X main.buildVersion=$version" -o "bin/e2e/$version/" ./cmd/detour ./cmd/detour-cni ./cmd/detour-validate
	go -C deploy/image run . -o "$PWD/bin/e2e/$version.tar" -tag "detour-cni/detour:$version" -version "$version" "$(go env GOARCH)=$PWD/bin/e2e/$version" >/dev/null
done
go -C e2e build -trimpath -ldflags "-s -w" -o ../bin/ ./box
