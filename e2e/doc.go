// Package e2e proves detour on a real Kubernetes node: kubelet, API server, controllers,
// etcd and containerd, in namespaces of their own, built from the module proxy and Debian.
//
//	go test ./...          (from e2e/; `make e2e` builds the parts first)
//	  -> unshare: mount, network, process, IPC, UTS    nothing lands on the host
//	    -> init: an overlay over the host's /, reaps    killing it removes everything
//	      -> the test binary again: starts the node, runs the tests
//
// Be aware:
//   - It is a module of its own, so that Kubernetes stays out of the product's go.mod.
//   - The kubelet writes sysctls that belong to the host; they are covered by files.
package e2e
