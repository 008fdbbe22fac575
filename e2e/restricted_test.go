package e2e

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/detour-cni/detour/e2e/node"
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

// 1b. A pod of a node with two families: calls of the other go the same ways.
func TestTheOtherFamily(t *testing.T) {
	install(t)
	namespace(t, "shop", "restricted")
	create(t, manifest(t, "istio.yaml", "shop", "six"))
	six := running(t, "shop", "six").Status.PodIP
	own := address6(t, "shop", "six", six)
	server := outsideAt(t, gateway6)
	if got := get(t, "http://"+six+":15021/call?to="+server); !strings.HasPrefix(got, "outside saw ["+own+"]:") {
		t.Errorf("out: %s", got)
	}
	if got := callIn(t, "["+own+"]:8080"); !strings.HasPrefix(got, "app saw [::6]:") {
		t.Errorf("in: %s, want the app called by the proxy", got)
	}
	seen := get(t, "http://"+six+":15020/seen")
	for _, want := range []string{`"original":"` + server + `"`, `"original":"[` + own + `]:8080"`} {
		if !strings.Contains(seen, want) {
			t.Errorf("the proxy has not seen %s: %s", want, seen)
		}
	}
	for _, self := range []string{"[::1]:8080", "[" + own + "]:8080"} {
		if got := get(t, "http://"+six+":15021/call?to="+self); !strings.HasPrefix(got, "app saw ") {
			t.Errorf("the app calling itself at %s: %s", self, got)
		}
	}
	if now := get(t, "http://"+six+":15020/seen"); now != seen {
		t.Errorf("a call of the app to itself went through the proxy: %s", now)
	}
}

// 1c. DNS: without capture a query is untouched, with capture the proxy answers it.
func TestNamesAreAskedAsPromised(t *testing.T) {
	install(t)
	namespace(t, "shop", "restricted")
	server := names(t)
	captured := manifest(t, "istio.yaml", "shop", "captured")
	captured.Annotations["proxy.istio.io/config"] = `{"proxyMetadata": {"ISTIO_META_DNS_CAPTURE": "true"}}`
	create(t, captured)
	create(t, manifest(t, "istio.yaml", "shop", "untouched"))
	for name, who := range map[string]string{"untouched": "outside", "captured": "proxy"} {
		ip := running(t, "shop", name).Status.PodIP
		if got := get(t, "http://"+ip+":15021/ask?to="+server); !strings.HasPrefix(got, who+" saw "+ip+":") {
			t.Errorf("%s: a query was answered: %s, want by %s", name, got, who)
		}
	}
}

// 1d. Another mesh on the same node: Linkerd's pod goes through Linkerd's ports.
func TestAnotherMeshBesideIt(t *testing.T) {
	install(t)
	namespace(t, "shop", "restricted")
	create(t, manifest(t, "linkerd.yaml", "shop", "linked"))
	linked := running(t, "shop", "linked").Status.PodIP
	server := outside(t)
	if got := get(t, "http://"+linked+":15021/call?to="+server); !strings.HasPrefix(got, "outside saw "+linked+":") {
		t.Errorf("out: %s", got)
	}
	if got := callIn(t, linked+":8080"); !strings.HasPrefix(got, "app saw ") {
		t.Errorf("in: %s", got)
	}
	seen := get(t, "http://"+linked+":4191/seen")
	for _, want := range []string{`"original":"` + server + `"`, `"original":"` + linked + `:8080"`} {
		if !strings.Contains(seen, want) {
			t.Errorf("the proxy has not seen %s: %s", want, seen)
		}
	}
}

// gateway6 is the node's own address on the pods' bridge (primary).
const gateway6 = "fd44::1"

// address6 is a pod's IPv6 address: Kubernetes tells only those of the cluster's one family.
func address6(t *testing.T, namespace, name, ip string) string {
	t.Helper()
	netns, err := node.Netns(namespace, name, ip)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("nsenter", "--net="+netns, "ip", "-6", "-o", "addr", "show", "dev", "eth0", "scope", "global").CombinedOutput()
	m := regexp.MustCompile(`inet6 (\S+)/`).FindSubmatch(out)
	if err != nil || m == nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(m[1])
}
