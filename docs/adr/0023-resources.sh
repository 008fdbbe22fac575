#!/usr/bin/env bash
# What `detour install` needs: its memory at rest and at most, and its CPU, over a conf dir whose list
# somebody rewrites ten times a second for half a minute, and a result cache of 250 pods. As root or not.
set -euo pipefail
cd "$(dirname "$0")/../.."
dir=$(mktemp -d)
trap 'kill $pid 2>/dev/null; wait $pid 2>/dev/null; rm -rf "$dir"' EXIT
CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o "$dir/" ./cmd/detour ./cmd/detour-cni
mkdir -p "$dir/net.d" "$dir/bin" "$dir/results"
list='{"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "bridge"}]}'
echo "$list" >"$dir/net.d/10-pods.conflist"
for n in $(seq 250); do
	printf '{"kind":"cniCacheV1","containerId":"c%s","ifName":"eth0","networkName":"pods","netns":"/var/run/netns/n%s","config":"%s","cniArgs":[["K8S_POD_NAMESPACE","shop"],["K8S_POD_NAME","p%s"]],"capabilityArgs":{"io.kubernetes.cri.pod-annotations":{"sidecar.istio.io/status":"{}","filler":"%0800d"}}}' \
		"$n" "$n" "$(base64 -w0 <<<"$list")" "$n" 0 >"$dir/results/pods-c$n-eth0"
done
"$dir/detour" install --conf-dir "$dir/net.d" --bin-dir "$dir/bin" --cache "$dir/results" --mode splice --listen 127.0.0.1:0 2>"$dir/log" &
pid=$!
sleep 5
cpu() { awk '{print ($14 + $15) * 10}' "/proc/$pid/stat"; } # ticks of 10 ms
rss() { awk -v want="$1" '$1 == want {print $2 / 1024}' "/proc/$pid/status"; }
echo "at rest: $(rss VmRSS:) MiB"
rest=$(cpu)
sleep 20
echo "CPU at rest: $(($(cpu) - rest)) ms in 20 s"
busy=$(cpu)
for n in $(seq 300); do
	echo "$list" >"$dir/net.d/.new" && mv "$dir/net.d/.new" "$dir/net.d/10-pods.conflist"
	touch "$dir/results/pods-c1-eth0"
	sleep 0.1
done
echo "rewritten 300 times in 30 s: CPU $(($(cpu) - busy)) ms, $(grep -c msg=repaired "$dir/log") repairs, at most $(rss VmHWM:) MiB"
