package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"

	"github.com/detour-cni/detour/install"
	"github.com/detour-cni/detour/plugin"
	"github.com/detour-cni/detour/plugin/mesh"
	"github.com/detour-cni/detour/redirect"
)

// source is what rules are to be made from, without a node.
type source struct{ spec, annotations, config string }

func (s *source) register(flags *pflag.FlagSet) {
	flags.StringVar(&s.spec, "spec", "", `file with a redirect, as in the option "redirect": laid over the Envoy defaults ("-": stdin)`)
	flags.StringVar(&s.annotations, "annotations", "", `file with a pod's manifest from the cluster, or its annotations alone, YAML or JSON ("-": stdin)`)
	flags.StringVar(&s.config, "config", "", `file with the node's options: our "detour" object, our entry, or a conflist (default: the defaults)`)
}

// decided is what is to be done with a pod.
type decided struct{ plugin.Decision }

// rules are none for a pod that is left alone.
func (d decided) rules() (redirect.RuleSet, error) {
	if !d.Redirect {
		return redirect.RuleSet{}, nil
	}
	rs, err := redirect.Compile(d.Spec)
	if err != nil {
		return rs, exit{exitUsage, err}
	}
	return rs, nil
}

// read reads the files, and decides as ADD does. What is wrong with them is usage.
func (s source) read(stdin io.Reader) (d decided, err error) {
	switch {
	case s.spec == "" && s.annotations == "":
		return d, exit{exitUsage, errNoSource}
	case s.spec != "" && s.annotations != "":
		return d, exit{exitUsage, errors.New("--spec and --annotations: want one of them")}
	}
	options := plugin.DefaultOptions(mesh.All())
	if s.config != "" {
		text, err := slurp(s.config, stdin)
		if err != nil {
			return d, exit{exitUnknown, err}
		}
		if options, err = nodeOptions(text); err != nil {
			return d, exit{exitUsage, fmt.Errorf("%s: %w", s.config, err)}
		}
	}
	path := s.spec + s.annotations
	text, err := slurp(path, stdin)
	if err != nil {
		return d, exit{exitUnknown, err}
	}
	if s.spec != "" {
		d.Redirect, d.Why = true, "asked for"
		d.Spec, err = redirect.Overlay(redirect.EnvoyDefaults(), text)
	} else {
		d, err = decideManifest(text, options)
	}
	if err != nil {
		return d, exit{exitUsage, fmt.Errorf("%s: %w", path, err)}
	}
	return d, nil
}

func slurp(path string, stdin io.Reader) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(stdin)
	}
	return os.ReadFile(path)
}

// nodeOptions finds our "detour" object in a conflist, in our entry of one, or alone.
func nodeOptions(text []byte) (plugin.Options, error) {
	type entry struct {
		Type   string          `json:"type"`
		Detour json.RawMessage `json:"detour"`
	}
	var file struct {
		entry
		Plugins []entry `json:"plugins"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return plugin.Options{}, err
	}
	options := json.RawMessage(text)
	if file.Plugins != nil {
		found := false
		for _, e := range file.Plugins {
			if e.Type == install.PluginType {
				file.entry, found = e, true
			}
		}
		if !found {
			return plugin.Options{}, fmt.Errorf("plugins: none is of type %q", install.PluginType)
		}
	}
	if file.Type != "" {
		options = file.Detour
	}
	if len(options) == 0 {
		options = json.RawMessage("{}")
	}
	return plugin.ParseOptions(options, mesh.All())
}

// decideManifest decides on the pod of a manifest, YAML or JSON, on the only one in a List, or on a
// pod of which there are only annotations.
func decideManifest(text []byte, options plugin.Options) (decided, error) {
	type manifest struct {
		Kind     string `json:"kind"`
		Metadata struct {
			Namespace   string            `json:"namespace"`
			Name        string            `json:"name"`
			UID         string            `json:"uid"`
			Annotations map[string]string `json:"annotations"`
		} `json:"metadata"`
	}
	var file struct {
		manifest
		Items []manifest `json:"items"`
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		return decided{}, err
	}
	if file.Kind == "List" && len(file.Items) == 1 {
		file.manifest = file.Items[0]
	}
	if file.Kind == "" {
		if err := yaml.UnmarshalStrict(text, &file.Metadata.Annotations); err != nil {
			return decided{}, fmt.Errorf("neither a Pod (kubectl get pod NAME -o yaml) nor annotations alone: %w", err)
		}
		file.Kind = "Pod"
	}
	if file.Kind != "Pod" {
		return decided{}, fmt.Errorf("kind: %q (want one Pod: kubectl get pod NAME -o yaml)", file.Kind)
	}
	m := file.Metadata
	if m.Namespace == "" {
		m.Namespace = "default"
	}
	pod := plugin.Pod{Ref: plugin.PodRef{Namespace: m.Namespace, Name: m.Name, UID: m.UID}, Annotations: m.Annotations, Handed: true}
	decision, err := plugin.Decide(options, pod, mesh.All())
	return decided{decision}, err
}
