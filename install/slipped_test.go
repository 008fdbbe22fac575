package install

import (
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// cached is what the runtime keeps of an ADD that went through a chain.
func cached(pod, chain, annotations string) string {
	chain = base64.StdEncoding.EncodeToString([]byte(chain))
	return `{"kind":"cniCacheV1","containerId":"c","config":"` + chain + `","ifName":"eth0","networkName":"cbr0","netns":"/run/netns/x",` +
		`"cniArgs":[["K8S_POD_NAMESPACE","shop"],["K8S_POD_NAME","` + pod + `"]],"capabilityArgs":{"io.kubernetes.cri.pod-annotations":` + annotations + `}}`
}

func TestAPodThatSlippedPastIsNamed(t *testing.T) {
	n := node(t, Spliced)
	write(t, n.ConfDir, "10-flannel.conflist", flannel)
	cache := t.TempDir()
	w, log := watch(t, n, cache)
	within(t, "joined", func() bool { return w.Ready() == nil })
	write(t, cache, "cbr0-a-eth0", cached("slipped", flannel, meshed))
	write(t, cache, "cbr0-b-eth0", cached("redirected", strings.Replace(flannel, "portmap", PluginType, 1), meshed))
	write(t, cache, "cbr0-c-eth0", cached("plain", flannel, `{}`))
	within(t, "counted", func() bool { return testutil.ToFloat64(w.slipped) == 1 })
	within(t, "named", func() bool { return log.has("without us", "shop/slipped") })
	if log.has("shop/redirected") || log.has("shop/plain") {
		t.Error("a pod that did not slip past is named")
	}
	must(t, os.Remove(filepath.Join(cache, "cbr0-a-eth0")))
	within(t, "gone", func() bool { return testutil.ToFloat64(w.slipping) == 0 })
}

// TestPodsThatSlippedPastAreKnownWhileRunsFail: neither forgotten, nor counted again afterwards.
func TestPodsThatSlippedPastAreKnownWhileRunsFail(t *testing.T) {
	n, w, log := withBadConfig(t, Spliced)
	slip := func(pod string) {
		t.Helper()
		write(t, w.Cache, "cbr0-"+pod+"-eth0", cached(pod, flannel, meshed))
		within(t, pod+" counted", func() bool { return log.has("without us", "shop/"+pod) })
	}
	slip("a")
	must(t, os.Remove(filepath.Join(n.ConfDir, "10-flannel.conflist")))
	within(t, "no network", func() bool { return errors.Is(w.Ready(), ErrNoPrimary) })
	slip("b")
	write(t, n.ConfDir, "10-flannel.conflist", flannel)
	must(t, os.WriteFile(n.Config, []byte(goodConfig), 0o600))
	within(t, "ready", func() bool { return w.Ready() == nil })
	slip("c")
	if now, all := testutil.ToFloat64(w.slipping), testutil.ToFloat64(w.slipped); now != 3 || all != 3 {
		t.Errorf("%v slipped past, %v in all, want 3", now, all)
	}
}
