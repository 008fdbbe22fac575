// Package cri asks the node's container runtime, over its CRI socket, what nobody else on the
// node knows for certain: which runtime it is, which chain of plugins it has in memory, and
// which pods run in which network namespace.
//
//	detour ──unix socket──▶ containerd or CRI-O
//	         Version          containerd 2.1.4
//	         Status(verbose)  cbr0: flannel, portmap, detour-cni
//	         ListPodSandbox   shop/cart-0: /var/run/netns/cni-…
//
// Be aware:
//   - Whoever may talk to this socket is root on the node: it starts containers. So nothing
//     here is used unless somebody asks for it.
//   - It only asks. No call of this package changes anything in the runtime.
//   - runtime.v1 is spoken since containerd 1.6 and CRI-O 1.20; what is older answers with an error.
//   - What is in info is each runtime's own: containerd tells its chain, CRI-O does not.
package cri
