package install

import (
	"fmt"
	"regexp"
	"strconv"
)

// Mode is a way into the chain.
type Mode string

// The modes. Auto is resolved to one of the others for the primary that is there.
const (
	Auto    Mode = "auto"
	DropIn  Mode = "drop-in"
	Spliced Mode = "splice"
	Owned   Mode = "owned"
)

// ParseMode reads a Mode.
func ParseMode(text string) (Mode, error) {
	switch m := Mode(text); m {
	case Auto, DropIn, Spliced, Owned:
		return m, nil
	}
	return "", fmt.Errorf("mode: %q: unknown (want auto, drop-in, splice or owned)", text)
}

// A Runtime is what is known of the node's container runtime; the zero value
// is no knowledge at all.
type Runtime struct {
	Name         string // "containerd", "cri-o", …
	Major, Minor int
}

var runtimeVersion = regexp.MustCompile(`^([a-z][a-z-]*)://v?([0-9]{1,4})\.([0-9]{1,4})(\..*|[-+~].*)?$`)

// ParseRuntime reads what the kubelet says in status.nodeInfo.containerRuntimeVersion:
// containerd://2.1.4. The empty text is no knowledge.
func ParseRuntime(text string) (Runtime, error) {
	if text == "" {
		return Runtime{}, nil
	}
	m := runtimeVersion.FindStringSubmatch(text)
	if m == nil {
		return Runtime{}, fmt.Errorf("runtime: %q is not a runtime's version (want one like containerd://2.1.4 or cri-o://1.33.0)", text)
	}
	major, _ := strconv.Atoi(m[2]) // at most four digits
	minor, _ := strconv.Atoi(m[3])
	return Runtime{Name: m[1], Major: major, Minor: minor}, nil
}

// Known reports whether anything is known.
func (r Runtime) Known() bool { return r.Name != "" }

func (r Runtime) String() string {
	if !r.Known() {
		return "unknown runtime"
	}
	return fmt.Sprintf("%s %d.%d", r.Name, r.Major, r.Minor)
}

func (r Runtime) atLeast(major, minor int) bool {
	return r.Major > major || r.Major == major && r.Minor >= minor
}

// ReadsDropIns reports whether the runtime is known to append net.d/<network>/*.conf
// to a list: libcni 1.3.0, in containerd since 2.1.0 and in CRI-O since 1.33.
func (r Runtime) ReadsDropIns() bool {
	return r.Name == "containerd" && r.atLeast(2, 1) || r.Name == "cri-o" && r.atLeast(1, 33)
}

// HandsNoAnnotations reports whether the runtime is known to ignore the capability
// io.kubernetes.cri.pod-annotations: containerd has it since 1.5, CRI-O since 1.29,
// Docker's never had it.
func (r Runtime) HandsNoAnnotations() bool {
	return r.Name == "containerd" && !r.atLeast(1, 5) || r.Name == "cri-o" && !r.atLeast(1, 29) || r.Name == "docker"
}

// skipsBroken reports whether a configuration file that cannot be read is passed over
// for the next one: CRI-O does; containerd stays without a network.
func (r Runtime) skipsBroken() bool { return r.Name == "cri-o" }
