package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	clientexec "k8s.io/client-go/util/exec"

	"github.com/detour-cni/detour/inspect/words"
)

// startWait is how long the pod may take to run, its image's pull included.
const startWait = 2 * time.Minute

// look asks, and leaves nothing behind.
func look(ctx context.Context, a arguments, out *words.Stdout, stderr io.Writer) error {
	config, client, namespace, err := a.client()
	if err != nil {
		return exit{exitUnknown, err}
	}
	at, err := find(ctx, client, a, namespace)
	if err != nil {
		return exit{exitUnknown, explained(err)}
	}
	want, err := debugPod(a, at)
	if err != nil {
		return exit{exitUsage, fmt.Errorf("node %s: %w", at.node, err)}
	}
	pods := client.CoreV1().Pods(want.Namespace)
	pod, err := pods.Create(ctx, want, metav1.CreateOptions{})
	if err != nil {
		return exit{exitUnknown, fmt.Errorf("create a pod on node %s: %w", at.node, explained(err))}
	}
	defer func() {
		last, stop := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer stop()
		now := int64(0)
		if err := pods.Delete(last, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil && !apierrors.IsNotFound(err) {
			fmt.Fprintf(stderr, "kubectl detour: pod %s/%s is left, and ends by itself within %d minutes: %v\n", pod.Namespace, pod.Name, deadline/60, err)
		}
	}()
	if err := await(ctx, client, pod); err != nil {
		return exit{exitUnknown, fmt.Errorf("pod %s/%s on node %s: %w", pod.Namespace, pod.Name, at.node, err)}
	}
	return answer(ctx, config, client, pod, a.in(at), out, stderr)
}

// explained adds to a refusal what is wanted.
func explained(err error) error {
	switch {
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), "PodSecurity"):
		return fmt.Errorf("%w (want --debug-namespace NAMESPACE where Pod Security is privileged, as detour's own is)", err)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%w (kubectl detour --help names the rights)", err)
	}
	return err
}

// await waits until the pod runs; what will not end by itself is an error at once.
func await(ctx context.Context, client kubernetes.Interface, pod *corev1.Pod) error {
	ctx, stop := context.WithTimeout(ctx, startWait)
	defer stop()
	why := "it has not started"
	for {
		p, err := client.CoreV1().Pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
		if err != nil {
			return interrupted(ctx, err, why)
		}
		switch {
		case p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded:
			return fmt.Errorf("it has ended: %s %s", p.Status.Reason, p.Status.Message)
		case len(p.Status.ContainerStatuses) > 0:
			s := p.Status.ContainerStatuses[0].State
			if s.Running != nil {
				return nil
			}
			if w := s.Waiting; w != nil {
				why = strings.TrimSpace(w.Reason + " " + w.Message)
				if slices.Contains([]string{"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "CreateContainerError", "CreateContainerConfigError"}, w.Reason) {
					return errors.New(why)
				}
			}
		}
		select {
		case <-ctx.Done():
			return interrupted(ctx, ctx.Err(), why)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func interrupted(ctx context.Context, err error, why string) error {
	switch {
	case errors.Is(context.Cause(ctx), context.Canceled):
		return errors.New("interrupted")
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("not within %v: %s", startWait, why)
	}
	return err
}

// answer runs the command in the pod, and passes on what it says and how it ends.
func answer(ctx context.Context, config *rest.Config, client kubernetes.Interface, pod *corev1.Pod, command []string, out *words.Stdout, stderr io.Writer) error {
	t, restore, err := terminalFor(command)
	if err != nil {
		return exit{exitUsage, err}
	}
	defer restore()
	request := client.CoreV1().RESTClient().Post().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: containerName, Command: command, Stdin: t.tty, Stdout: true, Stderr: !t.tty, TTY: t.tty}, scheme.ParameterCodec)
	spdy, err := remotecommand.NewSPDYExecutor(config, "POST", request.URL())
	if err != nil {
		return exit{exitUnknown, err}
	}
	web, err := remotecommand.NewWebSocketExecutor(config, "GET", request.URL().String())
	if err != nil {
		return exit{exitUnknown, err}
	}
	executor, err := remotecommand.NewFallbackExecutor(web, spdy, func(error) bool { return true })
	if err != nil {
		return exit{exitUnknown, err}
	}
	err = executor.StreamWithContext(ctx, t.streams(out, stderr))
	if code, ok := errors.AsType[clientexec.CodeExitError](err); ok {
		return exit{code: code.Code}
	}
	if err != nil {
		return exit{exitUnknown, interrupted(ctx, explained(err), "")}
	}
	return nil
}
