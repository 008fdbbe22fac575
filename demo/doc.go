// Command demo shows detour at work, for people who have never seen a redirect:
//
//	make demo        or, with the programs it needs in bin/:   go run ./demo
//
// It plays a node. Two address families, a real bridge with real plugins, cnitool
// as the runtime, pods that are network namespaces, apps and proxies that are
// processes with uids of their own:
//
//	demo -- clone: mount, net, pid namespaces --> demo inside (the node)
//	                                                |- bridge cni0, a service "out there"
//	                                                |- cnitool -> bridge, detour-cni
//	                                                |- demo proxy   (uid 1337, in the pod)
//	                                                |- demo serve   (uid 1000, in the pod)
//	                                                `- demo call    (any uid, anywhere)
//
// Every line with a tick was measured a moment before; the last line and the exit
// code say whether all were.
//
// Be aware:
//   - Everything happens in namespaces that end with the process: also when it is
//     killed, nothing stays on the machine. Files are in a tmpfs that nobody else sees.
//   - The programs are opened before /run and /var/lib are covered by that tmpfs.
package main
