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
	// Rows are the annotations that change the Spec, applied in order. A function:
	// every ADD has all dialects before it, and makes the rows of one at most.
	Rows func() []Row
	// Silent is what annotations cannot say, for docs/: the fact, and the node
	// option that says it instead.
	Silent []Silence
}

// Silence is a fact of a pod that no annotation of its mesh shows.
type Silence struct{ Fact, Instead string }

// Claim is a dialect's word on a pod.
type Claim struct {
	Verdict ClaimVerdict
	// Why says so in an operator's words: "claimed by sidecar.istio.io/status".
	// NotMine may have one, too: "linkerd.io/inject is disabled".
	Why string
}

// ClaimVerdict is what a dialect says of a pod.
type ClaimVerdict int

// NotMine leaves the pod to the next dialect. Mine gives it a redirect. Left
// says that the pod is this mesh's and yet none of our business: its own init
// container does the job, or nothing in it listens.
const (
	NotMine ClaimVerdict = iota
	Mine
	Left
)

// Row is one annotation that a mesh's users or its injector set, or one field of
// an annotation that is a document. What it says becomes the items of a Spec key.
type Row struct {
	Annotation string
	// From is where the value is found; most rows leave it out.
	From Source
	// Doc is the format of an annotation that is a document, and Field the path
	// in it ("redirect.inbound.port").
	Doc   DocFormat
	Field string

	// Key is the Spec key that it sets.
	Key string
	// Mode says whether a list adds to the Spec's or takes its place.
	Mode RowMode
	// Empty is what an empty value means. A document's field that is empty or null
	// is as if it were not there, an empty list in one as EmptyNone.
	Empty EmptyMode
	// By says who writes it: what an injector writes is never an override.
	By Author
	// Unless is another annotation that takes this one's place where it is set.
	Unless string
	// Off is the value that means that nothing of the pod is redirected at all.
	Off string

	// Parse turns the text into the key's items; nil splits at commas. Of a list in
	// a document it gets each value.
	Parse func(string) ([]string, error)
	// Apply is for what a single key cannot say: it gets the items in Key's place.
	Apply func(*redirect.Spec, []string) error

	// Meaning and Since, the mesh's version, are for the tables in docs/.
	Meaning, Since string
}

// Name is the annotation, with the field where it has one: "a/b redirect.port".
func (r Row) Name() string { return strings.TrimSpace(r.Annotation + " " + r.Field) }

// Source is where a row's value comes from.
type Source string

// FromAnnotation is the pod's annotations, FromArgs CNI_ARGS: an orchestrator
// without annotations hands its mesh's configuration over there.
const (
	FromAnnotation Source = ""
	FromArgs       Source = "CNI_ARGS"
)

// DocFormat is how a document is written.
type DocFormat string

// The formats. NoDoc is plain text.
const (
	NoDoc DocFormat = ""
	JSON  DocFormat = "JSON"
	YAML  DocFormat = "YAML"
)

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
// mesh itself. ByEither is an annotation that the injector stamps on every pod,
// with the author's value where there is one: nobody can tell the two apart, so
// it counts as the author's. A value that equals what is in effect already is no
// override, whoever wrote it.
const (
	ByUser     Author = "user"
	ByInjector Author = "injector"
	ByEither   Author = "injector or user"
)

// Pod is what we know of a pod.
type Pod struct {
	Ref         PodRef
	Annotations map[string]string
	// Handed is whether the runtime handed over annotations at all.
	Handed bool
}

// value gives what a row looks at.
func (p Pod) value(from Source, name string) (string, bool) {
	values := p.Annotations
	if from == FromArgs {
		values = p.Ref.Args
	}
	v, ok := values[name]
	return v, ok
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
