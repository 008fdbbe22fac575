package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	authv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/detour-cni/detour/e2e/node"
)

const taintKey = "startup-taint.cluster-autoscaler.kubernetes.io/detour"

// taint gives the node a taint more.
func taint(t *testing.T, key string) {
	t.Helper()
	until(t, 10*time.Second, "taint "+key, func() error {
		n, err := knode.Client.CoreV1().Nodes().Get(t.Context(), node.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: key, Effect: corev1.TaintEffectNoSchedule})
		_, err = knode.Client.CoreV1().Nodes().Update(t.Context(), n, metav1.UpdateOptions{})
		return err
	})
}

func tainted(t *testing.T, key string) bool {
	t.Helper()
	n, err := knode.Client.CoreV1().Nodes().Get(t.Context(), node.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(n.Spec.Taints, func(x corev1.Taint) bool { return x.Key == key })
}

// The startup taint goes when detour is ready; whoever removes it may do nothing else.
func TestTheStartupTaint(t *testing.T) {
	apiFromNode(t)
	taint(t, taintKey)
	install(t, "startupTaint.enabled=true")
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(logs("app.kubernetes.io/component=untaint"))
		}
	})
	until(t, 25*time.Second, "the taint gone", func() error {
		if tainted(t, taintKey) {
			return fmt.Errorf("still there")
		}
		return nil
	})

	pods, err := knode.Client.CoreV1().Pods(system).List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=untaint"})
	if err != nil || len(pods.Items) != 1 {
		t.Fatalf("%v: %d pods", err, len(pods.Items))
	}
	request := &authv1.TokenRequest{Spec: authv1.TokenRequestSpec{BoundObjectRef: &authv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pods.Items[0].Name, UID: pods.Items[0].UID}}}
	token, err := knode.Client.CoreV1().ServiceAccounts(system).CreateToken(t.Context(), "detour-untaint", request, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	its, err := kubernetes.NewForConfig(&rest.Config{Host: knode.Config.Host, BearerToken: token.Status.Token, TLSClientConfig: knode.Config.TLSClientConfig})
	if err != nil {
		t.Fatal(err)
	}
	taint(t, "somebody.else/taint")
	t.Cleanup(func() {
		_, _ = knode.Client.CoreV1().Nodes().Patch(context.Background(), node.Name, "application/merge-patch+json", []byte(`{"spec":{"taints":null}}`), metav1.PatchOptions{})
	})
	patch := func(text string) error {
		_, err := its.CoreV1().Nodes().Patch(t.Context(), node.Name, "application/merge-patch+json", []byte(text), metav1.PatchOptions{})
		return err
	}
	// An API server looks at a new policy only after a moment. Another label each time: what is there already
	// is no change, which the policy has nothing against.
	tries := 0
	until(t, 90*time.Second, "the policy at work", func() error {
		tries++
		if err := patch(fmt.Sprintf(`{"metadata":{"labels":{"probe":"%d"}}}`, tries)); err == nil {
			return fmt.Errorf("a label is taken")
		}
		return nil
	})
	for what, text := range map[string]string{
		"a label":               `{"metadata":{"labels":{"x":"y"}}}`,
		"an annotation":         `{"metadata":{"annotations":{"x":"y"}}}`,
		"cordon":                `{"spec":{"unschedulable":true}}`,
		"somebody else's taint": `{"spec":{"taints":null}}`,
		"one taint more":        `{"spec":{"taints":[{"key":"somebody.else/taint","effect":"NoSchedule"},{"key":"x","effect":"NoSchedule"}]}}`,
	} {
		if err := patch(text); err == nil || !strings.Contains(err.Error(), "ValidatingAdmissionPolicy") {
			t.Errorf("%s: %v, want it denied by the policy", what, err)
		}
	}
	if _, err := its.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{}); err == nil {
		t.Error("its token lists pods")
	}
}

// logs are what our pods with a label say, for a test that failed.
func logs(selector string) string {
	pods, err := knode.Client.CoreV1().Pods(system).List(context.Background(), metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return err.Error()
	}
	var all strings.Builder
	for _, p := range pods.Items {
		text, err := knode.Client.CoreV1().Pods(system).GetLogs(p.Name, &corev1.PodLogOptions{}).DoRaw(context.Background())
		fmt.Fprintf(&all, "%s %s: %s %v\n%s\n", p.Name, p.Status.Phase, text, err, events(&p))
	}
	return all.String()
}
