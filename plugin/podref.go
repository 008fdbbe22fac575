package plugin

import (
	"fmt"
	"strings"
)

// PodRef is what CNI_ARGS say of a pod. The zero PodRef is a container that is
// no Kubernetes pod (nerdctl, podman, cnitool).
type PodRef struct {
	Namespace, Name, UID string
	// Args are all of CNI_ARGS: some meshes hand their configuration over there.
	Args map[string]string
}

// String gives "namespace/name", "" for what is no Kubernetes pod.
func (p PodRef) String() string {
	if !p.IsPod() {
		return ""
	}
	return p.Namespace + "/" + p.Name
}

// IsPod reports whether this is a Kubernetes pod.
func (p PodRef) IsPod() bool { return p.Namespace != "" && p.Name != "" }

// ParseArgs reads CNI_ARGS, "key=value" pairs with ";" between them (CNI
// specification, "Parameters"). Order and unknown keys do not matter, runtimes
// add their own; a value may hold "=". When a key comes twice the last one counts.
func ParseArgs(text string) (PodRef, error) {
	p := PodRef{Args: map[string]string{}}
	for pair := range strings.SplitSeq(text, ";") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return PodRef{}, withCode(CodeEnvironment, fmt.Errorf("CNI_ARGS: %q is not a pair (want key=value;key=value)", clip(pair)))
		}
		p.Args[key] = value
	}
	p.Namespace, p.Name, p.UID = p.Args["K8S_POD_NAMESPACE"], p.Args["K8S_POD_NAME"], p.Args["K8S_POD_UID"]
	return p, nil
}

// maxShown is how many bytes of a bad value an error repeats.
const maxShown = 64

func clip(s string) string {
	if len(s) <= maxShown {
		return s
	}
	return s[:maxShown] + "…"
}
