package plugin

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/netfilter"
)

// Options are the "detour" object of our entry in the conflist: the node's word.
type Options struct {
	Pods               PodsMode
	Meshes             []string
	ExcludeNamespaces  []string
	Overrides          Overrides
	Backend            netfilter.Backend
	LogLevel           LogLevel
	LogFile            string
	MissingAnnotations MissingMode
	// Redirect is `redirect` over the Envoy defaults.
	Redirect redirect.Spec
	// MeshOptions are laid over the Spec of the dialect they are named after, "*"
	// over each, before that.
	MeshOptions map[string]json.RawMessage
}

// PodsMode is which pods are redirected.
type PodsMode string

// PodsMeshed is those that a dialect claims, PodsAll every pod.
const (
	PodsMeshed PodsMode = "meshed"
	PodsAll    PodsMode = "all"
)

// MissingMode is what happens when the runtime handed over no annotations.
type MissingMode string

// MissingFail fails the ADD, MissingPass leaves the pod alone.
const (
	MissingFail MissingMode = "fail"
	MissingPass MissingMode = "pass"
)

// LogLevel is the least level of a line that is logged.
type LogLevel string

// The levels, as log/slog has them.
const (
	LogDebug LogLevel = "debug"
	LogInfo  LogLevel = "info"
	LogWarn  LogLevel = "warn"
	LogError LogLevel = "error"
)

// Overrides is whose annotations may change what the node says: everybody's, or
// those of pods in some namespaces.
type Overrides struct {
	All        bool
	Namespaces []string
}

// Allow reports whether a pod of the namespace may override.
func (o Overrides) Allow(namespace string) bool {
	return o.All || slices.Contains(o.Namespaces, namespace)
}

// OwnNamespace is where the DaemonSet runs by default.
const OwnNamespace = "detour-system"

// DefaultOptions is what an empty "detour" object means.
func DefaultOptions(dialects []Dialect) Options {
	o := Options{
		Pods:               PodsMeshed,
		ExcludeNamespaces:  []string{"kube-system", OwnNamespace},
		Overrides:          Overrides{All: true},
		Backend:            netfilter.Auto,
		LogLevel:           LogInfo,
		MissingAnnotations: MissingFail,
		Redirect:           baseSpec(),
	}
	for _, d := range dialects {
		o.Meshes = append(o.Meshes, d.Name)
	}
	return o
}

// ParseOptions reads the "detour" object. A typo in it is an error: it is ours alone.
func ParseOptions(raw json.RawMessage, dialects []Dialect) (Options, error) {
	o := DefaultOptions(dialects)
	if isNull(raw) {
		return o, nil
	}
	members, err := redirect.Members(raw)
	if err != nil {
		return o, fmt.Errorf("detour: %w", err)
	}
	for _, m := range members {
		if err := o.set(m, dialects); err != nil {
			return o, err
		}
	}
	return o, nil
}

// set reads one key. The error begins with it.
func (o *Options) set(m redirect.Member, dialects []Dialect) (err error) {
	switch m.Name {
	case "pods":
		o.Pods, err = word(m, PodsMeshed, PodsAll)
	case "missingAnnotations":
		o.MissingAnnotations, err = word(m, MissingFail, MissingPass)
	case "logLevel":
		o.LogLevel, err = word(m, LogDebug, LogInfo, LogWarn, LogError)
	case "logFile":
		o.LogFile, err = text(m)
		if err == nil && o.LogFile != "" && !strings.HasPrefix(o.LogFile, "/") {
			err = fmt.Errorf("logFile: %q: not an absolute path", clip(o.LogFile))
		}
	case "backend":
		var name string
		if name, err = text(m); err == nil {
			if o.Backend, err = netfilter.ParseBackend(name); err != nil {
				err = fmt.Errorf("backend: %w", err)
			}
		}
	case "excludeNamespaces":
		o.ExcludeNamespaces, err = texts(m)
	case "meshes":
		err = o.setMeshes(m, dialects)
	case "overrides":
		err = o.setOverrides(m)
	case "redirect":
		o.Redirect, err = overlay(m.Name, o.Redirect, m.Value, replaceAll)
	case "meshOptions":
		err = o.setMeshOptions(m, dialects)
	default:
		err = fmt.Errorf("detour.%s: unknown key (want %s)", clip(m.Name), optionNames)
	}
	return err
}

