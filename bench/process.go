package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// call is one call of a plugin, as libcni makes it.
type call struct {
	binary, verb string
	conf         []byte
	pod          pod
}

// command is the process of a call, with its ends of stdin and output open.
type command struct {
	*exec.Cmd
	stdin, output *os.File // output: what it says on stdout and stderr
	call          call
}

// prepare opens all that the process needs, so that the clock sees none of it.
// Output is a file in memory: nobody has to read while the plugin runs.
func (c call) prepare(wrap ...string) (*command, error) {
	stdin, err := scratch(c.conf)
	if err != nil {
		return nil, err
	}
	output, err := scratch(nil)
	if err != nil {
		return nil, err
	}
	argv := append(wrap, c.binary)
	cmd := &command{Cmd: exec.Command(argv[0], argv[1:]...), stdin: stdin, output: output, call: c}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, output, output
	cmd.Env = c.environment()
	return cmd, nil
}

// cniArgs names the pod as containerd does.
const cniArgs = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=cart;" +
	"K8S_POD_INFRA_CONTAINER_ID=%s;K8S_POD_UID=5c0b4ad5-0d5e-4a35-9d6b-3c6a0f3c1f10"

func (c call) environment() []string {
	return []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"CNI_COMMAND=" + c.verb,
		"CNI_CONTAINERID=" + c.pod.id,
		"CNI_NETNS=" + c.pod.netns,
		"CNI_IFNAME=eth0",
		"CNI_ARGS=" + fmt.Sprintf(cniArgs, c.pod.id),
		"CNI_PATH=" + filepath.Dir(c.binary),
	}
}

// scratch gives an open, unlinked file that holds b, read from its start.
func scratch(b []byte) (*os.File, error) {
	f, err := os.CreateTemp("", "detour-bench-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, err
	}
	if _, err := f.Write(b); err != nil {
		return nil, err
	}
	_, err = f.Seek(0, io.SeekStart)
	return f, err
}

// cost is what a process took, children included, in milliseconds.
type cost struct {
	elapsed float64 // from exec to exit
	cpu     float64 // user and system
}

func millis(d time.Duration) float64 { return d.Seconds() * 1000 }

// measure runs the process.
func (c *command) measure() (cost, error) {
	start := time.Now()
	err := c.Run()
	took := cost{elapsed: millis(time.Since(start))}
	if c.ProcessState != nil {
		took.cpu = millis(c.ProcessState.UserTime() + c.ProcessState.SystemTime())
	}
	return took, c.finish(err)
}

// finish closes what prepare opened, and says what a failed plugin said.
func (c *command) finish(err error) error {
	defer c.stdin.Close()
	defer c.output.Close()
	if err == nil {
		return nil
	}
	if _, err := c.output.Seek(0, io.SeekStart); err != nil {
		return err
	}
	said, readErr := io.ReadAll(c.output)
	if readErr != nil {
		return readErr
	}
	return fmt.Errorf("%s %s: %w: %s", filepath.Base(c.call.binary), c.call.verb, err, bytes.TrimSpace(said))
}

// run is prepare and measure in one.
func (c call) run() (cost, error) {
	cmd, err := c.prepare()
	if err != nil {
		return cost{}, err
	}
	return cmd.measure()
}
