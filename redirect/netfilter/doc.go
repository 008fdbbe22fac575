// Package netfilter puts a compiled redirect into a pod's network namespace,
// checks it there, and takes it out again. It is the only package that enters a
// namespace, and the one that chooses the backend.
//
//	result, err := netfilter.Commit("/run/netns/pod", rules, netfilter.Options{
//		Backend: netfilter.Auto,
//		Owner:   redirect.Attachment{ContainerID: id, IfName: "eth0"},
//	})
//
// A Commit is a list of steps, each of which knows how to undo itself; the rules
// come last, in one transaction. If a step fails, those before it are undone.
//
// Be aware:
//   - The function given to ns.WithNetNSPath runs on a locked thread. Nothing in
//     it starts a goroutine, and no file or socket opened in it outlives it.
//   - ADD and DEL hold a lock on the namespace while they are at work; CHECK does not.
//   - The host's own namespace is refused before anything is opened in it.
//   - ::6 and the IPv6 half of tproxy's routing need a pod with an IPv6 address
//     beyond link-local, and IPv6 enabled on lo: elsewhere they would make
//     resolvers believe in IPv6.
package netfilter
