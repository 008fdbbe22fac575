package e2e

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/detour-cni/detour/e2e/node"
)

// modes are those that the node's runtime has.
func modes() []string {
	if *flavour == "containerd-2" {
		return []string{"drop-in", "owned", "splice"}
	}
	return []string{"owned", "splice"}
}

// 5. The primary's own list is rewritten, renamed, removed and brought back while pods come
// and go. In drop-in and owned mode no pod slips past; in splice mode each one is counted.
func TestForeignWritersLoseNoPod(t *testing.T) {
	for _, mode := range modes() {
		t.Run(mode, func(t *testing.T) {
			install(t, "poolDefaults.mode="+mode)
			before := metric(t, "detour_slipped_pods_total")
			c := startChurn(t, "foreign-"+mode, 5)
			stop := make(chan struct{})
			stopped := make(chan struct{})
			go func() {
				defer close(stopped)
				disturb(t, stop)
			}()
			for range 3 {
				c.scale(t, 25)
				c.lookedAtAll(t)
				c.scale(t, 5)
			}
			close(stop)
			<-stopped
			c.scale(t, 10)
			c.lookedAtAll(t)
			looked, bypassed := c.verdict()
			counted := metric(t, "detour_slipped_pods_total") - before
			named := slippedInLog(t, "foreign-"+mode)
			t.Logf("%d pods looked at, %d without a redirect, %v counted, %d named in the log", looked, len(bypassed), counted, len(named))
			switch {
			case mode != "splice" && len(bypassed) > 0:
				t.Errorf("without a redirect: %v", bypassed)
			case float64(len(bypassed)) > counted:
				t.Errorf("%v slipped past, and the metric says %v", bypassed, counted)
			case float64(len(named)) != counted:
				t.Errorf("the metric says %v, the log names %v", counted, named)
			}
			for _, pod := range bypassed {
				if name, _, _ := strings.Cut(pod, ":"); !slices.Contains(named, name) {
					t.Errorf("%s slipped past, and the log names only %v", name, named)
				}
			}
			ready(t)
		})
	}
}

// slippedInLog gives the pods of a namespace that the DaemonSet's log names as slipped past.
func slippedInLog(t *testing.T, namespace string) (pods []string) {
	t.Helper()
	list, err := knode.Client.CoreV1().Pods(system).List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=detour"})
	if err != nil || len(list.Items) == 0 {
		t.Fatalf("the DaemonSet's pods: %v", err)
	}
	for _, p := range list.Items {
		text, err := knode.Client.CoreV1().Pods(system).GetLogs(p.Name, &corev1.PodLogOptions{}).DoRaw(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`runs without its redirect.* pod=`+namespace+`/(\S+)`).FindAllSubmatch(text, -1) {
			pods = append(pods, string(m[1]))
		}
	}
	return pods
}

// disturb is another writer: once a second it does what primaries do to their file.
func disturb(t *testing.T, stop <-chan struct{}) {
	moved := filepath.Join(node.ConfDir, "20-bridge.conflist")
	rewrite := func() error { return os.WriteFile(primaryFile, []byte(primary), 0o600) }
	steps := []func() error{
		rewrite,
		func() error { return os.Rename(primaryFile, moved) },
		func() error { return os.Rename(moved, primaryFile) },
		func() error { return os.Remove(primaryFile) },
		rewrite,
		func() error {
			temp := filepath.Join(node.ConfDir, ".10-bridge.tmp")
			if err := os.WriteFile(temp, []byte(primary), 0o600); err != nil {
				return err
			}
			return os.Rename(temp, primaryFile)
		},
	}
	for i := 0; ; i++ {
		select {
		case <-stop:
			if _, err := os.Stat(primaryFile); err == nil {
				return // else on, until it is back under its name
			}
		case <-time.After(time.Second):
		}
		if err := steps[i%len(steps)](); err != nil {
			t.Error(err)
			return
		}
	}
}

// metric reads one of the installer's.
func metric(t *testing.T, name string) (value float64) {
	t.Helper()
	until(t, 10*time.Second, "metrics", func() error {
		r, err := http.Get("http://127.0.0.1:9464/metrics")
		if err != nil {
			return err
		}
		defer r.Body.Close()
		text, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		m := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindSubmatch(text)
		if m == nil {
			t.Fatalf("no %s in %s", name, text)
		}
		value, err = strconv.ParseFloat(string(m[1]), 64)
		return err
	})
	return value
}
