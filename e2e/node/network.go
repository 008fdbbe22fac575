package node

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Address is the node's own, on a veth: there is no dummy device on every machine.
const Address = "10.99.0.1"

// network gives the node a NIC with a default route, and forwards.
func network() error {
	for _, line := range strings.Split(strings.TrimSpace(`
ip link set lo up
ip link add nic0 type veth peer name nic0p
ip addr add `+Address+`/24 dev nic0
ip addr add fd99::1/64 dev nic0 nodad
ip link set nic0 up
ip link set nic0p up
ip route add default via 10.99.0.254
`), "\n") {
		words := strings.Fields(line)
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", line, err, out)
		}
	}
	for _, f := range []string{"/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"} {
		if err := os.WriteFile(f, []byte("1"), 0o644); err != nil {
			return err
		}
	}
	return nil
}
