package install

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/detour-cni/detour/plugin"
)

// An Attachment is what libcni keeps of one ADD in its result cache
// (/var/lib/cni/results, written by the runtime, one file each), as far as it matters.
type Attachment struct {
	// File is the name in the cache, which has network, container id and interface.
	File    string
	Network string
	Pod     plugin.Pod
	Netns   string
	// Chain are the plugins of the list that the ADD went through. Drop-ins are not in it:
	// libcni caches the list's own bytes.
	Chain []string
}

// Attachments reads the result cache. A file that is not whole, or gone by now, is
// passed over: the runtime writes there while we read.
func Attachments(cache string) ([]Attachment, error) {
	entries, err := os.ReadDir(cache)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []Attachment
	for _, e := range entries {
		if a, ok := attachment(filepath.Join(cache, e.Name())); ok {
			all = append(all, a)
		}
	}
	return all, nil
}

func attachment(path string) (Attachment, bool) {
	text, err := readConf(path)
	if err != nil {
		return Attachment{}, false
	}
	var raw struct {
		Config         []byte                     `json:"config"`
		NetworkName    string                     `json:"networkName"`
		Netns          string                     `json:"netns"`
		CNIArgs        [][2]string                `json:"cniArgs"`
		CapabilityArgs map[string]json.RawMessage `json:"capabilityArgs"`
		Result         struct {
			Interfaces []struct {
				Sandbox string `json:"sandbox"`
			} `json:"interfaces"`
		} `json:"result"`
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		return Attachment{}, false
	}
	a := Attachment{File: filepath.Base(path), Network: raw.NetworkName, Netns: raw.Netns}
	for _, i := range raw.Result.Interfaces { // libcni before 1.0 (containerd 1.6) keeps it only there
		if a.Netns == "" {
			a.Netns = i.Sandbox
		}
	}
	if list, err := ParseList(raw.Config); err == nil {
		a.Chain = list.Types()
	}
	var args []string
	for _, kv := range raw.CNIArgs {
		args = append(args, kv[0]+"="+kv[1])
	}
	if a.Pod.Ref, err = plugin.ParseArgs(strings.Join(args, ";")); err != nil {
		return Attachment{}, false
	}
	if annotations, ok := raw.CapabilityArgs[plugin.AnnotationsCapability]; ok {
		a.Pod.Handed = json.Unmarshal(annotations, &a.Pod.Annotations) == nil
	}
	return a, true
}

// Slipped gives the attachments to the network that were made without us although the
// pod belongs into the mesh. In drop-in mode nobody can tell from the cache, and nobody has to: a
// foreign write does not take us out there.
func Slipped(all []Attachment, network string, o plugin.Options, dialects []plugin.Dialect) (slipped []Attachment) {
	for _, a := range all {
		if a.Network != network || len(a.Chain) == 0 || slices.Contains(a.Chain, PluginType) || !a.Pod.Ref.IsPod() {
			continue
		}
		if d, err := plugin.Decide(o, a.Pod, dialects); err == nil && d.Redirect {
			slipped = append(slipped, a)
		}
	}
	return slipped
}
