package main

import (
	"bufio"
	"fmt"
	"io"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// connectorArg, as the first argument, makes this program the app in a pod.
const connectorArg = "connector"

const (
	// appUID owns the app's sockets; the proxy is 1337.
	appUID = 1000
	// outboundPort is where the Envoy defaults send what apps call.
	outboundPort = 15001
)

// connector is an app and the proxy's listener in one thread. For each line
// "milliseconds" it opens connections for that long and answers "connections
// nanoseconds". Connecting, accepting and closing by turns leaves no queue that
// could fill and no second thread that would have to be woken.
func connector(in io.Reader, out io.Writer) error {
	runtime.LockOSThread()
	listener, err := listen()
	if err != nil {
		return err
	}
	if err := unix.Setresuid(appUID, appUID, appUID); err != nil {
		return fmt.Errorf("setresuid %d: %w", appUID, err)
	}
	total := 0
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var millis int64
		if _, err := fmt.Sscan(lines.Text(), &millis); err != nil {
			return fmt.Errorf("%q: %w", lines.Text(), err)
		}
		n := 0
		start := time.Now()
		for time.Since(start) < time.Duration(millis)*time.Millisecond {
			if err := connect(listener, total); err != nil {
				return fmt.Errorf("connection %d: %w", total, err)
			}
			n++
			total++
		}
		if _, err := fmt.Fprintln(out, n, time.Since(start).Nanoseconds()); err != nil {
			return err
		}
	}
	return nil
}

func listen() (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: outboundPort}); err != nil {
		return 0, fmt.Errorf("bind: %w", err)
	}
	return fd, unix.Listen(fd, unix.SOMAXCONN)
}

// connect calls an address outside and takes the call at the proxy. Both ends
// are reset, so that no port stays in TIME_WAIT; destinations take turns, so
// that there are always ports left.
func connect(listener, n int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return fmt.Errorf("linger: %w", err)
	}
	to := &unix.SockaddrInet4{Port: 80, Addr: [4]byte{198, 18, byte(n >> 8), byte(n)}}
	if err := unix.Connect(fd, to); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	accepted, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
	if err != nil {
		return fmt.Errorf("accept: %w", err)
	}
	return unix.Close(accepted)
}
