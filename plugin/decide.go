package plugin

import (
	"fmt"
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
	if !pod.Handed && pod.Ref.IsPod() {
		return withoutAnnotations(o, pod)
	}
	return claimed(o, pod, dialects)
}

// withoutAnnotations is for a runtime that handed over none at all: nobody can
// say whether the pod is meshed.
func withoutAnnotations(o Options, pod Pod) (Decision, error) {
	if o.MissingAnnotations == MissingPass {
		return leave("the runtime handed over no annotations, and missingAnnotations is pass")
	}
	err := fmt.Errorf("pod %q: the runtime handed over no annotations: want containerd >= 1.5 or CRI-O >= 1.29, "+
		"\"capabilities\": {%q: true} in detour's entry of the conflist, and no Multus delegate in between; "+
		"missingAnnotations: pass lets such pods start outside the mesh",
		pod.Ref, AnnotationsCapability)
	return Decision{}, withCode(CodeNoAnnotation, err)
}

// claimed asks the dialects in order; the first that knows the pod decides.
func claimed(o Options, pod Pod, dialects []Dialect) (Decision, error) {
	var (
		first   Decision
		found   bool
		reasons []string
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
		if err != nil {
			first.Notes = append(first.Notes, fmt.Sprintf("%s was not asked further: %v", d.Name, err))
			continue
		}
		if claim.Verdict == NotMine {
			if claim.Why != "" {
				reasons = append(reasons, d.Name+": "+claim.Why)
			}
			continue
		}
		if found {
			first.Notes = append(first.Notes, fmt.Sprintf("%s knows it too (%s); %s comes first in meshes", d.Name, claim.Why, first.Dialect))
			continue
		}
		found = true
		if first, err = decide(o, pod, d, claim); err != nil {
			return Decision{}, err
		}
	}
	if !found {
		return unclaimed(o, pod, reasons)
	}
	return first, nil
}

// unclaimed says why nobody claims the pod.
func unclaimed(o Options, pod Pod, reasons []string) (Decision, error) {
	switch {
	case len(reasons) > 0:
		return leave("no mesh claims it: %s", strings.Join(reasons, "; "))
	case !pod.Ref.IsPod() && !pod.Handed:
		return leave("no Kubernetes pod, and no mesh claims it")
	}
	return leave("no mesh claims it (asked: %s)", strings.Join(o.Meshes, ", "))
}

func annotationError(pod Pod, err error) error {
	if pod.Ref.IsPod() {
		err = fmt.Errorf("pod %q: %w", pod.Ref, err)
	}
	return withCode(CodeAnnotation, err)
}

// decide makes the Spec of a pod that a dialect claims: the dialect's, the
// node's options over it, the annotations over both.
func decide(o Options, pod Pod, d Dialect, claim Claim) (Decision, error) {
	decision := Decision{Dialect: d.Name, Why: d.Name + ": " + claim.Why}
	if claim.Verdict == Left {
		return decision, nil
	}
	spec, err := o.specOf(d)
	if err != nil {
		return Decision{}, withCode(CodeConfig, err)
	}
	l, err := applyRows(spec, pod, d.Rows(), o.Overrides.Allow(pod.Ref.Namespace))
	if err != nil {
		return Decision{}, annotationError(pod, err)
	}
	decision.Notes = l.notes
	if l.off != "" {
		decision.Why = d.Name + ": " + l.off
		return decision, nil
	}
	if err := l.spec.Validate(); err != nil {
		if len(l.applied) == 0 {
			return Decision{}, withCode(CodeConfig, fmt.Errorf("meshOptions of %s: %w", d.Name, err))
		}
		return Decision{}, annotationError(pod, fmt.Errorf("annotation %s: %w", strings.Join(l.applied, ", "), err))
	}
	decision.Redirect, decision.Spec = true, l.spec
	return decision, nil
}

// OwnDialect is the dialect whose defaults are the node's `redirect`.
const OwnDialect = "detour"

// specOf gives what the node says of a dialect's pods: the dialect's defaults,
// meshOptions' "*" over them, and its own over that.
func (o Options) specOf(d Dialect) (redirect.Spec, error) {
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
			return spec, err
		}
	}
	return spec, nil
}