const optionNames = "pods, meshes, excludeNamespaces, overrides, backend, logLevel, logFile, redirect, meshOptions or missingAnnotations"

func (o *Options) setMeshes(m redirect.Member, dialects []Dialect) error {
	names, err := texts(m)
	if err != nil {
		return err
	}
	for i, name := range names {
		if _, ok := dialectOf(dialects, name); !ok {
			return fmt.Errorf("meshes[%d]: %q: unknown (want %s)", i, clip(name), dialectNames(dialects))
		}
	}
	o.Meshes = names
	return nil
}

func (o *Options) setOverrides(m redirect.Member) error {
	if m.Value[0] == '[' {
		names, err := texts(m)
		o.Overrides = Overrides{Namespaces: names}
		return err
	}
	mode, err := text(m)
	if err != nil || mode != "allow" && mode != "deny" {
		return fmt.Errorf("overrides: %s: not understood (want allow, deny or a list of namespaces)", clip(string(m.Value)))
	}
	o.Overrides = Overrides{All: mode == "allow"}
	return nil
}

func (o *Options) setMeshOptions(m redirect.Member, dialects []Dialect) error {
	members, err := redirect.Members(m.Value)
	if err != nil {
		return fmt.Errorf("meshOptions: %w", err)
	}
	o.MeshOptions = map[string]json.RawMessage{}
	for _, mesh := range members {
		base := baseSpec()
		if d, ok := dialectOf(dialects, mesh.Name); ok {
			base = d.Defaults()
		} else if mesh.Name != "*" {
			return fmt.Errorf("meshOptions.%s: unknown (want *, %s)", clip(mesh.Name), dialectNames(dialects))
		}
		if _, err := overlay("meshOptions."+mesh.Name, base, mesh.Value, addExempt); err != nil {
			return err
		}
		o.MeshOptions[mesh.Name] = mesh.Value
	}
	return nil
}

// layering is how excludeInboundPorts of one layer meets that of the layer below.
type layering int

const (
	// replaceAll: a list replaces the one below, also this one.
	replaceAll layering = iota
	// addExempt: excludeInboundPorts adds to a dialect's exempt ports. The proxy's
	// health and metrics ports are its own business, not the node's or the pod's.
	addExempt
)

// overlay lays a JSON object over a Spec, and validates what comes out.
func overlay(name string, base redirect.Spec, raw json.RawMessage, l layering) (redirect.Spec, error) {
	s, err := redirect.Overlay(base, raw)
	if err != nil {
		return s, fmt.Errorf("%s.%w", name, err)
	}
	if err := s.Validate(); err != nil {
		return s, fmt.Errorf("%s.%w", name, err)
	}
	if l == addExempt {
		s.ExcludeInboundPorts = redirect.Merge(slices.Concat(base.ExcludeInboundPorts, s.ExcludeInboundPorts))
	}
	return s, nil
}

// word reads one of a few words.
func word[T ~string](m redirect.Member, words ...T) (T, error) {
	t, err := text(m)
	if err != nil {
		return "", err
	}
	if !slices.Contains(words, T(t)) {
		var list []string
		for _, w := range words {
			list = append(list, string(w))
		}
		return "", fmt.Errorf("%s: %q: unknown (want %s)", m.Name, clip(t), strings.Join(list, " or "))
	}
	return T(t), nil
}

func text(m redirect.Member) (string, error) {
	var t *string
	if err := json.Unmarshal(m.Value, &t); err != nil || t == nil {
		return "", fmt.Errorf("%s: %s: not a string", m.Name, clip(string(m.Value)))
	}
	return *t, nil
}

func texts(m redirect.Member) ([]string, error) {
	var list []string
	if err := json.Unmarshal(m.Value, &list); err != nil || list == nil {
		return nil, fmt.Errorf("%s: %s: not a list of strings", m.Name, clip(string(m.Value)))
	}
	return list, nil
}
