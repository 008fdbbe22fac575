package install

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/detour-cni/detour/plugin"
)

// An Entry is our plugin's object in a chain, on one line.
type Entry struct {
	Text    []byte
	Options plugin.Options
}

// NewEntry wraps a "detour" object into an entry. The plugin's own parser judges it:
// what would fail in every ADD of the node must not get there.
func NewEntry(object []byte, dialects []plugin.Dialect) (Entry, error) {
	if len(bytes.TrimSpace(object)) == 0 {
		object = []byte("{}")
	}
	options, err := plugin.ParseOptions(object, dialects)
	if err != nil {
		return Entry{}, err
	}
	var text bytes.Buffer
	fmt.Fprintf(&text, `{"type":%q,"capabilities":{%q:true},"detour":`, PluginType, plugin.AnnotationsCapability)
	if err := json.Compact(&text, object); err != nil {
		return Entry{}, err
	}
	text.WriteByte('}')
	return Entry{Text: text.Bytes(), Options: options}, nil
}
