package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/detour-cni/detour/redirect/original"
)

// probeOptions are where the kubelet calls, and where its call is to land.
type probeOptions struct{ port, inboundPort uint }

func runProbe(args []string, out, errs io.Writer) int {
	o, err := parseProbe(args, errs)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(errs, "detour-validate:", err)
		return exitUsage
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, os.Interrupt, syscall.SIGTERM)
	p, err := listenProbe(o, out)
	if err != nil {
		fmt.Fprintln(errs, "detour-validate:", err)
		return exitUnknown
	}
	select {
	case <-p.proved:
		p.close() // the proxy is to have its port, and the app the other
		<-end
		return 0
	case <-end:
		return exitUnknown
	}
}

func parseProbe(args []string, errs io.Writer) (o probeOptions, err error) {
	flags := flag.NewFlagSet("detour-validate probe", flag.ContinueOnError)
	flags.SetOutput(errs)
	flags.UintVar(&o.port, "port", 15777, "where the startupProbe calls: a port that is redirected, and that nobody has yet")
	flags.UintVar(&o.inboundPort, "inbound-port", 15006, "where the proxy takes inbound calls")
	flags.Usage = func() {
		fmt.Fprintf(errs, "usage: detour-validate probe [flags]\n\nA native sidecar: its startupProbe (httpGet) is answered only if the kubelet's call landed on the inbound port.\n\n")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("%q: want no arguments, only flags", flags.Arg(0))
	}
	if o.port == o.inboundPort {
		return o, fmt.Errorf("--port: %d is --inbound-port (want another, which is redirected to it)", o.port)
	}
	return o, wantPorts(map[string]uint{"port": o.port, "inbound-port": o.inboundPort})
}

// probed waits for the kubelet's call, which comes from outside, at both of its ends: at the port
// that it is for, and at the port where the inbound hook sends it.
type probed struct {
	options   probeOptions
	out       io.Writer
	listeners []net.Listener
	held      bool // somebody else has the inbound port
	once      sync.Once
	proved    chan struct{}

	mu   sync.Mutex
	said string
}

// callWait is for callers who say nothing. The kubelet speaks at once, and gives up by itself after its
// timeoutSeconds; with a second a busy node, which ran this process late, left it without an answer.
const callWait = 10 * time.Second

func listenProbe(o probeOptions, out io.Writer) (*probed, error) {
	p := &probed{options: o, out: out, proved: make(chan struct{})}
	if err := p.listen(o.port, p.arrived); err != nil {
		p.close()
		return nil, fmt.Errorf("--port: %w", err)
	}
	err := p.listen(o.inboundPort, p.landed)
	if p.held = errors.Is(err, syscall.EADDRINUSE); err != nil && !p.held {
		p.close()
		return nil, fmt.Errorf("--inbound-port: %w", err)
	}
	p.say("waiting for the kubelet's call to port %d, which the inbound hook is to send to port %d", o.port, o.inboundPort)
	return p, nil
}

// listen takes calls at a port, each family at a socket of its own: what was the destination of a
// call can be asked of those only.
func (p *probed) listen(port uint, answer func(*net.TCPConn)) error {
	for _, network := range []string{"tcp4", "tcp6"} {
		l, err := net.Listen(network, fmt.Sprintf(":%d", port))
		if network == "tcp6" && (errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL)) {
			continue // a pod without IPv6
		}
		if err != nil {
			return err
		}
		p.listeners = append(p.listeners, l)
		go p.serve(l, answer)
	}
	return nil
}

func (p *probed) close() {
	for _, l := range p.listeners {
		_ = l.Close() // nothing was written
	}
}

// say says a line, and the same line once.
func (p *probed) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if line := fmt.Sprintf(format, args...); line != p.said {
		p.said = line
		fmt.Fprintln(p.out, "detour-validate:", line)
	}
}

func (p *probed) serve(l net.Listener, answer func(*net.TCPConn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return // closed
		}
		go func() {
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(callWait)) // a connection that was just made
			answer(c.(*net.TCPConn))
		}()
	}
}

// landed takes a call at the inbound port. It is the proof if it was for the probe's port; others
// are for an app that is not there yet.
func (p *probed) landed(c *net.TCPConn) {
	to, err := original.Destination(c)
	if err != nil {
		p.say("NOT redirected: a call from %s came to port %d by itself: %v", original.Remote(c), p.options.inboundPort, err)
		return
	}
	if uint(to.Port()) == p.options.port {
		p.succeed(c, fmt.Sprintf("a call from %s to %s landed on port %d", original.Remote(c).Addr(), to, p.options.inboundPort))
	}
}

// arrived takes a call at the port that it was for. With somebody else on the inbound port it may
// have come through that one, which calls from inside the pod; straight from outside it is the
// proof that nothing bends it.
func (p *probed) arrived(c *net.TCPConn) {
	from := original.Remote(c).Addr()
	if p.held && isOwn(from) {
		p.succeed(c, fmt.Sprintf("a call to port %d came through whoever holds port %d", p.options.port, p.options.inboundPort))
		return
	}
	p.say("NOT redirected: a call from %s arrived at port %d itself, not at port %d", from, p.options.port, p.options.inboundPort)
	respond(c, "503 Service Unavailable")
}

func (p *probed) succeed(c *net.TCPConn, how string) {
	p.say("ok: inbound hook: %s", how)
	respond(c, "200 OK")
	p.once.Do(func() { close(p.proved) })
}

// respond reads a request's head, and answers it.
func respond(c net.Conn, status string) {
	r := bufio.NewReader(io.LimitReader(c, 8<<10))
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return // no HTTP: nobody who waits for an answer
		}
		if strings.TrimSpace(line) == "" {
			break
		}
	}
	fmt.Fprintf(c, "HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", status)
}

// isOwn reports whether an address is the pod's.
func isOwn(a netip.Addr) bool {
	if a.IsLoopback() || a == netip.MustParseAddr("::6") { // passthroughSource, which is on lo
		return true
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, own := range all {
		if p, err := netip.ParsePrefix(own.String()); err == nil && p.Addr() == a {
			return true
		}
	}
	return false
}
