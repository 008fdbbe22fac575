package main

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// detoursPods are the DaemonSet's, in every pool and release (the chart's labels).
const detoursPods = "app.kubernetes.io/name=detour,app.kubernetes.io/component=node"

// usualNamespace is where the documentation installs detour: asked where the whole cluster may not be.
const usualNamespace = "detour-system"

// place is where the question is asked.
type place struct {
	node string
	// pod is the one that is asked about; nil for doctor of a node.
	pod *corev1.Pod
	// installer is detour's own pod on that node; nil where there is none.
	installer *corev1.Pod
}

// find looks for the pod, its node, and detour's pod there.
func find(ctx context.Context, client kubernetes.Interface, a arguments, namespace string) (at place, err error) {
	if node, ok := a.node(); ok {
		at.node = node
	} else {
		if at.pod, err = client.CoreV1().Pods(namespace).Get(ctx, a.target, metav1.GetOptions{}); err != nil {
			return at, fmt.Errorf("pod %s/%s: %w", namespace, a.target, err)
		}
		if err := usable(a.command, at.pod); err != nil {
			return at, fmt.Errorf("pod %s/%s: %w", namespace, a.target, err)
		}
		at.node = at.pod.Spec.NodeName
	}
	options := metav1.ListOptions{LabelSelector: detoursPods, FieldSelector: "spec.nodeName=" + at.node}
	list, err := client.CoreV1().Pods("").List(ctx, options)
	if apierrors.IsForbidden(err) {
		in := a.debugNamespace
		if in == "" {
			in = usualNamespace
		}
		list, err = client.CoreV1().Pods(in).List(ctx, options)
	}
	if err != nil {
		return at, fmt.Errorf("detour's pod on node %s: %w", at.node, err)
	}
	if len(list.Items) > 0 {
		at.installer = &list.Items[0]
	}
	return at, nil
}

// usable says why nothing can be said of a pod now.
func usable(command string, pod *corev1.Pod) error {
	switch {
	case pod.Spec.NodeName == "":
		return errors.New("it is on no node yet (kubectl describe says why)")
	case command == "doctor":
		return nil
	case pod.Spec.HostNetwork:
		return errors.New("it is in the node's own network (hostNetwork): detour redirects nothing there")
	case pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed:
		return fmt.Errorf("it has ended (%s), and its network with it", pod.Status.Phase)
	}
	return nil
}
