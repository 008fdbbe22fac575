package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"
)

// askedByKubelet gives the pod detour-validate as a native sidecar: what comes after it starts only if
// the kubelet's own call landed on the inbound port.
func askedByKubelet(pod *corev1.Pod) {
	checkedInside(pod)
	c := pod.Spec.InitContainers[0]
	always := corev1.ContainerRestartPolicyAlways
	c.Name, c.Command, c.RestartPolicy = "detour-validate-inbound", []string{"/detour-validate", "probe"}, &always
	c.StartupProbe = &corev1.Probe{PeriodSeconds: 1, FailureThreshold: 120, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromInt32(15777)}}}
	pod.Spec.InitContainers = append([]corev1.Container{c}, pod.Spec.InitContainers...)
}

func logOf(t *testing.T, namespace, pod, container string) string {
	t.Helper()
	text, err := knode.Client.CoreV1().Pods(namespace).GetLogs(pod, &corev1.PodLogOptions{Container: container}).DoRaw(t.Context())
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// The inbound hook, which no check from inside reaches, is proved by the kubelet's packet: a pod with a redirect
// starts, and its proxy has its port; one without waits, and says why.
func TestTheKubeletProvesTheInboundHook(t *testing.T) {
	install(t)
	namespace(t, "shop", "restricted")
	good := manifest(t, "istio.yaml", "shop", "asked-well")
	askedByKubelet(good)
	create(t, good)
	bad := manifest(t, "istio.yaml", "shop", "asked-badly")
	bad.Annotations = nil // no mesh claims it
	askedByKubelet(bad)
	create(t, bad)

	ip := running(t, "shop", "asked-well").Status.PodIP
	if got := logOf(t, "shop", "asked-well", "detour-validate-inbound"); !strings.Contains(got, "ok: inbound hook: a call from ") || !strings.Contains(got, "landed on port 15006") {
		t.Errorf("the sidecar says %s", got)
	}
	if got := callIn(t, ip+":8080"); !strings.HasPrefix(got, "app saw 127.0.0.6:") {
		t.Errorf("afterwards a call in: %s, want it through the proxy", got)
	}
	until(t, 30*time.Second, "the sidecar of a pod without a redirect says so", func() error {
		if got := logOf(t, "shop", "asked-badly", "detour-validate-inbound"); !strings.Contains(got, "arrived at port 15777 itself, not at port 15006") {
			return fmt.Errorf("it says %s", got)
		}
		return nil
	})
	p, err := knode.Client.CoreV1().Pods("shop").Get(t.Context(), "asked-badly", metav1.GetOptions{})
	if err != nil || p.Status.Phase != corev1.PodPending {
		t.Errorf("the pod without a redirect is %s, %v, want it Pending", p.Status.Phase, err)
	}
}

// Pod Security restricted admits every example, as it stands.
func TestTheExamplesAreAdmitted(t *testing.T) {
	namespace(t, "shop", "restricted")
	files, err := filepath.Glob("../deploy/examples/validate/*.yaml")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var pod corev1.Pod
		if err := yaml.UnmarshalStrict(text, &pod); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if _, err := knode.Client.CoreV1().Pods("shop").Create(t.Context(), &pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// With the chart's policy the meshed pods of a labelled namespace get the check by themselves, with the flags
// of their mesh; others do not.
func TestThePolicyAddsTheCheck(t *testing.T) {
	install(t, "validate.admissionPolicy.enabled=true")
	namespace(t, "checked", "restricted")
	label := []byte(`{"metadata":{"labels":{"detour-cni.dev/validate":"enabled"}}}`)
	if _, err := knode.Client.CoreV1().Namespaces().Patch(t.Context(), "checked", "application/merge-patch+json", label, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	until(t, 30*time.Second, "the API server looks at the policy", func() error { // a new policy takes a while
		p, err := knode.Client.CoreV1().Pods("checked").Create(t.Context(), manifest(t, "istio.yaml", "checked", "dry"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err != nil || len(p.Spec.InitContainers) == 0 {
			return fmt.Errorf("no init container: %w", err)
		}
		return nil
	})
	for file, flags := range map[string][]string{
		"istio.yaml": {"--outbound-port", "15001"}, "linkerd.yaml": {"--outbound-port", "4140", "--loopback", "bypass"}, "plain.yaml": nil,
	} {
		name := strings.TrimSuffix(file, ".yaml")
		create(t, manifest(t, file, "checked", name))
		p := running(t, "checked", name)
		if flags == nil {
			if len(p.Spec.InitContainers) > 0 {
				t.Errorf("%s: %v, want no init container", name, p.Spec.InitContainers)
			}
			continue
		}
		if len(p.Spec.InitContainers) != 1 || !slices.Equal(p.Spec.InitContainers[0].Command, append([]string{"/detour-validate", "--as", "app"}, flags...)) {
			t.Errorf("%s: init containers %v", name, p.Spec.InitContainers)
			continue
		}
		if got := logOf(t, "checked", name, "detour-validate"); !strings.Contains(got, "ok: IPv4 outbound TCP") {
			t.Errorf("%s: the check says %s", name, got)
		}
	}
}
