// Command box is everything that runs in the pods of the end-to-end tests, in one static
// binary: the pause, an app, and the sidecar proxy.
//
//	box pause
//	box app      answers on 8080; on 15021 it makes calls when asked (/call?to=10.0.0.1:80), and
//	             asks for names (/ask?to=10.0.0.1:53)
//	box proxy    a real sidecar on 15001 and 15006, with DNS on 15053; on 15020 it says what it has
//	             seen (/seen). box proxy 4140 4143 4191: on those ports instead
//	box sleep 5s
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/demo/proxy"
)

func main() {
	command := "pause"
	if len(os.Args) > 1 {
		command = os.Args[1]
	}
	var err error
	switch command {
	case "pause":
		pause()
	case "app":
		err = app()
	case "proxy":
		err = sidecar(os.Args[2:])
	case "sleep":
		var d time.Duration
		if d, err = time.ParseDuration(os.Args[2]); err == nil {
			time.Sleep(d)
		}
	default:
		err = fmt.Errorf("%q: want pause, app, proxy or sleep", command)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "box:", err)
		os.Exit(1)
	}
}

// pause waits, and buries the children that a pod's first process inherits.
func pause() {
	end := make(chan os.Signal, 1)
	signal.Notify(end, unix.SIGTERM, unix.SIGINT)
	child := make(chan os.Signal, 1)
	signal.Notify(child, unix.SIGCHLD)
	for {
		select {
		case <-end:
			return
		case <-child:
			for {
				if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); pid <= 0 || err != nil {
					break
				}
			}
		}
	}
}

// app answers whoever calls with whom it saw, and calls whom it is told to.
func app() error {
	l, err := net.Listen("tcp", ":8080")
	if err != nil {
		return err
	}
	go Answer(l, "app")
	http.HandleFunc("GET /call", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, call(r.URL.Query().Get("to")))
	})
	http.HandleFunc("GET /ask", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, ask(r.URL.Query().Get("to")))
	})
	return http.ListenAndServe(":15021", nil)
}

// AnswerQueries tells each who asks over UDP who answers, and whom it saw.
func AnswerQueries(c net.PacketConn, who string) {
	query := make([]byte, 512)
	for {
		_, from, err := c.ReadFrom(query)
		if err != nil {
			return
		}
		_, _ = c.WriteTo(fmt.Appendf(nil, "%s saw %s\n", who, from), from) // one who has gone needs no answer
	}
}

// ask gives the answer to a datagram, or the error in words. It looks at no answer that comes
// from anybody else: the socket is connected, as a resolver's is.
func ask(to string) string {
	c, err := net.Dial("udp", to)
	if err != nil {
		return "error: " + err.Error()
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(3 * time.Second)) // a socket that was just made
	answer := make([]byte, 512)
	if _, err := c.Write([]byte("who is there?")); err != nil {
		return "error: " + err.Error()
	}
	n, err := c.Read(answer)
	if err != nil {
		return "error: " + err.Error()
	}
	return string(answer[:n])
}

// Answer tells each caller who answers, and whom it saw.
func Answer(l net.Listener, who string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		fmt.Fprintf(c, "%s saw %s\n", who, c.RemoteAddr())
		_ = c.Close() // the answer is out
	}
}

// call gives the answer, or the error in words.
func call(to string) string {
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

func sidecar(ports []string) error {
	var (
		mu   sync.Mutex
		seen []proxy.Seen
	)
	outbound, inbound, admin := uint16(15001), uint16(15006), "15020"
	if len(ports) > 0 {
		if _, err := fmt.Sscan(strings.Join(ports, " "), &outbound, &inbound, &admin); err != nil {
			return fmt.Errorf("proxy %v: %w", ports, err)
		}
	}
	dns, err := net.ListenPacket("udp", "127.0.0.1:15053")
	if err != nil {
		return err
	}
	go AnswerQueries(dns, "proxy")
	p := proxy.Proxy{
		OutboundPort: outbound, InboundPort: inbound, AppSources: []netip.Addr{netip.MustParseAddr("127.0.0.6"), netip.MustParseAddr("::6")},
		Report: func(s proxy.Seen) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, s)
		},
	}
	if err := p.Listen(); err != nil {
		return err
	}
	http.HandleFunc("GET /seen", func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		_ = json.NewEncoder(w).Encode(seen) // whoever asked has gone, else
	})
	return http.ListenAndServe(":"+admin, nil)
}
