// Package mesh has one file for each mesh that detour knows: a [plugin.Dialect],
// which is a table of annotations and the few functions that a table cannot say.
// A new mesh is one file, one line in [All], and a folder of cases.
//
// Be aware: annotations are written by whoever may create a pod. They are parsed
// into values here, and never reach a command line or a rule's comment.
package mesh

import "github.com/detour-cni/detour/plugin"

// All gives the dialects in the order in which a pod is shown to them.
func All() []plugin.Dialect {
	return []plugin.Dialect{Istio(), Linkerd(), Consul(), Kuma(), AppMesh(), OSM(), Detour()}
}
