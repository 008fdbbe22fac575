// Package plugin is the CNI side of detour: what the runtime sends is parsed
// once, a pod is decided on, and the verbs do what was decided.
//
//	stdin, CNI_ARGS --ParseNetConf, ParseArgs--> NetConf, PodRef
//	    --Decide--> Decision{Spec, or why not} --redirect.Compile--> RuleSet
//	    --netfilter.Commit--> the prevResult, unchanged
//
// Verbs return what is to be printed and logged; only cmd/detour-cni prints.
//
// Be aware:
//   - Runtimes call DEL with anything or nothing, up to three times, and a DEL
//     that fails leaves a pod in Terminating for ever. Del has no error.
//   - CRI-O calls CHECK after every ADD, and again at its restart with the
//     configuration of that day; an error makes the kubelet restart the pod.
//   - skel (containernetworking/cni 1.3) looks whether the netns is the host's
//     own only after ADD. We look before.
package plugin
