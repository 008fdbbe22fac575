package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/detour-cni/detour/e2e/node"
)

const system = "detour-system"

// slow is by how much a machine may be slower than the one on which the limits were chosen: they
// are there for what hangs, not for what takes long.
const slow = 4

// until asks until ok returns nil; the test fails with the last error after limit.
func until(t *testing.T, limit time.Duration, what string, ok func() error) {
	t.Helper()
	limit *= slow
	end := time.Now().Add(limit)
	for {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v: %v", what, limit, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// helm runs Helm as an administrator would.
func helm(t *testing.T, args ...string) string {
	t.Helper()
	c := exec.Command(filepath.Join(*parts, "bin", "helm"), args...)
	c.Env = append(os.Environ(), "KUBECONFIG="+node.Kubeconfig, "HOME=/tmp/helm")
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("helm %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// namespace makes one with a Pod Security level, for the test.
func namespace(t *testing.T, name, level string) {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"pod-security.kubernetes.io/enforce": level}}}
	if _, err := knode.Client.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	until(t, 10*time.Second, "service account of "+name, func() error {
		_, err := knode.Client.CoreV1().ServiceAccounts(name).Get(t.Context(), "default", metav1.GetOptions{})
		return err
	})
}

// install puts the chart on the node, and waits until it is ready there.
func install(t *testing.T, values ...string) {
	t.Helper()
	namespace(t, system, "privileged")
	args := []string{"upgrade", "--install", "detour", "../deploy/chart/detour", "--namespace", system, "--set", "image.tag=e2e", "--set", "image.pullPolicy=Never", "--set", "priorityQuota=true"}
	for _, v := range append(values, "poolDefaults.runtime=containerd://"+knode.Flavour.Version) {
		args = append(args, "--set", v)
	}
	helm(t, args...)
	ready(t)
}

// ready waits for the DaemonSet.
func ready(t *testing.T) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("/readyz: %s\n%s", readyz(), installers())
		}
	}()
	until(t, 30*time.Second, "DaemonSet ready", func() error {
		ds, err := knode.Client.AppsV1().DaemonSets(system).Get(t.Context(), "detour", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if s := ds.Status; s.ObservedGeneration != ds.Generation || s.NumberReady != 1 || s.UpdatedNumberScheduled != 1 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
}

// readyz is what the installer itself says, for a test that waits in vain.
func readyz() string {
	r, err := http.Get("http://127.0.0.1:9464/readyz")
	if err != nil {
		return err.Error()
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return err.Error()
	}
	return r.Status + " " + strings.TrimSpace(string(text))
}

// installers says how the DaemonSet's pods are, what the kubelet says of them and what they wrote, for a
// test that waits in vain.
func installers() string {
	const selector = "app.kubernetes.io/component=node"
	list, err := knode.Client.CoreV1().Pods(system).List(context.Background(), metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return err.Error()
	}
	var words strings.Builder
	for _, pod := range list.Items {
		fmt.Fprintf(&words, "%s %s %s\n", pod.Name, pod.Status.Phase, pod.Status.Message)
		for _, c := range pod.Status.ContainerStatuses {
			fmt.Fprintf(&words, "  %s: %d restarts, now %s, before %s\n", c.Image, c.RestartCount, c.State.String(), c.LastTerminationState.String())
		}
		said, _ := exec.Command("sh", "-c", "grep -F \"$0\" /var/log/node/kubelet.log | cut -c1-400 | tail -n 30", pod.Name).CombinedOutput() // best effort
		fmt.Fprintf(&words, "  the kubelet of it:\n%s", said)
	}
	return words.String() + logs(selector)
}

// manifest makes pods from testdata/NAME.yaml, with $NAME for the pod's own name.
func manifest(t *testing.T, file, namespace, name string) *corev1.Pod {
	t.Helper()
	text, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var pod corev1.Pod
	if err := yaml.UnmarshalStrict([]byte(strings.ReplaceAll(string(text), "$NAME", name)), &pod); err != nil {
		t.Fatal(err)
	}
	pod.Namespace = namespace
	return &pod
}

// create makes a pod and takes it away at the end of the test.
func create(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	pods := knode.Client.CoreV1().Pods(pod.Namespace)
	if _, err := pods.Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		now := int64(0)
		_ = pods.Delete(context.Background(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}) // some tests delete it themselves
	})
}

// running waits for a pod, and gives it as it runs, with its proxy listening.
func running(t *testing.T, namespace, name string) *corev1.Pod {
	t.Helper()
	var pod *corev1.Pod
	until(t, 30*time.Second, "pod "+namespace+"/"+name, func() (err error) {
		if pod, err = knode.Client.CoreV1().Pods(namespace).Get(t.Context(), name, metav1.GetOptions{}); err != nil {
			return err
		}
		for _, c := range pod.Status.ContainerStatuses {
			if c.State.Running == nil {
				return fmt.Errorf("%s: %s: %s: %s", pod.Status.Phase, c.Name, c.State.String(), events(pod))
			}
		}
		for _, c := range pod.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("%s, not ready: %s", pod.Status.Phase, events(pod))
	})
	return pod
}

// events are the last words about a pod, as kubectl describe has them.
func events(pod *corev1.Pod) string {
	var of string
	if pod.Name != "" { // else of the whole namespace
		of = "involvedObject.name=" + pod.Name
	}
	list, err := knode.Client.CoreV1().Events(pod.Namespace).List(context.Background(), metav1.ListOptions{FieldSelector: of})
	if err != nil {
		return err.Error()
	}
	var words []string
	for _, e := range list.Items {
		words = append(words, e.Reason+": "+e.Message)
	}
	return strings.Join(words, "\n")
}

// get asks a pod's control port, which no redirect catches.
func get(t *testing.T, url string) string {
	t.Helper()
	var text []byte
	until(t, 10*time.Second, "GET "+url, func() error {
		r, err := http.Get(url)
		if err != nil {
			return err
		}
		defer r.Body.Close()
		text, err = io.ReadAll(r.Body)
		return err
	})
	return strings.TrimSpace(string(text))
}
