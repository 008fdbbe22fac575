package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// docs/first-pod.md with its own file: admitted by Pod Security restricted, checked from inside, and both its ways
// go through its proxy.
func TestFirstPod(t *testing.T) {
	apiFromNode(t)
	install(t)
	text, err := os.ReadFile("../deploy/examples/first-pod.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for doc := range strings.SplitSeq(strings.ReplaceAll(string(text), "detour-cni/detour:0.1.0", "detour-cni/detour:e2e"), "\n---\n") {
		if strings.Contains(doc, "kind: Namespace") {
			namespace(t, "first", "restricted")
			continue
		}
		var pod corev1.Pod
		if err := yaml.UnmarshalStrict([]byte(doc), &pod); err != nil {
			t.Fatal(err)
		}
		for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
			for i := range list {
				list[i].ImagePullPolicy = corev1.PullNever
			}
		}
		create(t, &pod)
	}
	ip := running(t, "first", "first-pod").Status.PodIP
	if got := logOf(t, "first", "first-pod", "detour-validate"); !strings.Contains(got, "ok: IPv4 outbound TCP") {
		t.Errorf("the check says %s", got)
	}
	if got := get(t, "http://"+ip+":8080/"); !strings.HasPrefix(got, "the app was called by 127.0.0.6:") {
		t.Errorf("a call in: %s, want it through the proxy", got)
	}
	until(t, 30*time.Second, "the proxy has seen both ways", func() error {
		got := logOf(t, "first", "first-pod", "proxy")
		for _, want := range []string{"msg=outbound from=" + ip + ":", "to=10.96.0.1:443", "msg=inbound", "to=" + ip + ":8080"} {
			if !strings.Contains(got, want) {
				return fmt.Errorf("no %q in %s", want, got)
			}
		}
		return nil
	})
	usual := manifest(t, "plain.yaml", "first", "usual")
	usual.Spec.InitContainers = []corev1.Container{{Name: "init", Image: "detour.test/box:1", SecurityContext: &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"NET_ADMIN"}}}}}
	if _, err := knode.Client.CoreV1().Pods("first").Create(t.Context(), usual, metav1.CreateOptions{}); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "violates PodSecurity") {
		t.Errorf("the usual way is not refused: %v", err)
	}
}
