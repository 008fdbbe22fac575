package main

import (
	"errors"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// deadline is when the pod ends by itself, in seconds: this process may be killed.
const deadline = 900

const (
	containerName = "detour"
	managedBy     = "kubectl-detour"
)

var errNoImage = errors.New("detour's DaemonSet has no pod on that node: want --image, and --debug-namespace with Pod Security privileged")

// debugPod is the pod that answers: privileged, in the node's own namespaces, with the node's directories at
// their own paths and read-only. It asks the API server nothing and has no token.
func debugPod(a arguments, at place) (*corev1.Pod, error) {
	zero, yes, no, seconds := int64(0), true, false, int64(deadline)
	c := corev1.Container{
		Name: containerName, Image: a.image, Command: []string{"/detour", "pause"},
		SecurityContext: &corev1.SecurityContext{Privileged: &yes, RunAsUser: &zero},
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "detour-" + a.command + "-", Namespace: a.debugNamespace, Labels: map[string]string{
			"app.kubernetes.io/name": managedBy, "sidecar.istio.io/inject": "false"},
			Annotations: map[string]string{"sidecar.istio.io/inject": "false", "linkerd.io/inject": "disabled"}},
		Spec: corev1.PodSpec{
			NodeName: at.node, RestartPolicy: corev1.RestartPolicyNever, ActiveDeadlineSeconds: &seconds, TerminationGracePeriodSeconds: &zero,
			HostNetwork: true, HostPID: true, AutomountServiceAccountToken: &no, EnableServiceLinks: &no,
			Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
		},
	}
	mount := func(v corev1.Volume, m corev1.VolumeMount) {
		pod.Spec.Volumes, c.VolumeMounts = append(pod.Spec.Volumes, v), append(c.VolumeMounts, m)
	}
	if of := at.installer; of != nil {
		theirs := of.Spec.Containers[0]
		if c.Image == "" {
			c.Image = theirs.Image
		}
		c.ImagePullPolicy, c.Env = theirs.ImagePullPolicy, theirs.Env
		pod.Spec.ImagePullSecrets = of.Spec.ImagePullSecrets
		if pod.Namespace == "" {
			pod.Namespace = of.Namespace
		}
		for _, m := range theirs.VolumeMounts {
			v := volume(of, m.Name)
			if v == nil || underRun(m.MountPath) {
				continue
			}
			if v.HostPath == nil && pod.Namespace != of.Namespace { // a ConfigMap is only where it is
				c.Env = slices.DeleteFunc(slices.Clone(c.Env), func(e corev1.EnvVar) bool { return strings.HasPrefix(e.Value, m.MountPath+"/") })
				continue
			}
			m.ReadOnly = true
			mount(*v, m)
		}
	} else {
		for name, dir := range map[string]string{"conf": "/etc/cni/net.d", "bin": "/opt/cni/bin", "cache": "/var/lib/cni"} {
			mount(hostPath(name, dir), corev1.VolumeMount{Name: name, MountPath: dir, ReadOnly: true})
		}
	}
	if c.Image == "" || pod.Namespace == "" {
		return nil, errNoImage
	}
	// Network namespaces are mounts below /run/netns, and come and go: HostToContainer. /var/run leads
	// there on nodes, and not in an image from scratch.
	propagate := corev1.MountPropagationHostToContainer
	pod.Spec.Volumes = append(pod.Spec.Volumes, hostPath("run", "/run"), hostPath("modules", "/lib"))
	c.VolumeMounts = append(c.VolumeMounts,
		corev1.VolumeMount{Name: "run", MountPath: "/run", MountPropagation: &propagate},
		corev1.VolumeMount{Name: "run", MountPath: "/var/run", MountPropagation: &propagate},
		corev1.VolumeMount{Name: "modules", MountPath: "/lib", ReadOnly: true})
	pod.Spec.Containers = []corev1.Container{c}
	return pod, nil
}

func hostPath(name, dir string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: dir}}}
}

func volume(pod *corev1.Pod, name string) *corev1.Volume {
	for i, v := range pod.Spec.Volumes {
		if v.Name == name {
			return &pod.Spec.Volumes[i]
		}
	}
	return nil
}

func underRun(dir string) bool {
	dir = path.Clean(dir)
	return strings.HasPrefix(dir+"/", "/run/") || strings.HasPrefix(dir+"/", "/var/run/")
}

// command is what is run in that pod.
func (a arguments) in(at place) []string {
	line := []string{"/detour", a.command}
	if a.command != "doctor" {
		line = append(line, at.pod.Namespace+"/"+at.pod.Name)
	}
	return append(line, a.rest...)
}
