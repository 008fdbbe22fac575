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
	files, err := cachedFiles(cache)
	if err != nil {
		return nil, err
	}
	var all []Attachment
	for _, e := range files {
		if a, ok := attachment(filepath.Join(cache, e.Name())); ok {
			all = append(all, a)
		}
	}
	return all, nil
}

// cachedFiles are those of the result cache, which is not there before the first pod.
func cachedFiles(cache string) ([]fs.DirEntry, error) {
	files, err := os.ReadDir(cache)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return files, err
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

// slipped reports whether the pod belongs into the mesh and was added without us, by a chain that
// did it in no other way either. One that we would have refused, for an annotation that cannot be
// used, has gone past us as well. Of a pod whose annotations nobody handed over nobody knows.
func (a Attachment) slipped(o plugin.Options, dialects []plugin.Dialect) bool {
	if len(a.Chain) == 0 || slices.Contains(a.Chain, PluginType) || !a.Pod.Ref.IsPod() {
		return false
	}
	d, err := plugin.Decide(o, a.Pod, dialects)
	if err != nil {
		return plugin.CNIError(err).Code == plugin.CodeAnnotation && !slices.ContainsFunc(a.Chain, isMeshPlugin)
	}
	return d.Redirect && !slices.ContainsFunc(a.Chain, func(t string) bool { return isMeshPlugin(t) && meshPlugins()[t] == d.Dialect })
}

func isMeshPlugin(t string) bool { return meshPlugins()[t] != "" }
