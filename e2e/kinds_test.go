package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/detour-cni/detour/e2e/node"
)

// tables are what nft finds in a running pod's network namespace.
func tables(t *testing.T, pod *corev1.Pod) (found string) {
	t.Helper()
	until(t, 10*time.Second, "network namespace of "+pod.Name, func() (err error) {
		found, err = tablesOf(pod.Namespace, pod.Name, pod.Status.PodIP)
		return err
	})
	return found
}

// tablesOf looks once; without an address into any sandbox of that pod.
func tablesOf(namespace, pod, ip string) (string, error) {
	netns, err := node.Netns(namespace, pod, ip)
	if err != nil {
		return "", err
	}
	out, err := exec.Command("nsenter", "--net="+netns, "nft", "list", "tables").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

const ours = "table inet detour"

// meshed is an Istio pod whose containers only wait.
func meshed(t *testing.T, namespace, name string) *corev1.Pod {
	t.Helper()
	pod := manifest(t, "istio.yaml", namespace, name)
	pod.Spec.Containers = pod.Spec.Containers[:1]
	pod.Spec.Containers[0].Args = []string{"pause"}
	return pod
}

// 2. Pods of every kind: of controllers, of the kubelet, on the host's network, with
// a user namespace of their own, and in a namespace that is left alone.
func TestPodsOfEveryKind(t *testing.T) {
	install(t, `detour.excludeNamespaces={kube-system,detour-system,aside}`)
	namespace(t, "kinds", "privileged")
	namespace(t, "aside", "privileged")
	client := knode.Client

	users := false
	own := meshed(t, "kinds", "own-users")
	own.Spec.HostUsers = &users
	checkedInside(own) // by the kernel's own uids, not the pod's
	host := meshed(t, "kinds", "host-network")
	host.Spec.HostNetwork = true
	aside := meshed(t, "aside", "aside")
	pods := []*corev1.Pod{host, aside}
	if *flavour == "containerd-2" {
		pods = append(pods, own)
	}
	for _, p := range pods {
		create(t, p)
	}
	like := meshed(t, "kinds", "x")
	labels := map[string]string{"app": "kinds"}
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: like.Annotations}, Spec: like.Spec}
	set := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: "set"}, Spec: appsv1.StatefulSetSpec{ServiceName: "set", Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: template}}
	if _, err := client.AppsV1().StatefulSets("kinds").Create(t.Context(), set, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = client.AppsV1().StatefulSets("kinds").Delete(context.Background(), "set", metav1.DeleteOptions{})
	})
	jobTemplate := *template.DeepCopy()
	jobTemplate.Labels = map[string]string{"kind": "job"}
	jobTemplate.Spec.RestartPolicy = corev1.RestartPolicyNever
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "job"}, Spec: batchv1.JobSpec{Template: jobTemplate}}
	if _, err := client.BatchV1().Jobs("kinds").Create(t.Context(), job, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		now := metav1.DeletePropagationBackground
		_ = client.BatchV1().Jobs("kinds").Delete(context.Background(), "job", metav1.DeleteOptions{PropagationPolicy: &now})
	})
	static(t, meshed(t, "kinds", "static"))

	if *flavour == "containerd-2" {
		if got := tables(t, running(t, "kinds", "own-users")); got != ours {
			t.Errorf("a pod with hostUsers: false: %q", got)
		}
	}
	for _, name := range []string{"set-0", "static-" + node.Name, jobPod(t)} {
		if got := tables(t, running(t, "kinds", name)); got != ours {
			t.Errorf("%s: %q, want %q", name, got, ours)
		}
	}
	if got := tables(t, running(t, "aside", "aside")); got != "" {
		t.Errorf("a pod of an excluded namespace has %q", got)
	}
	running(t, "kinds", "host-network")
	out, err := exec.Command("nft", "list", "tables").CombinedOutput()
	if err != nil || strings.Contains(string(out), "detour") {
		t.Errorf("the host's own namespace: %s %v", out, err)
	}
}

// static hands a pod to the kubelet alone.
func static(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	pod.Kind, pod.APIVersion = "Pod", "v1"
	text, err := yaml.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(node.StaticPods, pod.Name+".yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(path) })
}

func jobPod(t *testing.T) (name string) {
	t.Helper()
	until(t, 30*time.Second, "the job's pod", func() error {
		list, err := knode.Client.CoreV1().Pods("kinds").List(t.Context(), metav1.ListOptions{LabelSelector: "kind=job"})
		if err != nil || len(list.Items) == 0 {
			return fmt.Errorf("none yet: %w", err)
		}
		name = list.Items[0].Name
		return nil
	})
	return name
}

// 3. Without an API server: a pod that the kubelet starts gets its redirect all the same,
// and no token of ours is anywhere on the node.
func TestWithoutAnAPIServer(t *testing.T) {
	install(t)
	namespace(t, "kinds", "privileged")
	list, err := knode.Client.CoreV1().Pods(system).List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=node"})
	if err != nil || len(list.Items) != 1 {
		t.Fatalf("%d pods of ours: %v", len(list.Items), err)
	}
	tokens, err := exec.Command("sh", "-c", "find /var/lib/kubelet/pods/"+string(list.Items[0].UID)+" "+node.ConfDir+" "+node.BinDir+" -name token -o -name '*kubeconfig*'").CombinedOutput()
	if err != nil || len(tokens) > 0 {
		t.Errorf("a token of ours: %s %v", tokens, err)
	}
	knode.APIServer.Stop()
	restart := func() {
		if knode.APIServer.Restart() != nil {
			return
		}
		until(t, time.Minute, "node Ready", func() error { return knode.Ready(context.Background()) })
	}
	t.Cleanup(restart)
	static(t, meshed(t, "kinds", "alone"))
	until(t, 30*time.Second, "a pod without an API server", func() error {
		got, err := tablesOf("kinds", "alone-"+node.Name, "")
		if err == nil && got != ours {
			err = fmt.Errorf("tables: %q", got)
		}
		return err
	})
}

// 6. A bad annotation is in the event that kubectl describe shows; corrected, the pod starts.
func TestABadAnnotationIsNamed(t *testing.T) {
	install(t)
	namespace(t, "shop", "restricted")
	pod := meshed(t, "shop", "typo")
	const key = "traffic.sidecar.istio.io/excludeOutboundPorts"
	pod.Annotations[key] = "http"
	create(t, pod)
	until(t, 30*time.Second, "the event", func() error {
		if text := events(pod); !strings.Contains(text, "FailedCreatePodSandBox") || !strings.Contains(text, key) || !strings.Contains(text, "http") || !strings.Contains(text, "shop/typo") {
			return fmt.Errorf("events: %s", text)
		}
		return nil
	})
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:"8080"}}}`, key)
	if _, err := knode.Client.CoreV1().Pods("shop").Patch(t.Context(), "typo", "application/merge-patch+json", patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := tables(t, running(t, "shop", "typo")); got != ours {
		t.Errorf("corrected: %q", got)
	}
}
