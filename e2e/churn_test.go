package e2e

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A churn is a Deployment of meshed pods that goes up and down, and a watcher that looks
// into the network namespace of every pod that starts.
type churn struct {
	namespace string
	stop      context.CancelFunc
	done      sync.WaitGroup

	mu       sync.Mutex
	looked   map[string]bool // sandboxes, by uid and address
	suspects map[string]time.Time
	bypassed []string // started without a redirect
}

// startChurn makes the Deployment and the watcher; they end with the test.
func startChurn(t *testing.T, ns string, replicas int32) *churn {
	t.Helper()
	namespace(t, ns, "restricted")
	pod := manifest(t, "istio.yaml", ns, "churn")
	pod.Spec.Containers = pod.Spec.Containers[:1]
	pod.Spec.Containers[0].Args = []string{"pause"}
	labels := map[string]string{"app": "churn"}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "churn", Namespace: ns}, Spec: appsv1.DeploymentSpec{
		Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: pod.Annotations}, Spec: pod.Spec},
	}}
	if _, err := knode.Client.AppsV1().Deployments(ns).Create(t.Context(), d, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	c := &churn{namespace: ns, stop: stop, looked: map[string]bool{}, suspects: map[string]time.Time{}}
	c.done.Go(func() { c.watch(ctx) })
	t.Cleanup(func() {
		c.end()
		_ = knode.Client.AppsV1().Deployments(ns).Delete(context.Background(), "churn", metav1.DeleteOptions{}) // the namespaces go anyway
		until(t, time.Minute, "the churn's pods gone", func() error { return c.count(0) })
	})
	return c
}

func (c *churn) end() {
	c.stop()
	c.done.Wait()
}

// watch looks at each pod once, when it runs.
func (c *churn) watch(ctx context.Context) {
	for ctx.Err() == nil {
		pods, err := knode.Client.CoreV1().Pods(c.namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		for _, p := range pods.Items {
			if p.Status.Phase == corev1.PodRunning && p.DeletionTimestamp == nil {
				c.look(p)
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (c *churn) look(p corev1.Pod) {
	key := string(p.UID) + p.Status.PodIP // a sandbox made anew has another address
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.looked[key] {
		return
	}
	found, err := tablesOf(p.Namespace, p.Name, p.Status.PodIP)
	if err != nil {
		return // deleted meanwhile, or its cache file is not whole yet: the next look
	}
	if found != ours && !c.lasts(key) {
		return
	}
	c.looked[key] = true
	if found != ours {
		c.bypassed = append(c.bypassed, fmt.Sprintf("%s: %q", p.Name, found))
	}
}

// lasts reports whether a sandbox has been without a redirect for so long that it cannot be
// one that is just being taken down: rules go first, and the API server hears of it last.
func (c *churn) lasts(key string) bool {
	first, ok := c.suspects[key]
	if !ok {
		c.suspects[key] = time.Now()
	}
	return ok && time.Since(first) > 3*time.Second
}

// scale sets the number of replicas and waits for them, running or gone.
func (c *churn) scale(t *testing.T, n int32) {
	t.Helper()
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, n)
	until(t, 10*time.Second, "scale", func() error {
		_, err := knode.Client.AppsV1().Deployments(c.namespace).Patch(t.Context(), "churn", "application/merge-patch+json", patch, metav1.PatchOptions{})
		return err
	})
	until(t, time.Minute, fmt.Sprintf("%d pods running", n), func() error { return c.count(int(n)) })
}

// count is nil when exactly n pods are there, and run.
func (c *churn) count(n int) error {
	pods, err := knode.Client.CoreV1().Pods(c.namespace).List(context.Background(), metav1.ListOptions{})
	if err != nil {
		return err
	}
	run := 0
	var last corev1.Pod
	for _, p := range pods.Items {
		if p.Status.Phase == corev1.PodRunning && p.DeletionTimestamp == nil {
			run++
		} else {
			last = p
		}
	}
	if run != n || len(pods.Items) != n {
		return fmt.Errorf("%d pods, %d run; %s: %s: %s", len(pods.Items), run, last.Name, last.Status.Phase, events(&last))
	}
	return nil
}

// lookedAtAll waits until every pod that runs now has been looked at. After their sandboxes
// are gone it would be too late: rules go before the API server knows of it.
func (c *churn) lookedAtAll(t *testing.T) {
	t.Helper()
	pods, err := knode.Client.CoreV1().Pods(c.namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	until(t, 20*time.Second, "every pod looked at", func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, p := range pods.Items {
			if !c.looked[string(p.UID)+p.Status.PodIP] {
				return fmt.Errorf("%s not yet", p.Name)
			}
		}
		return nil
	})
}

// verdict gives how many pods were looked at, and those without a redirect.
func (c *churn) verdict() (looked int, bypassed []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.looked), c.bypassed
}
