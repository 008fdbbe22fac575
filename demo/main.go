package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"
)

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	role := ""
	if len(args) > 0 {
		role, args = args[0], args[1:]
	}
	var err error
	switch role {
	case "proxy":
		err = beProxy(args)
	case "serve":
		err = beServer(args)
	case "call":
		err = beCaller(args)
	case "inside":
		return inside(args)
	case "":
		return isolate()
	default:
		err = fmt.Errorf("%q: unknown (run it without arguments)", role)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		return 1
	}
	return 0
}

// inside is the demo itself, in its own namespaces.
func inside(args []string) int {
	flags := flag.NewFlagSet("inside", flag.ContinueOnError)
	bin := flags.String("bin", "", "directory of the programs")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	start := time.Now()
	s := newScreen(os.Stdout)
	s.opening()
	n, err := newNode(*bin)
	if err == nil {
		n.page = os.NewFile(3, filepath.Join(*bin, "cart.html")) // ExtraFiles, in isolate
		err = errors.Join(play(s, n), n.stop())
	}
	return s.ending(err, time.Since(start))
}

// play is the programme.
func play(s *screen, n *node) error {
	if err := actOne(s, n); err != nil {
		return err
	}
	return actTwo(s, n)
}

// answer is what a server says to whoever calls.
type answer struct {
	Name string `json:"name"`
	// Caller is the address that the server sees.
	Caller string `json:"caller"`
}

// call is what a caller prints.
type call struct {
	answer
	// Local is the caller's own end.
	Local string `json:"local"`
	Err   string `json:"err,omitempty"`
}

// beServer answers everybody with its name and the caller's address.
func beServer(args []string) error {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	name := flags.String("name", "app", "how it calls itself")
	port := flags.Int("port", 80, "where it listens, in both families")
	if err := flags.Parse(args); err != nil {
		return err
	}
	for _, network := range []string{"tcp4", "tcp6"} {
		l, err := net.ListenTCP(network, &net.TCPAddr{Port: *port})
		if err != nil {
			return err
		}
		go greet(l, *name)
	}
	fmt.Println("ready")
	select {} // the demo ends it
}

func greet(l net.Listener, name string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_ = json.NewEncoder(c).Encode(answer{name, c.RemoteAddr().String()}) // a caller that is gone needs no answer
		_ = c.Close()                                                        // as above
	}
}

// patience is how long anybody here waits for anybody else.
const patience = 3 * time.Second

// beCaller calls an address and prints what came back.
func beCaller(args []string) error {
	if len(args) != 1 {
		return errors.New("call: want one address")
	}
	var result call
	c, err := net.DialTimeout("tcp", args[0], patience)
	if err == nil {
		defer c.Close()
		result.Local = c.LocalAddr().String()
		err = errors.Join(c.SetDeadline(time.Now().Add(patience)), json.NewDecoder(c).Decode(&result.answer))
	}
	if err != nil {
		result.Err = err.Error()
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}
