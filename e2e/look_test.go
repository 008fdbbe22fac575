package e2e

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// detour runs the program on the node, as an administrator would after ssh.
func detour(t *testing.T, args ...string) (stdout string, err error) {
	t.Helper()
	c := exec.Command("../bin/e2e/e2e/detour", args...)
	var errs strings.Builder
	c.Stderr = &errs
	out, err := c.Output()
	if errs.Len() > 0 {
		t.Logf("detour %s: %s", strings.Join(args, " "), errs.String())
	}
	return string(out), err
}

// checkedInside gives the pod detour-validate as an init container: it starts only if its
// packets are bent as they should be.
func checkedInside(pod *corev1.Pod) {
	no, yes, user := false, true, int64(1000)
	pod.Spec.InitContainers = append(pod.Spec.InitContainers, corev1.Container{
		Name: "detour-validate", Image: "detour-cni/detour:e2e", ImagePullPolicy: corev1.PullNever, Command: []string{"/detour-validate", "--as", "app"},
		SecurityContext: &corev1.SecurityContext{RunAsUser: &user, RunAsNonRoot: &yes, AllowPrivilegeEscalation: &no,
			Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
	})
}

// On the node: a pod is found by its name, inspected, explained, and checked from inside
// under Pod Security restricted.
func TestLookingIntoAPod(t *testing.T) {
	install(t)
	namespace(t, "shop", "restricted")
	pod := manifest(t, "istio.yaml", "shop", "looked-at")
	checkedInside(pod)
	create(t, pod)
	running(t, "shop", "looked-at")
	if line := logOf(t, "shop", "looked-at", "detour-validate"); !strings.Contains(line, "ok: IPv4 outbound TCP") || !strings.Contains(line, "IPv6 outbound TCP") {
		t.Errorf("detour-validate says %s", line)
	}

	text, err := detour(t, "inspect", "shop/looked-at", "-o", "json")
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	var document struct {
		Pods []struct {
			Name, Found, Annotations string
			Ways                     []struct{ Way, Outcome, Listener string }
		}
	}
	if err := json.Unmarshal([]byte(text), &document); err != nil {
		t.Fatal(err)
	}
	p := document.Pods[0]
	if p.Name != "shop/looked-at" || !strings.Contains(p.Found, "CNI result cache") || !strings.HasPrefix(p.Annotations, "istio: ") {
		t.Errorf("found %q, in %q, annotations %q", p.Name, p.Found, p.Annotations)
	}
	for _, w := range p.Ways {
		if want := map[string]string{"app-out": "redirect", "wire-in": "redirect", "proxy-out": "pass", "app-localhost": "pass"}[w.Way]; want != "" && w.Outcome != want {
			t.Errorf("%s: %s, want %s", w.Way, w.Outcome, want)
		}
		if w.Way == "app-out" && !strings.Contains(w.Listener, "uid 1337") {
			t.Errorf("who listens: %q, want the proxy's process", w.Listener)
		}
	}
	if text, err := detour(t, "explain", "shop/looked-at", "--from", "wire", "--to", ":8080"); err != nil || !strings.Contains(text, "the proxy gets it, on port 15006") {
		t.Errorf("%v: explain says %s", err, text)
	}

	if text, err := detour(t, "inspect", "--all", "-o", "json"); err != nil || !strings.Contains(text, `"shop/looked-at"`) {
		t.Errorf("--all: %v: %s", err, text)
	}
}
