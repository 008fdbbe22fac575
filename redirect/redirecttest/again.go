package redirecttest

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect"
)

// tryAgain: a connection that the proxy closes first, and then a second one from the same
// address and port.
func (w *world) tryAgain(want redirect.Outcome) error {
	c := w.call()
	c.wait = answerWait
	fd, got := w.pod.place(c)
	if got.err != nil {
		hangUp(fd)
		return fmt.Errorf("the first call: %w", got.err)
	}
	end := w.endInTimeWait
	if w.row.Packet.State == redirect.CTEstablished {
		end = w.endForgotten
	}
	if err := end(fd, c); err != nil {
		return err
	}
	if w.row.Packet.NoListener {
		if err := w.servers[0].closeListeners(); err != nil {
			return err
		}
	}
	fd, got = w.pod.place(w.call())
	hangUp(fd)
	return w.compare(got, want)
}

// endInTimeWait has the proxy close first, then the client: the proxy's socket is in
// TIME_WAIT for a minute.
func (w *world) endInTimeWait(fd int, c call) error {
	defer hangUp(fd)
	if err := w.hearFIN(fd); err != nil {
		return err
	}
	if err := unix.Shutdown(fd, unix.SHUT_WR); err != nil {
		return fmt.Errorf("shutdown: %w", err)
	}
	return w.pod.untilSocket(c.src, "06")
}

// endForgotten has the proxy close first, and the client never: the proxy's socket waits in
// FIN_WAIT2 as long as tcp_fin_timeout says, and is gone; conntrack's entry is in CLOSE_WAIT.
func (w *world) endForgotten(fd int, c call) error {
	defer hangUp(fd)
	err := w.pod.Do(func() error { return os.WriteFile("/proc/sys/net/ipv4/tcp_fin_timeout", []byte("1"), 0) })
	if err != nil {
		return err
	}
	if err := w.hearFIN(fd); err != nil {
		return err
	}
	// A socket under repair is hung up without a word (tcp(7) has no TCP_REPAIR; CRIU does).
	if err := unix.SetsockoptInt(fd, unix.SOL_TCP, unix.TCP_REPAIR, 1); err != nil {
		return fmt.Errorf("setsockopt TCP_REPAIR: %w", err)
	}
	return w.pod.untilSocket(c.src, "")
}

// tryCalledBack: the pod calls somebody who does not answer, and gives up; then those open
// a connection with the very same ports, and conntrack takes that for an answer.
func (w *world) tryCalledBack(want redirect.Outcome) error {
	w.close() // a port that somebody listens on is nobody's to call from
	if err := w.callInVain(w.pod.places[w.outside()]); err != nil {
		return err
	}
	if err := w.listen(want); err != nil {
		return err
	}
	fd, got := w.pod.place(w.call())
	hangUp(fd)
	return w.compare(got, want)
}

func (w *world) callInVain(there *NetNS) error {
	if err := there.nft("table inet deaf { chain input { type filter hook input priority 0; tcp flags & (syn | ack) == syn drop; }; }"); err != nil {
		return err
	}
	p := w.row.Packet
	fd, got := w.pod.place(call{from: InPod, owner: w.proxy(), kind: socketKind{proto: p.Proto, v6: w.v6}, src: p.Dst, dst: p.Src, wait: silenceWait})
	hangUp(fd)
	if err := there.nft("delete table inet deaf"); err != nil {
		return err
	}
	if !errors.Is(got.err, errSilence) {
		return fmt.Errorf("the pod's call: got %w, want silence", got.err)
	}
	return nil
}

// tryCookie: the kernel answers every SYN with a cookie, as it does in a flood of them: the
// connection's socket is made by the client's ACK. A listener takes that only if it has
// sent cookies itself of late, so the app's is called from within first.
func (w *world) tryCookie(want redirect.Outcome) error {
	cookies := func(n string) error {
		return w.pod.Do(func() error { return os.WriteFile("/proc/sys/net/ipv4/tcp_syncookies", []byte(n), 0) })
	}
	if err := cookies("2"); err != nil {
		return err
	}
	p := w.row.Packet
	fd, got := w.pod.place(call{from: InPod, owner: Owner{1000, 1000}, kind: socketKind{proto: p.Proto, v6: w.v6}, src: netip.AddrPortFrom(p.Dst.Addr(), 0), dst: p.Dst, wait: answerWait})
	hangUp(fd)
	if got.err != nil {
		return fmt.Errorf("the app's call: %w", got.err)
	}
	fd, got = w.pod.place(w.call())
	hangUp(fd)
	return errors.Join(w.compare(got, want), cookies("1"))
}

// hearFIN has the proxy close its end, and the client hear of it.
func (w *world) hearFIN(fd int) error {
	if err := w.servers[0].endConnections(); err != nil {
		return err
	}
	if _, err := read(fd, make([]byte, 64), time.Now().Add(answerWait)); err == nil || errors.Is(err, errSilence) {
		return fmt.Errorf("the proxy did not close: %w", err)
	}
	return nil
}

// untilSocket waits until the pod's socket to a client is in a state, as /proc/net/tcp
// has it (06 is TIME_WAIT), or is no more.
func (p *Pod) untilSocket(client netip.AddrPort, state string) error {
	file, port := "/proc/thread-self/net/tcp", fmt.Sprintf(":%04X", client.Port())
	if client.Addr().Is6() {
		file += "6"
	}
	for deadline := time.Now().Add(answerWait); ; {
		is := ""
		err := p.Do(func() error {
			all, err := os.ReadFile(file)
			for line := range strings.Lines(string(all)) {
				if f := strings.Fields(line); len(f) > 3 && strings.HasSuffix(f[2], port) {
					is = f[3]
				}
			}
			return err
		})
		switch {
		case err != nil || is == state:
			return err
		case time.Now().After(deadline):
			return fmt.Errorf("the pod's socket to %v: state %q (want %q)", client, is, state)
		}
		_, _ = unix.Poll(nil, 20) // milliseconds
	}
}
