package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	authv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/detour-cni/detour/e2e/node"
)

// kubectlDetour runs the plugin as kubectl does, and gives its two outputs and its exit code.
func kubectlDetour(t *testing.T, kubeconfig string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	c := exec.CommandContext(ctx, "../bin/kubectl-detour", args...)
	c.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig)
	var out, errs strings.Builder
	c.Stdout, c.Stderr = &out, &errs
	err := c.Run()
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return out.String(), errs.String(), e.ExitCode()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), 0
}

// noDebugPods waits until nothing of kubectl detour's is left.
func noDebugPods(t *testing.T) {
	t.Helper()
	until(t, 20*time.Second, "no pod of kubectl detour left", func() error {
		list, err := knode.Client.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=kubectl-detour"})
		if err != nil || len(list.Items) > 0 {
			return fmt.Errorf("%d pods, %w", len(list.Items), err)
		}
		return nil
	})
}

// farPod makes the pod that is asked about, shop/far, and gives its address.
func farPod(t *testing.T) (ip string) {
	t.Helper()
	install(t)
	namespace(t, "shop", "restricted")
	create(t, manifest(t, "istio.yaml", "shop", "far"))
	return running(t, "shop", "far").Status.PodIP
}

// From a workstation: the pod's node is asked, the answer is detour's own, and nothing is left behind.
func TestKubectlDetour(t *testing.T) {
	ip := farPod(t)

	out, errs, code := kubectlDetour(t, node.Kubeconfig, "inspect", "far", "-n", "shop")
	if code != 0 || errs != "" || !strings.Contains(out, "shop/far") || !strings.Contains(out, "nothing wrong found") || !strings.Contains(out, "proxy, port 15001") {
		t.Errorf("inspect: exit code %d, %q\n%s", code, errs, out)
	}
	out, errs, code = kubectlDetour(t, node.Kubeconfig, "inspect", "pod/far", "--namespace=shop", "-o", "json")
	var document struct{ Schema string }
	if err := json.Unmarshal([]byte(out), &document); err != nil || code != 0 || document.Schema != "detour-cni.dev/inspect/v1" {
		t.Errorf("inspect -o json: exit code %d, %v, %q\n%s", code, err, errs, out)
	}
	out, errs, code = kubectlDetour(t, node.Kubeconfig, "explain", "far", "-n", "shop", "--from", "wire", "--to", ip+":8080")
	if code != 0 || !strings.Contains(out, "redirect: the proxy gets it, on port 15006") {
		t.Errorf("explain: exit code %d, %q\n%s", code, errs, out)
	}
	out, errs, code = kubectlDetour(t, node.Kubeconfig, "doctor", "node/"+node.Name)
	if code != 0 || !strings.Contains(out, "ok entry in ") || !strings.Contains(out, "ok backend nftables") || strings.Contains(out, "!!") {
		t.Errorf("doctor: exit code %d, %q\n%s", code, errs, out)
	}
	// What the command on the node ends with, and what it has to say, come through.
	out, errs, code = kubectlDetour(t, node.Kubeconfig, "inspect", "far", "-n", "shop", "-o", "pdf")
	if code != 2 || out != "" || !strings.Contains(errs, `--output: "pdf"`) {
		t.Errorf("inspect -o pdf: exit code %d, %q, %q", code, errs, out)
	}
	_, errs, code = kubectlDetour(t, node.Kubeconfig, "inspect", "nobody", "-n", "shop")
	if code != 3 || !strings.Contains(errs, `pod shop/nobody: pods "nobody" not found`) {
		t.Errorf("inspect nobody: exit code %d, %q", code, errs)
	}
	_, errs, code = kubectlDetour(t, node.Kubeconfig, "inspect", "far", "-n", "shop", "--image", "detour.test/no-such:1")
	if code != 3 || !strings.Contains(errs, "ErrImageNeverPull") {
		t.Errorf("an image that is not there: exit code %d, %q", code, errs)
	}
	_, errs, code = kubectlDetour(t, node.Kubeconfig, "inspect", "far", "-n", "shop", "--debug-namespace", "shop")
	if code != 3 || !strings.Contains(errs, "violates PodSecurity") || !strings.Contains(errs, "want --debug-namespace NAMESPACE where Pod Security is privileged") {
		t.Errorf("where Pod Security forbids it: exit code %d, %q", code, errs)
	}
	// In another namespace there is no ConfigMap of detour's: the options are those of the entry in the chain.
	namespace(t, "looks", "privileged")
	out, errs, code = kubectlDetour(t, node.Kubeconfig, "inspect", "far", "-n", "shop", "--debug-namespace", "looks")
	if code != 0 || !strings.Contains(out, "nothing wrong found") {
		t.Errorf("from another namespace: exit code %d, %q\n%s", code, errs, out)
	}
	noDebugPods(t)
}

