package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// annotationsKey is the capability by which runtimes hand over annotations.
const annotationsKey = "io.kubernetes.cri.pod-annotations"

const cniVersion = "1.0.0"

// entry is detour's entry in a conflist.
func entry(options map[string]any) map[string]any {
	return map[string]any{
		"type":         "detour-cni",
		"capabilities": map[string]bool{annotationsKey: true},
		"detour":       options,
	}
}

// writeNetwork writes a conflist: a bridge, and detour behind it.
func writeNetwork(name string, options map[string]any) error {
	list := map[string]any{
		"cniVersion": cniVersion,
		"name":       name,
		"plugins": []any{
			map[string]any{
				"type": "bridge", "bridge": "cni0", "isGateway": true,
				"ipam": map[string]any{
					"type": "host-local", "dataDir": home + "/leases",
					"ranges": [][]map[string]string{{{"subnet": podNet4}}, {{"subnet": podNet6}}},
					"routes": []map[string]string{{"dst": "0.0.0.0/0"}, {"dst": "::/0"}},
				},
			},
			entry(options),
		},
	}
	text, err := json.Marshal(list)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(home, "net.d", name+".conflist"), text, 0o644)
}

// said is what a call of a plugin gave.
type said struct {
	stdout []byte
	log    string // detour's line on stderr
	err    string // what the caller was told, "" for success
}

// field gives a field of the log line; all plugins' stderr comes the same way.
func (s said) field(name string) string {
	m := regexp.MustCompile(`\b` + name + `=("(?:[^"\\]|\\.)*"|\S+)`).FindStringSubmatch(s.log)
	if m == nil {
		return ""
	}
	return strings.Trim(m[1], `"`)
}

// cnitool calls the whole chain for a pod, as a runtime would.
func cnitool(verb string, p *pod) (said, error) {
	cmd := exec.Command(home+"/bin/cnitool", verb, p.network, p.netns)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "CNI_PATH=" + home + "/bin", "NETCONFPATH=" + home + "/net.d",
		"CNI_ARGS=" + cniArgs(p),
	}
	if p.annotations != nil {
		text, err := json.Marshal(map[string]any{annotationsKey: p.annotations})
		if err != nil {
			return said{}, err
		}
		cmd.Env = append(cmd.Env, "CAP_ARGS="+string(text))
	}
	return hear(cmd)
}

func cniArgs(p *pod) string {
	return "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=" + p.name
}

// hear runs a command and separates what it says.
func hear(cmd *exec.Cmd) (said, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	s := said{stdout: stdout.Bytes()}
	for line := range strings.Lines(stderr.String()) {
		if strings.Contains(line, "verb=") {
			s.log = strings.TrimSpace(line)
		} else {
			s.err += line
		}
	}
	var exit *exec.ExitError
	if err == nil || !errors.As(err, &exit) {
		s.err = ""
		return s, err
	}
	// cnitool tells the plugin's message on stderr, with its usage behind it; a
	// plugin itself tells it on stdout.
	if s.err == "" {
		s.err = string(s.stdout)
	}
	s.err, _, _ = strings.Cut(strings.TrimSpace(s.err), "\nUsage:")
	s.err = strings.TrimPrefix(s.err, "Error: ")
	return s, nil
}

// add puts a pod on its network, and learns its addresses.
func add(p *pod) (said, error) {
	s, err := cnitool("add", p)
	if err != nil {
		return s, err
	}
	if s.err != "" {
		return s, fmt.Errorf("cnitool add: %s", s.err)
	}
	var result struct {
		IPs []struct{ Address netip.Prefix }
	}
	if err := json.Unmarshal(s.stdout, &result); err != nil {
		return s, fmt.Errorf("result of ADD: %w", err)
	}
	for _, ip := range result.IPs {
		if a := ip.Address.Addr(); a.Is4() {
			p.addr4 = a
		} else {
			p.addr6 = a
		}
	}
	p.result, p.container = s.stdout, s.field("container")
	return s, nil
}

// addAgain calls detour alone a second time, as a runtime does that retries: the
// bridge before it in the chain would give out a second address.
func addAgain(p *pod, options map[string]any) (said, error) {
	conf := entry(options)
	conf["cniVersion"], conf["name"], conf["prevResult"] = cniVersion, p.network, p.result
	if p.annotations != nil {
		conf["runtimeConfig"] = map[string]any{annotationsKey: p.annotations}
	}
	text, err := json.Marshal(conf)
	if err != nil {
		return said{}, err
	}
	cmd := exec.Command(home + "/bin/detour-cni")
	cmd.Stdin = bytes.NewReader(text)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "CNI_PATH=" + home + "/bin", "CNI_COMMAND=ADD",
		"CNI_CONTAINERID=" + p.container, "CNI_NETNS=" + p.netns, "CNI_IFNAME=eth0", "CNI_ARGS=" + cniArgs(p),
	}
	return hear(cmd)
}

// compact gives JSON without spaces; "" for what is none.
func compact(text []byte) string {
	var b bytes.Buffer
	if json.Compact(&b, text) != nil {
		return ""
	}
	return b.String()
}
