package e2e

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"

	"github.com/detour-cni/detour/e2e/node"
)

// docs/troubleshooting.md, "detour on a node": the program is only in the image. It is run in the DaemonSet's pod by
// exec, or on the node out of the mounted image, where there is no such pod.
func TestDetourOnANode(t *testing.T) {
	apiFromNode(t)
	install(t)
	list, err := knode.Client.CoreV1().Pods(system).List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=node"})
	if err != nil || len(list.Items) != 1 {
		t.Fatalf("%v, %d pods", err, len(list.Items))
	}
	for command, want := range map[string]string{"status": "as wanted", "install --dry-run": "nothing to change"} {
		if text := execIn(t, list.Items[0], append([]string{"/detour"}, strings.Fields(command)...)...); !strings.Contains(text, want) {
			t.Errorf("%s in the DaemonSet's pod lacks %q:\n%s", command, want, text)
		}
	}

	helm(t, "uninstall", "detour", "--namespace", system, "--no-hooks", "--wait", "--timeout", "2m")
	until(t, 20*time.Second, "the DaemonSet's pod gone: it would put the node right again", func() error {
		_, err := knode.Client.CoreV1().Pods(system).Get(t.Context(), list.Items[0].Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("still there: %w", err)
	})
	dir := t.TempDir()
	unmount, err := knode.Mount("docker.io/detour-cni/detour:e2e", dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unmount(); err != nil {
			t.Error(err)
		}
	}()
	run := func(args ...string) string {
		text, err := exec.Command(filepath.Join(dir, "detour"), args...).CombinedOutput()
		if err != nil {
			t.Errorf("detour %s: %v", strings.Join(args, " "), err)
		}
		return string(text)
	}
	runtime := "containerd://" + knode.Flavour.Version
	if text := run("status", "--runtime", runtime); !strings.Contains(text, "as wanted") {
		t.Errorf("after helm uninstall --no-hooks the node is not as it was:\n%s", text)
	}
	t.Log(run("uninstall", "--runtime", runtime))
	if text := dirText(t, node.ConfDir); strings.Contains(text, "detour") {
		t.Errorf("detour uninstall out of the mounted image left\n%s", text)
	}
}

// execIn runs a command in a pod's only container, as kubectl exec does.
func execIn(t *testing.T, pod corev1.Pod, command ...string) string {
	t.Helper()
	url := knode.Client.CoreV1().RESTClient().Post().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: pod.Spec.Containers[0].Name, Command: command, Stdout: true, Stderr: true}, scheme.ParameterCodec).URL()
	e, err := remotecommand.NewWebSocketExecutor(knode.Config, "GET", url.String())
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer // two, since two goroutines write
	if err := e.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdout: &out, Stderr: &errs}); err != nil || errs.Len() > 0 {
		t.Errorf("%v: %v: %s", command, err, errs.String())
	}
	return out.String()
}