// Ctrl-C, at whatever moment, leaves no pod.
func TestKubectlDetourInterrupted(t *testing.T) {
	farPod(t)
	for _, after := range []time.Duration{50 * time.Millisecond, 300 * time.Millisecond, 700 * time.Millisecond, 1200 * time.Millisecond} {
		c := exec.Command("../bin/kubectl-detour", "inspect", "far", "-n", "shop")
		c.Env = append(os.Environ(), "KUBECONFIG="+node.Kubeconfig)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(after)
		_ = c.Process.Signal(os.Interrupt) // it may have ended
		_ = c.Wait()
		noDebugPods(t)
	}
}

// --watch has a terminal of its own on the node: screens come, Ctrl-C goes there, and the pod goes.
func TestKubectlDetourWatches(t *testing.T) {
	farPod(t)
	c := exec.Command("sh", "-c", `(sleep 5; printf '\003'; sleep 5) | script -qec '../bin/kubectl-detour inspect far -n shop --watch' /dev/null`)
	c.Env = append(os.Environ(), "KUBECONFIG="+node.Kubeconfig, "TERM=xterm")
	out, err := c.CombinedOutput()
	screens := strings.Count(string(out), "pod          shop/far")
	if err != nil || screens < 2 || !strings.Contains(string(out), "\x1b[?1049h") || !strings.HasSuffix(strings.TrimSpace(string(out)), "\x1b[?1049l") {
		t.Errorf("%v, %d screens: %q", err, screens, out)
	}
	noDebugPods(t)
}

// Who may not is told which right is missing.
func TestKubectlDetourWithoutRights(t *testing.T) {
	farPod(t)
	token, err := knode.Client.CoreV1().ServiceAccounts("shop").CreateToken(t.Context(), "default", &authv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	config := t.TempDir() + "/kubeconfig"
	text := fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
"clusters": [{"name": "k", "cluster": {"server": "https://%s:6443", "insecure-skip-tls-verify": true}}], "users": [{"name": "u", "user": {"token": %q}}]}`, node.Address, token.Status.Token)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, errs, code := kubectlDetour(t, config, "inspect", "far", "-n", "shop")
	if code != 3 || !strings.Contains(errs, `cannot get resource "pods"`) || !strings.Contains(errs, "kubectl detour --help names the rights") {
		t.Errorf("exit code %d, %q", code, errs)
	}
}

// kubectl asks for completions: commands, flags, the namespace's pods.
func TestKubectlDetourCompletes(t *testing.T) {
	namespace(t, "shop", "restricted")
	create(t, manifest(t, "plain.yaml", "shop", "cart-to-complete"))
	for line, want := range map[string]string{
		"in": "inspect", "inspect -n shop cart-": "cart-to-complete", "explain --fr": "--from", "doctor node/": "node/" + node.Name,
	} {
		out, errs, code := kubectlDetour(t, node.Kubeconfig, append([]string{"__complete"}, strings.Split(line, " ")...)...)
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("%q: exit code %d, %q, %q, want %s", line, code, out, errs, want)
		}
	}
}
