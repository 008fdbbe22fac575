package redirecttest

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect"
)

// relatedPort is where the pod sends the datagram that makes its caller expected.
const relatedPort = 4444

// tryRelated: conntrack is told, as by a helper of its own (FTP's, SIP's), that
// whoever the pod has sent a datagram to will call back; then they do.
func (w *world) tryRelated(want redirect.Outcome) error {
	family, p := "ip", w.row.Packet
	if w.v6 {
		family = "ip6"
	}
	expect := fmt.Sprintf(`
		table inet expect {
			ct expectation callback { protocol tcp; dport %d; timeout 1m; size 1; l3proto %s; }
			chain output {
				type filter hook output priority 0
				udp dport %d ct expectation set "callback"
			}
		}`, p.Dst.Port(), family, relatedPort)
	if err := w.pod.nft(expect); err != nil {
		return err
	}
	if err := w.datagram(p.Dst.Addr(), netip.AddrPortFrom(p.Src.Addr(), relatedPort)); err != nil {
		return err
	}
	fd, got := w.pod.place(w.call())
	hangUp(fd)
	if err := w.compare(got, want); err != nil {
		return err
	}
	return w.pod.nft("delete table inet expect")
}

// datagram sends one from the pod, as the proxy: no rule bends that.
func (w *world) datagram(src netip.Addr, dst netip.AddrPort) error {
	return w.pod.DoAs(w.proxy(), func() error {
		fd, err := socketKind{proto: redirect.UDPProto, v6: w.v6}.open()
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(src, 0))); err != nil {
			return err
		}
		return unix.Sendto(fd, []byte("?\n"), 0, sockaddr(dst))
	})
}

// nft changes a namespace's rules besides those under test.
func (n *NetNS) nft(commands string) error {
	c := exec.Command("nsenter", "--net="+n.Path, "--", "nft", "-f", "-")
	c.Stdin = strings.NewReader(commands)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w: %s", err, out)
	}
	return nil
}
