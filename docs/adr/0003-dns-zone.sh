#!/usr/bin/env bash
# The experiment of ADR 0003: an app's DNS query and the proxy's own, from the very
# same address and port, under four ways to keep them apart. Needs root, nft, python3.
set -euo pipefail
[ "${1-}" = inside ] || exec unshare -m -n -p -f --kill-child --mount-proc --propagation private bash "$0" inside
mount -t tmpfs tmpfs /run
ip link set lo up
ip netns add pod
ip link add eth0 netns pod type veth peer name wire
ip addr add 10.9.0.1/24 dev wire && ip link set wire up
ip -n pod addr add 10.9.0.2/24 dev eth0 && ip -n pod link set eth0 up && ip -n pod link set lo up

cat > /run/udp.py <<'P'
import os, socket, sys
def udp(uid, addr):                                      # meta skuid is who made the socket
    os.seteuid(uid); s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); os.seteuid(0)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(addr)
    return s
def server(addr, name, uid):                             # answers everybody with its name
    s = udp(uid, addr)
    if os.fork() == 0:
        while True:
            _, who = s.recvfrom(99); s.sendto(name.encode(), who)
def ask(uid, source, to):                                # gives the name of who answered
    s = udp(uid, source)
    s.connect(to); s.settimeout(0.4); s.send(b"?")
    try: return s.recv(99).decode()
    except OSError: return "nobody"
if sys.argv[1] == "wire":  server(("10.9.0.1", 53), "upstream", 0); os.wait()
if sys.argv[1] == "pod":   server(("127.0.0.1", 15053), "proxy", 1337); server(("10.9.0.2", 9999), "app", 1000); os.wait()
if sys.argv[1] == "ask":   print(ask(int(sys.argv[2]), (sys.argv[3], int(sys.argv[4])), (sys.argv[5], int(sys.argv[6]))))
P
python3 /run/udp.py wire &
ip netns exec pod python3 /run/udp.py pod &
until [ "$(ip netns exec pod ss -Huln | wc -l)$(ss -Huln | wc -l)" = 21 ]; do :; done
ask() { ip netns exec pod python3 /run/udp.py ask "$@"; }

port=40000
try() { # name, rules of raw OUTPUT
	ip netns exec pod nft -f - <<-N
		flush ruleset
		table inet t {
			chain zone { type filter hook output priority -300;
		$2
			}
			chain nat { type nat hook output priority -100;
				meta skuid 1337 return
				udp dport 53 redirect to :15053
			}
		}
	N
	port=$((port + 2))
	a1=$(ask 1000 10.9.0.2 $port 10.9.0.1 53) p1=$(ask 1337 10.9.0.2 $port 10.9.0.1 53)
	p2=$(ask 1337 10.9.0.2 $((port + 1)) 10.9.0.1 53) a2=$(ask 1000 10.9.0.2 $((port + 1)) 10.9.0.1 53)
	in=$(python3 /run/udp.py ask 0 10.9.0.1 53 10.9.0.2 9999 2>/dev/null || true)
	printf '| %-46s | %-8s %-8s | %-8s %-8s | %-7s |\n' "$1" "$a1" "$p1" "$p2" "$a2" "$in"
}
echo "| who answers                                    | app,     then proxy | proxy,  then app  | in from :53 |"
echo "|---|---|---|---|"
try 'wanted' 'meta skuid 1337 return; udp dport 53 ct original zone set 1' >/dev/null # warms up
try 'no zone' ''
try 'zone for queries only, both directions' 'meta skuid 1337 return; udp dport 53 ct zone set 1'
try 'zone for queries, and for answers by port' 'udp sport 15053 ct zone set 1; meta skuid 1337 return; udp dport 53 ct zone set 1'
try 'zone for queries, original direction only' 'meta skuid 1337 return; udp dport 53 ct original zone set 1'
