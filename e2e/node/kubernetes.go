package node

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const (
	// Name is the node's, in Kubernetes.
	Name  = "knode"
	state = "/var/lib/kubelet/cluster" // a tmpfs
)

// A Node is a running cluster of one.
type Node struct {
	Flavour Flavour
	// Client and Config are an administrator's.
	Client *kubernetes.Clientset
	Config *rest.Config
	// Containerd, APIServer and Kubelet may be stopped and started by a test.
	Containerd, APIServer, Kubelet *Process
}

// Start brings the whole node up, and returns when it is Ready. The primary's conflist
// is there by then, and the images are the test's to import with imports.
func Start(ctx context.Context, parts string, f Flavour, archives ...string) (*Node, error) {
	n := &Node{Flavour: f}
	if err := network(); err != nil {
		return nil, err
	}
	var err error
	if n.Containerd, err = startContainerd(ctx, f); err != nil {
		return nil, err
	}
	for _, a := range archives {
		if err := n.Import(a); err != nil {
			return nil, err
		}
	}
	if err := n.startControlPlane(ctx, parts); err != nil {
		return nil, err
	}
	return n, n.startKubelet(ctx, parts)
}

// admission lets a namespace have system-node-critical pods only by a quota that names the class, as GKE does.
const admission = `apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: ResourceQuota
  configuration:
    apiVersion: apiserver.config.k8s.io/v1
    kind: ResourceQuotaConfiguration
    limitedResources:
    - resource: pods
      matchScopes: [{scopeName: PriorityClass, operator: In, values: [system-node-critical]}]
`

func (n *Node) startControlPlane(ctx context.Context, parts string) error {
	bin := func(name string) string { return filepath.Join(parts, "bin", name) }
	if err := writeKeys(); err != nil {
		return err
	}
	if _, err := start("etcd", filepath.Join(parts, "debian", "etcd"), nil, "--data-dir", state+"/etcd", "--unsafe-no-fsync",
		"--listen-client-urls", "http://127.0.0.1:2379", "--advertise-client-urls", "http://127.0.0.1:2379", "--listen-peer-urls", "http://127.0.0.1:2380"); err != nil {
		return err
	}
	err := os.WriteFile(state+"/admission", []byte(admission), 0o600)
	if err != nil {
		return err
	}
	n.APIServer, err = start("kube-apiserver", bin("kube-apiserver"), nil,
		"--etcd-servers", "http://127.0.0.1:2379", "--cert-dir", state+"/certs", "--bind-address", Address, "--advertise-address", Address,
		"--secure-port", "6443", "--token-auth-file", state+"/tokens", "--authorization-mode", "Node,RBAC",
		"--enable-admission-plugins", "NodeRestriction", "--admission-control-config-file", state+"/admission", "--service-cluster-ip-range", "10.96.0.0/16",
		"--service-account-issuer", "https://kubernetes.default.svc", "--service-account-key-file", state+"/sa.pub",
		"--service-account-signing-key-file", state+"/sa.key", "--kubelet-preferred-address-types", "InternalIP", "--allow-privileged")
	if err != nil {
		return err
	}
	n.Config = &rest.Config{Host: "https://" + Address + ":6443", BearerToken: "admin", TLSClientConfig: rest.TLSClientConfig{Insecure: true}, QPS: 200, Burst: 400}
	if n.Client, err = kubernetes.NewForConfig(n.Config); err != nil {
		return err
	}
	if err := await(ctx, "API server", n.APIServer, func() error {
		_, err := n.Client.CoreV1().Namespaces().Get(ctx, "kube-system", metav1.GetOptions{})
		return err
	}); err != nil {
		return err
	}
	if err := writeKubeconfig("admin", "admin"); err != nil {
		return err
	}
	if err := writeKubeconfig("kubelet", "kubelet"); err != nil {
		return err
	}
	if _, err := start("kube-controller-manager", bin("kube-controller-manager"), nil, "--kubeconfig", state+"/admin.kubeconfig",
		"--service-account-private-key-file", state+"/sa.key", "--root-ca-file", state+"/certs/apiserver.crt", "--use-service-account-credentials", "--leader-elect=false", "--node-monitor-grace-period=20s"); err != nil {
		return err
	}
	_, err = start("kube-scheduler", bin("kube-scheduler"), nil, "--kubeconfig", state+"/admin.kubeconfig", "--leader-elect=false")
	return err
}

// writeKeys makes the pair for service accounts, and the tokens.
func writeKeys() error {
	if err := os.MkdirAll(state+"/certs", 0o700); err != nil {
		return err
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return err
	}
	for name, text := range map[string][]byte{
		"sa.key": pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}),
		"sa.pub": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}),
		"tokens": []byte("admin,admin,admin,\"system:masters\"\nkubelet,system:node:" + Name + ",kubelet,\"system:nodes\"\n"),
	} {
		if err := os.WriteFile(filepath.Join(state, name), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Kubeconfig is an administrator's, for programs.
const Kubeconfig = state + "/admin.kubeconfig"

func writeKubeconfig(name, token string) error {
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: k, cluster: {server: "https://%s:6443", insecure-skip-tls-verify: true}}]
users: [{name: u, user: {token: %s}}]
contexts: [{name: c, context: {cluster: k, user: u}}]
current-context: c
`, Address, token)
	return os.WriteFile(filepath.Join(state, name+".kubeconfig"), []byte(text), 0o600)
}

// StaticPods is the kubelet's folder of manifests.
const StaticPods = "/var/lib/kubelet/manifests"

func (n *Node) startKubelet(ctx context.Context, parts string) error {
	if err := os.MkdirAll(StaticPods, 0o755); err != nil {
		return err
	}
	config := `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: /` + cgroupRoot + `
oomScoreAdj: 0
failSwapOn: false
localStorageCapacityIsolation: false
enforceNodeAllocatable: [pods]
makeIPTablesUtilChains: false
containerRuntimeEndpoint: unix://` + Socket + `
staticPodPath: ` + StaticPods + `
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
maxPods: 200
registerWithTaints: []
nodeStatusUpdateFrequency: 2s
syncFrequency: 10s
evictionHard: {memory.available: 10Mi, nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%"}
imageGCHighThresholdPercent: 100
`
	if err := os.WriteFile(state+"/kubelet.yaml", []byte(config), 0o600); err != nil {
		return err
	}
	var err error
	if n.Kubelet, err = start("kubelet", filepath.Join(parts, "bin", "kubelet"), []string{"PATH=" + n.Flavour.bin + ":" + os.Getenv("PATH")},
		"--config", state+"/kubelet.yaml", "--kubeconfig", state+"/kubelet.kubeconfig", "--hostname-override", Name, "--node-ip", Address, "--root-dir", "/var/lib/kubelet"); err != nil {
		return err
	}
	n.Kubelet.supervised = true
	return await(ctx, "node Ready", n.Kubelet, func() error { return n.Ready(ctx) })
}

// Ready is nil when the node is, else what it says.
func (n *Node) Ready(ctx context.Context) error {
	node, err := n.Client.CoreV1().Nodes().Get(ctx, Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
			return nil
		} else if c.Type == corev1.NodeReady {
			return fmt.Errorf("not ready: %s", c.Message)
		}
	}
	return fmt.Errorf("no condition yet")
}
