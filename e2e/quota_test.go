package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Where the API server keeps system-node-critical to namespaces with a quota that names it, as on GKE, the chart's
// priorityQuota is what lets the pods be made; without it the DaemonSet's event says why there are none.
func TestThePriorityQuota(t *testing.T) {
	install(t) // with the quota
	pods := func() int {
		list, err := knode.Client.CoreV1().Pods(system).List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=node"})
		if err != nil {
			t.Fatal(err)
		}
		return len(list.Items)
	}
	upgrade := []string{"upgrade", "detour", "../deploy/chart/detour", "--namespace", system, "--reset-then-reuse-values", "--set"}
	helm(t, append(upgrade, "priorityQuota=false")...)
	began := time.Now()
	if err := knode.Client.CoreV1().Pods(system).DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=node"}); err != nil {
		t.Fatal(err)
	}
	until(t, 20*time.Second, "no pod, and an event that says why", func() error {
		if n := pods(); n != 0 {
			return fmt.Errorf("%d pods without a quota", n)
		}
		events, err := knode.Client.CoreV1().Events(system).List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.kind=DaemonSet"})
		if err != nil {
			return err
		}
		for _, e := range events.Items {
			if e.LastTimestamp.After(began) && e.Type == corev1.EventTypeWarning && strings.Contains(e.Message, "insufficient quota to match these scopes") {
				return nil
			}
		}
		return errors.New("no event says that the quota is missing")
	})
	helm(t, append(upgrade, "priorityQuota=true")...)
	ready(t)
}
