package install

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"

	"github.com/containernetworking/cni/libcni"
)

// PluginType is the name of our binary, and the type of our entry in a list.
const PluginType = "detour-cni"

// A List is a CNI network configuration list as its writer wrote it: the bytes, and
// where in them the plugins are.
type List struct {
	Text       []byte
	Name       string
	CNIVersion string
	// InlineOnly is loadOnlyInlinedPlugins: the runtime reads no drop-ins for it.
	InlineOnly bool
	Plugins    []Element
}

// An Element is one plugin's object in a List: Text[Start:End].
type Element struct {
	Type       string
	Start, End int
}

// networkName is what libcni accepts as a network's name (pkg/utils of cni 1.3). A
// drop-in's directory has that name, so nothing else may become a path.
var networkName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$`)

var errNoPlugins = errors.New("no plugins in list")

// ParseList reads a .conflist: first as the runtime does, so that what is wrong for
// the runtime is wrong here and in its words, and then for the places of the bytes.
func ParseList(text []byte) (List, error) {
	conf, err := libcni.NetworkConfFromBytes(text)
	if err != nil {
		return List{}, err
	}
	if !networkName.MatchString(conf.Name) {
		return List{}, fmt.Errorf("name: %q is not a network name (want letters, digits, _ . -)", conf.Name)
	}
	list := List{Text: text, Name: conf.Name, CNIVersion: conf.CNIVersion, InlineOnly: conf.LoadOnlyInlinedPlugins}
	if list.Plugins, err = elements(text); err != nil {
		return List{}, err
	}
	if len(list.Plugins) == 0 {
		return List{}, errNoPlugins
	}
	return list, nil
}

// elements finds the objects of the top-level "plugins" array. Of two keys of that
// name the last one counts, as in encoding/json, which the runtimes use.
func elements(text []byte) (found []Element, err error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	if _, err := dec.Token(); err != nil { // {
		return nil, err
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		if key != "plugins" {
			var skipped json.RawMessage
			if err := dec.Decode(&skipped); err != nil {
				return nil, err
			}
			continue
		}
		if found, err = array(dec); err != nil {
			return nil, fmt.Errorf("plugins: %w", err)
		}
	}
	return found, nil
}

func array(dec *json.Decoder) (found []Element, err error) {
	if open, err := dec.Token(); err != nil || open != json.Delim('[') {
		return nil, fmt.Errorf("not a list: %w", err)
	}
	for dec.More() {
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, err
		}
		end := int(dec.InputOffset())
		// As libcni has it: an exact key, in a map.
		members := map[string]any{}
		if err := json.Unmarshal(raw, &members); err != nil {
			return nil, err
		}
		kind, _ := members["type"].(string)
		found = append(found, Element{Type: kind, Start: end - len(raw), End: end})
	}
	_, err = dec.Token() // ]
	return found, err
}

// Ours are the indexes of our entries among the plugins: none, one, or more if
// somebody merged files.
func (l List) Ours() []int {
	var at []int
	for i, p := range l.Plugins {
		if p.Type == PluginType {
			at = append(at, i)
		}
	}
	return at
}

// Types are the chain's plugins by name, in order.
func (l List) Types() []string {
	var types []string
	for _, p := range l.Plugins {
		types = append(types, p.Type)
	}
	return types
}

// ParseSingle reads a .conf, one plugin without a list, as the runtime does.
func ParseSingle(text []byte) (name, cniVersion, kind string, err error) {
	conf, err := libcni.NetworkPluginConfFromBytes(text)
	if err != nil {
		return "", "", "", err
	}
	if !networkName.MatchString(conf.Network.Name) {
		return "", "", "", fmt.Errorf("name: %q is not a network name (want letters, digits, _ . -)", conf.Network.Name)
	}
	return conf.Network.Name, conf.Network.CNIVersion, conf.Network.Type, nil
}
