package plugin

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/detour-cni/detour/redirect"
)

// AnnotationsCapability is the capability that makes containerd (>= 1.5) and
// CRI-O (>= 1.29) hand over the pod's annotations, and the key they use in runtimeConfig.
const AnnotationsCapability = "io.kubernetes.cri.pod-annotations"

// CNIVersions are those of the CNI specification that the plugin speaks; skel refuses any other.
func CNIVersions() []string { return []string{"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"} }

// NetConf is what stdin says: CNI's own keys as far as they matter here, and
// ours. CNI's types.PluginConf is not embedded: it decodes the prevResult into
// maps, and loses the bytes that are to be printed again.
type NetConf struct {
	CNIVersion string
	Name       string
	// PrevResult is the very bytes that came; nil when there were none.
	PrevResult json.RawMessage
	// Annotations are the pod's. Handed is false when the runtime did not hand
	// any over, which is not the same as a pod that has none.
	Annotations map[string]string
	Handed      bool
	Options     Options
}

// ParseNetConf reads stdin. The dialects are those that the "meshes" key may name.
func ParseNetConf(stdin []byte, dialects []Dialect) (NetConf, error) {
	var raw struct {
		CNIVersion    string          `json:"cniVersion"`
		Name          string          `json:"name"`
		PrevResult    json.RawMessage `json:"prevResult"`
		Detour        json.RawMessage `json:"detour"`
		RuntimeConfig struct {
			Annotations json.RawMessage `json:"io.kubernetes.cri.pod-annotations"`
		} `json:"runtimeConfig"`
	}
	if err := json.Unmarshal(stdin, &raw); err != nil {
		code := CodeConfig
		if !json.Valid(stdin) {
			code = CodeDecode
		}
		return NetConf{}, withCode(code, fmt.Errorf("network configuration: %w", err))
	}
	conf := NetConf{CNIVersion: raw.CNIVersion, Name: raw.Name, Handed: raw.RuntimeConfig.Annotations != nil}
	if conf.CNIVersion == "" {
		conf.CNIVersion = "0.1.0" // CNI specification 0.3.0: what an absent key means
	}
	if !isNull(raw.PrevResult) {
		conf.PrevResult = raw.PrevResult
	}
	if conf.Handed {
		if err := json.Unmarshal(raw.RuntimeConfig.Annotations, &conf.Annotations); err != nil {
			return NetConf{}, withCode(CodeConfig, fmt.Errorf("runtimeConfig.%s: %s: not a map of texts (want {\"name\": \"value\"})", AnnotationsCapability, clip(string(raw.RuntimeConfig.Annotations))))
		}
	}
	var err error
	if conf.Options, err = ParseOptions(raw.Detour, dialects); err != nil {
		return NetConf{}, withCode(CodeConfig, err)
	}
	return conf, nil
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || bytes.Equal(raw, []byte("null")) }

// baseSpec is the Spec that `redirect` lays its keys over.
func baseSpec() redirect.Spec { return redirect.EnvoyDefaults() }
