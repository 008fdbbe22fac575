package plugin

import (
	"slices"
	"strings"

	"github.com/detour-cni/detour/redirect"
)

// Dialect is what detour knows of one mesh: plain data, and the few functions
// that data cannot say. Package mesh has one file for each.
type Dialect struct {
	// Name is how configuration calls it: "istio".
	Name string
	// Claim says whether the pod is this mesh's, by what its injector stamped on it.
	Claim func(Pod) (Claim, error)
	// Defaults is the Spec that this mesh's proxy expects.
	Defaults func() redirect.Spec
	// Rows are the annotations that change the Spec, applied in order.
	Rows []Row
}

// Claim is a dialect's word on a pod.
type Claim struct {
	Verdict ClaimVerdict
	// Why says so in an operator's words: "claimed by sidecar.istio.io/status".
	Why string
}

// ClaimVerdict is what a dialect says of a pod.
type ClaimVerdict int

// NotMine leaves the pod to the next dialect. Mine gives it a redirect. Left
// says that the pod is this mesh's and yet none of our business: its own init
// container does the job, or it asked to be left alone.
const (
	NotMine ClaimVerdict = iota
	Mine
	Left
)

// Row is one annotation that a mesh's users or its injector set.
type Row struct {
	Annotation string
	// Key is the Spec key it sets, for docs and for the default parser.
	Key string
	// Mode says whether a list adds to the Spec's or takes its place.
	Mode RowMode
	// Empty is what the annotation with an empty value means.
	Empty EmptyMode
	// By says who writes it: an injector's annotation is never an override.
	By Author
	// Apply sets the Spec; nil is Key's own parser for comma-separated text.
	Apply func(*redirect.Spec, string) error
	// Meaning and Since are for the tables in docs/.
	Meaning, Since string
}

// RowMode is what a list does to the one below it.
type RowMode string

// The modes of a row.
const (
	Replace RowMode = "replace"
	Append  RowMode = "append"
)

// EmptyMode is what an empty value means.
type EmptyMode string

// EmptyNone is the empty list, EmptyUnset as if the annotation were not there,
// EmptyError an unusable value.
const (
	EmptyError EmptyMode = ""
	EmptyNone  EmptyMode = "none"
	EmptyUnset EmptyMode = "unset"
)

// Author is who writes an annotation.
type Author string

// ByUser is the pod's author, whose word node policy may refuse; ByInjector the
// mesh itself. A value that
// equals what is in effect already is no override, whoever wrote it.
const (
	ByUser     Author = "user"
	ByInjector Author = "injector"
)

// Pod is what we know of a pod.
type Pod struct {
	Ref         PodRef
	Annotations map[string]string
	// Handed is whether the runtime handed over annotations at all.
	Handed bool
}

func dialectOf(dialects []Dialect, name string) (Dialect, bool) {
	i := slices.IndexFunc(dialects, func(d Dialect) bool { return d.Name == name })
	if i < 0 {
		return Dialect{}, false
	}
	return dialects[i], true
}

func dialectNames(dialects []Dialect) string {
	var names []string
	for _, d := range dialects {
		names = append(names, d.Name)
	}
	return strings.Join(names, ", ")
}
