package install

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/detour-cni/detour/plugin"
)

// TestJoinedAreTheVersionsThatThePluginSpeaks asks the built plugin, as a runtime does.
func TestJoinedAreTheVersionsThatThePluginSpeaks(t *testing.T) {
	n := node(t, Spliced)
	ask := exec.Command(n.Plugin)
	ask.Env = []string{"CNI_COMMAND=VERSION"}
	ask.Stdin = strings.NewReader(`{"cniVersion":"1.0.0"}`)
	text, err := ask.Output()
	must(t, err)
	var speaks struct{ SupportedVersions []string }
	must(t, json.Unmarshal(text, &speaks))
	if !slices.Equal(speaks.SupportedVersions, plugin.CNIVersions()) {
		t.Errorf("the plugin speaks %v, joined are %v", speaks.SupportedVersions, plugin.CNIVersions())
	}
	for _, version := range append(speaks.SupportedVersions, "0.1.0", "0.2.0", "1.2.0") {
		write(t, n.ConfDir, "10-flannel.conflist", strings.Replace(flannel, "0.3.1", version, 1))
		_, err := n.Install()
		if joined := err == nil; joined != slices.Contains(speaks.SupportedVersions, version) {
			t.Errorf("cniVersion %s: %v", version, err)
		}
	}
}

// TestANetworkThatThePluginNoLongerSpeaksIsLeft changes the version in the file of a network that we
// are in, and nothing else: a pod that is none of our business must not fail for us.
func TestANetworkThatThePluginNoLongerSpeaksIsLeft(t *testing.T) {
	for _, mode := range []Mode{Spliced, DropIn, Owned} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			n := node(t, mode)
			primary := filepath.Join(n.ConfDir, "10-flannel.conflist")
			write(t, n.ConfDir, "10-flannel.conflist", flannel)
			cache := t.TempDir()
			w, log := watch(t, n, cache)
			within(t, "joined", func() bool { return w.Ready() == nil })
			text, err := os.ReadFile(primary)
			must(t, err)
			write(t, n.ConfDir, "10-flannel.conflist", strings.Replace(string(text), "0.3.1", "1.2.0", 1))
			within(t, "left", func() bool { return names(t, n.ConfDir) == "10-flannel.conflist" && !inFile(primary, PluginType)() })
			within(t, "said", func() bool {
				return log.has("left the chain", "mode="+string(mode)) && log.has("not installed", primary, "1.2.0", "want one of")
			})
			within(t, "not ready", func() bool {
				_, ok := errors.AsType[VersionError](w.Ready())
				return ok && testutil.ToFloat64(w.inChain) == 0
			})
			if now, err := os.ReadFile(primary); err != nil || string(now) != strings.Replace(flannel, "0.3.1", "1.2.0", 1) {
				t.Errorf("%v: the primary is now %s", err, now)
			}
			write(t, cache, "cbr0-a-eth0", cached("slipped", flannel, `{"detour-cni.dev/redirect":"true"}`))
			if mode != DropIn { // where no cache can tell
				within(t, "named", func() bool { return log.has("without us", "shop/slipped") })
			}
			write(t, n.ConfDir, "10-flannel.conflist", strings.Replace(flannel, "0.3.1", "1.1.0", 1))
			within(t, "joined again", func() bool { return w.Ready() == nil && testutil.ToFloat64(w.inChain) == 1 })
		})
	}
}
