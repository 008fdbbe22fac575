package e2e

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/detour-cni/detour/e2e/node"
)

// outside is a server beyond the pods, on the node's NIC: it tells each caller whom it saw.
func outside(t *testing.T) string {
	t.Helper()
	return outsideAt(t, node.Address)
}

func outsideAt(t *testing.T, address string) string {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprintf(c, "outside saw %s\n", c.RemoteAddr())
			_ = c.Close()
		}
	}()
	return l.Addr().String()
}

// names is a name server beyond the pods, which tells each who asks whom it saw.
func names(t *testing.T) string {
	t.Helper()
	c, err := net.ListenPacket("udp", node.Address+":53")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	go func() {
		query := make([]byte, 512)
		for {
			_, from, err := c.ReadFrom(query)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(fmt.Appendf(nil, "outside saw %s\n", from), from) // one who has gone needs no answer
		}
	}()
	return c.LocalAddr().String()
}

// callIn calls a pod from the node, and gives its answer.
func callIn(t *testing.T, to string) string {
	t.Helper()
	c, err := net.DialTimeout("tcp", to, 3*time.Second)
	if err != nil {
		return "error: " + err.Error()
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(3 * time.Second)) // a socket that was just made
	text, err := io.ReadAll(c)
	if err != nil {
		return "error: " + err.Error()
	}
	return string(text)
}
