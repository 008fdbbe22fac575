package main

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func installer() *corev1.Pod {
	host := func(name, dir string) corev1.Volume { return hostPath(name, dir) }
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "detour-system"}, Spec: corev1.PodSpec{
		ImagePullSecrets: []corev1.LocalObjectReference{{Name: "pull"}},
		Volumes: []corev1.Volume{host("conf", "/x/net.d"), host("bin", "/x/bin"), host("cri", "/run/containerd"),
			{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "detour"}}}}},
		Containers: []corev1.Container{{Image: "r.example/detour:v1", ImagePullPolicy: corev1.PullNever, Env: []corev1.EnvVar{{Name: "DETOUR_CONF_DIR", Value: "/x/net.d"}, {Name: "DETOUR_CONFIG", Value: "/etc/detour/detour.json"}},
			VolumeMounts: []corev1.VolumeMount{{Name: "conf", MountPath: "/x/net.d"}, {Name: "bin", MountPath: "/x/bin"}, {Name: "cri", MountPath: "/run/containerd"}, {Name: "config", MountPath: "/etc/detour"}}}},
	}}
}

// The pod is made of what the DaemonSet's own pod on that node has: image, secrets, directories, options.
func TestThePodIsLikeTheInstallers(t *testing.T) {
	pod, err := debugPod(arguments{command: "inspect"}, place{node: "n1", installer: installer()})
	if err != nil {
		t.Fatal(err)
	}
	c := pod.Spec.Containers[0]
	if pod.Namespace != "detour-system" || pod.Spec.NodeName != "n1" || c.Image != "r.example/detour:v1" || c.ImagePullPolicy != corev1.PullNever || len(c.Env) != 2 || len(pod.Spec.ImagePullSecrets) != 1 {
		t.Errorf("%+v", pod)
	}
	if !*c.SecurityContext.Privileged || !pod.Spec.HostPID || !pod.Spec.HostNetwork || *pod.Spec.AutomountServiceAccountToken || *pod.Spec.ActiveDeadlineSeconds != deadline {
		t.Errorf("%+v", pod.Spec)
	}
	var mounts []string
	for _, m := range c.VolumeMounts {
		if m.MountPropagation == nil && !m.ReadOnly {
			t.Errorf("%s can be written to", m.MountPath)
		}
		mounts = append(mounts, m.MountPath)
	}
	if got := strings.Join(mounts, " "); got != "/x/net.d /x/bin /etc/detour /run /var/run /lib" {
		t.Errorf("mounts %s", got)
	}
	// In another namespace the ConfigMap is not, so nothing may lead there.
	if pod, err = debugPod(arguments{command: "inspect", debugNamespace: "other", image: "mine"}, place{node: "n1", installer: installer()}); err != nil || volume(pod, "config") != nil || len(pod.Spec.Containers[0].Env) != 1 || pod.Spec.Containers[0].Image != "mine" {
		t.Errorf("%v, %+v", err, pod)
	}
	if _, err := debugPod(arguments{command: "inspect", image: "mine"}, place{node: "n1"}); !errors.Is(err, errNoImage) {
		t.Errorf("without the DaemonSet and a namespace: %v", err)
	}
	if pod, err = debugPod(arguments{command: "doctor", image: "mine", debugNamespace: "other"}, place{node: "n1"}); err != nil || len(pod.Spec.Volumes) != 5 {
		t.Errorf("without the DaemonSet: %v, %+v", err, pod)
	}
}

func TestWhatCannotBeLookedIntoIsSaid(t *testing.T) {
	for want, pod := range map[string]corev1.Pod{
		"it is on no node yet":                      {},
		"it is in the node's own network":           {Spec: corev1.PodSpec{NodeName: "n", HostNetwork: true}},
		"it has ended (Failed), and its network":    {Spec: corev1.PodSpec{NodeName: "n"}, Status: corev1.PodStatus{Phase: corev1.PodFailed}},
		"it has ended (Succeeded), and its network": {Spec: corev1.PodSpec{NodeName: "n"}, Status: corev1.PodStatus{Phase: corev1.PodSucceeded}},
	} {
		if err := usable("inspect", &pod); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := usable("doctor", &corev1.Pod{Spec: corev1.PodSpec{NodeName: "n", HostNetwork: true}}); err != nil {
		t.Errorf("doctor of the node of a pod on its network: %v", err)
	}
}
