package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	goruntime "runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/inspect/words"
	"github.com/detour-cni/detour/redirect/redirecttest"
)

// named stays on the main thread, whose name is the process's: the runtime starts here on it.
var _ = func() bool {
	if os.Args[0] == "named" {
		goruntime.LockOSThread()
	}
	return true
}()

// named is a program that calls itself what it likes: named NAME UID PORT. It says "ready", and ends with its stdin.
func named() {
	if err := callItself(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin) // its end is what is waited for
}

func callItself(name, uid, port string) error {
	id, err := strconv.Atoi(uid)
	if err != nil {
		return err
	}
	if err := errors.Join(syscall.Setgid(id), syscall.Setuid(id)); err != nil {
		return err
	}
	if _, err := net.Listen("tcp", ":"+port); err != nil {
		return err
	}
	b := append([]byte(name), 0)
	return unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&b[0])), 0, 0, 0)
}

// startNamed runs named in a pod until the script ends: process POD UID PORT "NAME".
func startNamed(ts *testscript.TestScript, pod *redirecttest.Pod, args []string) {
	name, err := strconv.Unquote(args[2])
	ts.Check(err)
	program, err := os.Executable()
	ts.Check(err)
	c := exec.Command("nsenter", "--net="+pod.Path, "--", "bash", "-c", `exec -a named "$@"`, "bash", program, name, args[0], args[1])
	in, err := c.StdinPipe()
	ts.Check(err)
	out, err := c.StdoutPipe()
	ts.Check(err)
	c.Stderr = os.Stderr
	ts.Check(c.Start())
	ts.Defer(func() { _, _ = in.Close(), c.Wait() }) // it is gone, whatever it says
	ready := make([]byte, len("ready"))
	_, err = io.ReadFull(out, ready)
	ts.Check(err)
}

// printable holds that stdout has nothing that a terminal obeys.
func printable(ts *testscript.TestScript, _ bool, _ []string) {
	if out := ts.ReadFile("stdout"); words.Text(out) != out {
		ts.Fatalf("a terminal obeys %q", out)
	}
}

// wellFormed holds that stdout is an XML document.
func wellFormed(ts *testscript.TestScript, _ bool, _ []string) {
	d := xml.NewDecoder(strings.NewReader(ts.ReadFile("stdout")))
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		ts.Check(err)
	}
}

// decoded holds that texts, as Go writes them, are parts of strings of stdout's JSON.
func decoded(ts *testscript.TestScript, _ bool, args []string) {
	var document any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &document))
	all := fmt.Sprintf("%q", document)
	for _, a := range args {
		text, err := strconv.Unquote(a)
		ts.Check(err)
		if quoted := strconv.Quote(text); !strings.Contains(all, quoted[1:len(quoted)-1]) {
			ts.Fatalf("no %s in %s", quoted, all)
		}
	}
}
