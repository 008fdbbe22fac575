package e2e

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// 1. The chart, and a meshed pod under Pod Security restricted.
func TestMeshedPodUnderRestricted(t *testing.T) {
	install(t)
	namespace(t, "shop", "restricted")
	create(t, manifest(t, "plain.yaml", "shop", "plain"))
	create(t, manifest(t, "istio.yaml", "shop", "cart"))
	server := outside(t)

	plain := running(t, "shop", "plain").Status.PodIP
	if got := get(t, "http://"+plain+":15021/call?to="+server); !strings.HasPrefix(got, "outside saw "+plain+":") {
		t.Errorf("plain pod out: %s", got)
	}
	if got := callIn(t, plain+":8080"); !strings.HasPrefix(got, "app saw 10.244.0.1:") {
		t.Errorf("plain pod in: %s", got)
	}

	cart := running(t, "shop", "cart").Status.PodIP
	seen := func() string { return get(t, "http://"+cart+":15020/seen") }
	if got := get(t, "http://"+cart+":15021/call?to="+server); !strings.HasPrefix(got, "outside saw "+cart+":") {
		t.Errorf("meshed pod out: %s", got)
	}
	if s := seen(); !strings.Contains(s, `"side":"outbound"`) || !strings.Contains(s, `"original":"`+server+`"`) {
		t.Errorf("the proxy has not seen the call out: %s", s)
	}
	if got := callIn(t, cart+":8080"); !strings.HasPrefix(got, "app saw 127.0.0.6:") {
		t.Errorf("meshed pod in: %s", got)
	}
	if s := seen(); !strings.Contains(s, `"side":"inbound"`) || !strings.Contains(s, `"original":"`+cart+`:8080"`) {
		t.Errorf("the proxy has not seen the call in: %s", s)
	}
	before := seen()
	for _, self := range []string{"127.0.0.1:8080", cart + ":8080"} {
		if got := get(t, "http://"+cart+":15021/call?to="+self); !strings.HasPrefix(got, "app saw ") {
			t.Errorf("the app calling itself at %s: %s", self, got)
		}
	}
	if s := seen(); s != before {
		t.Errorf("a call of the app to itself went through the proxy: %s", s)
	}

	// What detour is for: the same pod the usual way is refused.
	usual := manifest(t, "istio.yaml", "shop", "usual")
	usual.Spec.InitContainers = []corev1.Container{{Name: "istio-init", Image: "detour.test/box:1",
		SecurityContext: &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"NET_ADMIN", "NET_RAW"}}}}}
	if _, err := knode.Client.CoreV1().Pods("shop").Create(t.Context(), usual, metav1.CreateOptions{}); err == nil || !strings.Contains(err.Error(), "NET_ADMIN") {
		t.Errorf("a pod with a NET_ADMIN init container was not refused: %v", err)
	}
}
