#!/usr/bin/env bash
# Packs kubectl detour for krew: an archive for each platform, and the manifest with their sums. The
# same sources and Go give the same archives.
#
#	hack/krew.sh VERSION [OS/ARCH...]	into bin/krew; all platforms of the manifest by default
set -euo pipefail
cd "$(dirname "$0")/.."

version=$1
shift
[ $# -gt 0 ] || set -- linux/amd64 linux/arm64 darwin/amd64 darwin/arm64
out=$PWD/bin/krew
mkdir -p "$out"
manifest=$(<deploy/krew/detour.yaml)
manifest=${manifest//\$VERSION/$version}
for platform; do
	name=${platform/\//-}
	stage=$(mktemp -d)
	GOOS=${platform%/*} GOARCH=${platform#*/} CGO_ENABLED=0 go -C kubectl-detour build -trimpath -buildvcs=false -ldflags "-s -w -X main.buildVersion=$version" -o "$stage/" .
	cp LICENSE kubectl-detour/kubectl_complete-detour "$stage/"
	tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 --mode=u=rwX,go=rX -C "$stage" -cf - . | gzip -n >"$out/detour-$name.tar.gz"
	rm -rf "$stage"
	sum=$(sha256sum "$out/detour-$name.tar.gz" | cut -d' ' -f1)
	manifest=${manifest//\$SHA256_${platform/\//_}/$sum}
done
printf '%s\n' "$manifest" >"$out/detour.yaml"
echo "$out/detour.yaml"
