package plugin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/types/create"
)

// passResult gives what ADD prints. A prevResult of the list's version is printed
// as the very bytes that came, unknown keys and all; one of another version is
// converted, because primaries exist that answer in their own.
func passResult(conf NetConf, ifName string) (json.RawMessage, error) {
	if conf.PrevResult == nil {
		return noResult(conf, ifName)
	}
	var has struct {
		CNIVersion *string `json:"cniVersion"`
	}
	if err := json.Unmarshal(conf.PrevResult, &has); err != nil {
		return nil, withCode(CodeConfig, fmt.Errorf("prevResult: %s: not a result (want an object, its cniVersion a string)", clip(string(conf.PrevResult))))
	}
	version, dated := conf.CNIVersion, []byte(conf.PrevResult)
	if has.CNIVersion != nil {
		version = *has.CNIVersion
	} else {
		dated = withVersion(dated, version)
	}
	result, err := create.Create(version, dated)
	if err != nil {
		return nil, withCode(CodeConfig, fmt.Errorf("prevResult: not a result of cniVersion %q: %w", clip(version), err))
	}
	if version == conf.CNIVersion {
		return conf.PrevResult, nil
	}
	converted, err := result.GetAsVersion(conf.CNIVersion)
	if err != nil {
		return nil, withCode(CodeConfig, fmt.Errorf("prevResult: cniVersion %q as %q: %w", clip(version), conf.CNIVersion, err))
	}
	return printed(converted)
}

// withVersion gives a JSON object with one more key. The specification's examples
// of a prevResult have no cniVersion; package create wants one since cni 1.0.
func withVersion(object []byte, version string) []byte {
	rest := bytes.TrimSpace(bytes.TrimSpace(object)[1:])
	separator := ","
	if bytes.Equal(rest, []byte("}")) {
		separator = ""
	}
	return fmt.Appendf(nil, `{"cniVersion":%q%s%s`, version, separator, rest)
}

// noResult is for ADD without a prevResult: under pods: all there may be no
// plugin before us, and in Multus' auxiliary chain there never is a result.
func noResult(conf NetConf, ifName string) (json.RawMessage, error) {
	if conf.Options.Pods != PodsAll && !isAuxiliary(ifName) {
		return nil, withCode(CodeConfig, errors.New("prevResult: missing (want detour after the plugin that makes the interface, in its list)"))
	}
	empty, err := (&types100.Result{CNIVersion: types100.ImplementedSpecVersion}).GetAsVersion(conf.CNIVersion)
	if err != nil {
		return nil, withCode(CodeConfig, fmt.Errorf("cniVersion: %q: %w", clip(conf.CNIVersion), err))
	}
	return printed(empty)
}

// isAuxiliary recognises the interface names of Multus' auxiliary chain: net1, net2 …
func isAuxiliary(ifName string) bool {
	digits, ok := strings.CutPrefix(ifName, "net")
	return ok && digits != "" && strings.Trim(digits, "0123456789") == ""
}

func printed(r types.Result) (json.RawMessage, error) {
	var b bytes.Buffer
	if err := r.PrintTo(&b); err != nil {
		return nil, fmt.Errorf("print result: %w", err)
	}
	return b.Bytes(), nil
}
