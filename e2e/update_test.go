package e2e

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/detour-cni/detour/e2e/node"
)

// 4. A rolling update to a newer version, with an option that the older one does not know, and back,
// while pods come and go: the newer plugin reads the older entry, never the other way round.
func TestRollingUpdateLosesNoPod(t *testing.T) {
	install(t)
	c := startChurn(t, "update", 5)
	c.scale(t, 50)
	rounds := make(chan struct{})
	go func() {
		defer close(rounds)
		helm(t, "upgrade", "detour", "../deploy/chart/detour", "--namespace", system, "--reuse-values", "--set", "image.tag=e2e-next,detour.newerOption=yes")
		ready(t)
		inEntry(t, true)
		helm(t, "rollback", "detour", "--namespace", system)
		ready(t)
		inEntry(t, false)
	}()
	c.scale(t, 5)
	c.scale(t, 50)
	<-rounds
	c.scale(t, 5)
	c.scale(t, 20)
	c.lookedAtAll(t)
	looked, bypassed := c.verdict()
	if len(bypassed) > 0 {
		t.Errorf("without a redirect: %v", bypassed)
	}
	if looked < 100 {
		t.Errorf("looked at %d pods only", looked)
	}
	if refused := events(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "update"}}); strings.Contains(refused, "newerOption") {
		t.Errorf("a plugin was called with an entry that it cannot read: %s", refused)
	}
	t.Logf("%d pods looked at", looked)
}

// inEntry looks whether the newer option is in the entry that the runtime loads.
func inEntry(t *testing.T, want bool) {
	t.Helper()
	until(t, 10*time.Second, fmt.Sprintf("newerOption in the chain: %t", want), func() error {
		text := dirText(t, node.ConfDir)
		if strings.Contains(text, "newerOption") != want {
			return fmt.Errorf("%s", text)
		}
		return nil
	})
}

// 4b. The runtime restarts, and the whole node.
func TestRestartsLoseNoPod(t *testing.T) {
	install(t)
	c := startChurn(t, "restart", 10)
	c.scale(t, 20)
	knode.Containerd.Stop()
	if err := knode.Containerd.Restart(); err != nil {
		t.Fatal(err)
	}
	c.scale(t, 5)
	c.scale(t, 20)

	c.lookedAtAll(t)

	// A reboot, as far as one can be simulated: every container of the node dies at once, and so
	// do kubelet and runtime. Files stay, what is in memory and every sandbox goes.
	knode.Kubelet.Kill()
	if out, err := exec.Command("sh", "-c", "pids=$(cat /sys/fs/cgroup/pids/knode/kubepods/*/pod*/*/cgroup.procs /sys/fs/cgroup/pids/knode/kubepods/pod*/*/cgroup.procs 2>/dev/null); kill -9 $pids").CombinedOutput(); err != nil {
		t.Fatalf("kill the containers: %v: %s", err, out)
	}
	knode.Containerd.Kill()
	if err := knode.Containerd.Restart(); err != nil {
		t.Fatal(err)
	}
	until(t, time.Minute, "the runtime answers", knode.RuntimeReady)
	if err := knode.Kubelet.Restart(); err != nil {
		t.Fatal(err)
	}
	before, _ := c.verdict()
	until(t, 2*time.Minute, "node Ready", func() error { return knode.Ready(t.Context()) })
	until(t, 2*time.Minute, "every pod in a sandbox made anew", func() error {
		if now, _ := c.verdict(); now < before+20 {
			return fmt.Errorf("%d of 20", now-before)
		}
		return c.count(20)
	})
	c.scale(t, 5)
	c.scale(t, 20)
	c.lookedAtAll(t)
	looked, bypassed := c.verdict()
	if len(bypassed) > 0 {
		t.Errorf("without a redirect: %v", bypassed)
	}
	t.Logf("%d pods looked at", looked)
}
