// Package node has a Kubernetes node on one small machine, for tests.
//
//	Enter: namespaces, a root of its own, a NIC   (once a process)
//	  Start: etcd, API server, controllers, containerd, kubelet, until Ready
//
// What it needs is in a folder of parts (see e2e/parts): built once, kept between runs.
package node
