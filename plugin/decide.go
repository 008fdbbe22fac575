package plugin

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/detour-cni/detour/redirect"
)

// Decision is what happens to a pod, and why.
type Decision struct {
	// Redirect is false for a pod that is left alone; Spec counts only where it is true.
	Redirect bool
	Spec     redirect.Spec
	// Dialect claimed the pod; "" under pods: all.
	Dialect string
	// Why is one sentence for an operator.
	Why string
	// Notes are what an operator should know besides: ignored overrides, a second claim.
	Notes []string
}

func leave(format string, args ...any) (Decision, error) {
	return Decision{Why: fmt.Sprintf(format, args...)}, nil
}

// Decide says what to do with a pod. The error carries its CNI code.
func Decide(o Options, pod Pod, dialects []Dialect) (Decision, error) {
	if pod.Ref.IsPod() && slices.Contains(o.ExcludeNamespaces, pod.Ref.Namespace) {
		return leave("namespace %q is excluded", pod.Ref.Namespace)
	}
	if o.Pods == PodsAll {
		return Decision{Redirect: true, Spec: o.Redirect, Why: "pods: all"}, nil
	}
	if !pod.Handed {
		return withoutAnnotations(o, pod)
	}
	return claimed(o, pod, dialects)
}

// withoutAnnotations is for a runtime that handed over none at all: nobody can
// say whether the pod is meshed.
func withoutAnnotations(o Options, pod Pod) (Decision, error) {
	switch {
	case !pod.Ref.IsPod():
		return leave("no Kubernetes pod")
	case o.MissingAnnotations == MissingPass:
		return leave("the runtime handed over no annotations, and missingAnnotations is pass")
	}
	err := fmt.Errorf("pod %q: the runtime handed over no annotations: want containerd >= 1.5 or CRI-O >= 1.29, "+
		"capability %q in detour's entry, and no Multus delegate in between; missingAnnotations: pass lets such pods start outside the mesh",
		pod.Ref, AnnotationsCapability)
	return Decision{}, withCode(CodeNoAnnotation, err)
}

// claimed asks the dialects in order; the first that knows the pod decides.
func claimed(o Options, pod Pod, dialects []Dialect) (Decision, error) {
	var (
		first Decision
		found bool
	)
	for _, name := range o.Meshes {
		d, ok := dialectOf(dialects, name)
		if !ok {
			continue // ParseOptions knows every name
		}
		claim, err := d.Claim(pod)
		if err != nil && !found {
			return Decision{}, annotationError(pod, err)
		}
		if err != nil || claim.Verdict == NotMine {
			continue
		}
		if found {
			first.Notes = append(first.Notes, fmt.Sprintf("%s would claim it too (%s)", d.Name, claim.Why))
			continue
		}
		found = true
		if first, err = decide(o, pod, d, claim); err != nil {
			return Decision{}, err
		}
	}
	if !found {
		return leave("no mesh claims it (asked: %s)", strings.Join(o.Meshes, ", "))
	}
	return first, nil
}

func annotationError(pod Pod, err error) error {
	if pod.Ref.IsPod() {
		err = fmt.Errorf("pod %q: %w", pod.Ref, err)
	}
	return withCode(CodeAnnotation, err)
}

// decide compiles the Spec of a pod that a dialect claims: the dialect's, the
// node's options over it, the annotations over both.
func decide(o Options, pod Pod, d Dialect, claim Claim) (Decision, error) {
	why := d.Name + ": " + claim.Why
	if claim.Verdict == Left {
		return Decision{Dialect: d.Name, Why: why}, nil
	}
	spec := d.Defaults()
	if d.Name == OwnDialect {
		spec = o.Redirect
	}
	for _, layer := range []string{"*", d.Name} {
		raw, ok := o.MeshOptions[layer]
		if !ok {
			continue
		}
		var err error
		if spec, err = overlay("meshOptions."+layer, spec, raw, addExempt); err != nil {
			return Decision{}, withCode(CodeConfig, err)
		}
	}
	spec, notes, err := applyRows(spec, pod, d.Rows, o.Overrides.Allow(pod.Ref.Namespace))
	if err != nil {
		return Decision{}, annotationError(pod, err)
	}
	if err := spec.Validate(); err != nil {
		return Decision{}, annotationError(pod, fmt.Errorf("annotations of %s: %w", d.Name, err))
	}
	return Decision{Redirect: true, Spec: spec, Dialect: d.Name, Why: why, Notes: notes}, nil
}

// OwnDialect is the dialect whose defaults are the node's `redirect`.
const OwnDialect = "detour"

// maxAnnotation is the most bytes of one annotation that are looked at: the API
// server takes no more than 256 KiB for all of a pod's
// (k8s.io/apimachinery, TotalAnnotationSizeLimitB).
const maxAnnotation = 256 << 10

// applyRows lays annotations over a Spec, in the rows' order.
func applyRows(spec redirect.Spec, pod Pod, rows []Row, allowed bool) (redirect.Spec, []string, error) {
	var notes []string
	for _, row := range rows {
		value, ok := pod.Annotations[row.Annotation]
		if !ok || strings.TrimSpace(value) == "" && row.Empty == EmptyUnset {
			continue
		}
		changed, err := row.apply(spec, value)
		if err != nil {
			return spec, nil, fmt.Errorf("annotation %s: %w", row.Annotation, withoutKey(err))
		}
		if row.By == ByUser && !allowed && !reflect.DeepEqual(changed, spec) {
			notes = append(notes, fmt.Sprintf("annotation %s ignored: overrides are not allowed here", row.Annotation))
			continue
		}
		spec = changed
	}
	return spec, notes, nil
}

// withoutKey drops the Spec key from an item's error: whoever wrote the
// annotation knows only that.
func withoutKey(err error) error {
	if item, ok := errors.AsType[*redirect.ItemError](err); ok {
		return item.Err
	}
	return err
}

// apply gives the Spec with one annotation laid over it.
func (r Row) apply(spec redirect.Spec, value string) (redirect.Spec, error) {
	if len(value) > maxAnnotation {
		return spec, fmt.Errorf("%d bytes (want at most %d)", len(value), maxAnnotation)
	}
	if strings.TrimSpace(value) == "" && r.Empty == EmptyError {
		return spec, errors.New("empty (want a value)")
	}
	if r.Apply != nil {
		err := r.Apply(&spec, value)
		return spec, err
	}
	key, ok := redirect.KeyOf(r.Key)
	if !ok {
		panic("dialect row " + r.Annotation + ": no such key: " + r.Key)
	}
	items := redirect.SplitList(value)
	if r.Mode == Append {
		items = slices.Concat(key.Get(spec), items)
	}
	err := key.Set(&spec, items)
	return spec, err
}
