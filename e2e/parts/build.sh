#!/usr/bin/env bash
# Builds the parts of a real node into one folder, once: Kubernetes, containerd, runc and
# Helm from the module proxy, etcd and a second containerd from Debian's packages, which
# are unpacked there and not installed.
#
#	e2e/parts/build.sh /var/cache/detour-e2e
set -euo pipefail
cd "$(dirname "$0")"

parts=$1
mkdir -p "$parts/bin" "$parts/debian" "$parts/tmp"

# have NAME: whether a part was built from the very go.mod that is here now.
stamp() { sha256sum "$1/go.mod" "$1/go.sum" | sha256sum | cut -c1-16; }
have() { [ "$(cat "$parts/bin/.$1" 2>/dev/null)" = "$(stamp "$1")" ]; }
done_with() { stamp "$1" >"$parts/bin/.$1"; }
build() { # FOLDER [go build's arguments]
	local folder=$1
	shift
	echo "building $folder ($*)" | cut -c1-120
	mkdir -p "$parts/bin/new"
	go -C "$folder" build -trimpath -o "$parts/bin/new/" "$@"
	mv "$parts"/bin/new/* "$parts/bin/" # whole or not at all: a build may be killed
}

debian() {
	[ -x "$parts/debian/containerd" ] && [ -x "$parts/debian/etcd" ] && return
	echo "unpacking etcd, containerd and runc of Debian"
	(
		cd "$parts/tmp"
		apt-get -q download containerd runc etcd-server libseccomp-dev >apt.log 2>&1 || { apt-get -q update >>apt.log 2>&1 && apt-get -q download containerd runc etcd-server libseccomp-dev >>apt.log 2>&1; } || { cat apt.log >&2; exit 1; }
		for d in *.deb; do dpkg -x "$d" root; done
	)
	cp "$parts"/tmp/root/usr/lib/*/libseccomp.a "$parts/debian/"
	cp -r "$parts"/tmp/root/usr/include "$parts/debian/"
	# etcd, which is looked for above, last.
	cp "$parts"/tmp/root/usr/bin/{containerd,containerd-shim-runc-v2,ctr} "$parts"/tmp/root/usr/sbin/runc "$parts/debian/"
	cp "$parts/tmp/root/usr/bin/etcd" "$parts/debian/"
	rm -rf "$parts/tmp"
}

debian
export CGO_ENABLED=0
have containerd || {
	build containerd -tags no_btrfs,no_devmapper,no_zfs -ldflags "-s -w -X github.com/containerd/containerd/v2/version.Version=v2.4.2" \
		github.com/containerd/containerd/v2/cmd/{containerd,containerd-shim-runc-v2,ctr}
	done_with containerd
}
have helm || {
	build helm -ldflags "-s -w -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=37" helm.sh/helm/v3/cmd/helm
	done_with helm
}
have runc || { # libseccomp is linked in: without seccomp every pod of a kubelet fails
	mkdir -p "$parts/debian/pkgconfig"
	printf 'Name: libseccomp\nDescription: seccomp\nVersion: 2.5.4\nLibs: -L%s -lseccomp\nCflags: -I%s/include\n' "$parts/debian" "$parts/debian" >"$parts/debian/pkgconfig/libseccomp.pc"
	CGO_ENABLED=1 PKG_CONFIG_PATH=$parts/debian/pkgconfig build runc -tags seccomp,netgo,osusergo -ldflags "-s -w -extldflags -static -X main.version=1.5.2" github.com/opencontainers/runc
	done_with runc
}
have kubernetes || {
	echo "kubelet, API server, controller manager and scheduler: about seven minutes the first time"
	build kubernetes -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=v1.37.2" k8s.io/kubernetes/cmd/{kubelet,kube-apiserver,kube-controller-manager,kube-scheduler}
	done_with kubernetes
}
