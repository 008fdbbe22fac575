#!/usr/bin/env bash
# Builds what the end-to-end tests put on the node: the image of this tree, twice (two
# versions, for the rolling update), and the test pods' program.
set -euo pipefail
cd "$(dirname "$0")/.."

export CGO_ENABLED=0
# The next version knows an option more: newerOption, which this one refuses.
mkdir -p bin/e2e
sed 's/^\tcase "logFile":$/\tcase "newerOption":\n\t\t_, err = text(m)\n&/' plugin/options.go >bin/e2e/options.newer
cmp -s plugin/options.go bin/e2e/options.newer && { echo "e2e/build.sh: plugin/options.go: no case \"logFile\" to put newerOption before" >&2; exit 1; }
echo "{\"Replace\": {\"$PWD/plugin/options.go\": \"$PWD/bin/e2e/options.newer\"}}" >bin/e2e/overlay.json
for version in e2e e2e-next; do
	mkdir -p "bin/e2e/$version"
	newer=()
	[ "$version" = e2e ] || newer=(-overlay bin/e2e/overlay.json)
	go build "${newer[@]}" -trimpath -buildvcs=false -ldflags "-s -w -X main.buildVersion=$version" -o "bin/e2e/$version/" ./cmd/detour ./cmd/detour-cni ./cmd/detour-validate
	go -C deploy/image run . -o "$PWD/bin/e2e/$version.tar" -tag "detour-cni/detour:$version" -version "$version" "$(go env GOARCH)=$PWD/bin/e2e/$version" >/dev/null
done
go -C e2e build -trimpath -ldflags "-s -w" -o ../bin/ ./box
go -C kubectl-detour build -trimpath -ldflags "-s -w" -o ../bin/ .
