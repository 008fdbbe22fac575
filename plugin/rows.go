package plugin

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/detour-cni/detour/plugin/document"
	"github.com/detour-cni/detour/redirect"
)

// maxAnnotation is the most bytes of one annotation that are looked at: the API
// server takes no more than 256 KiB for all of a pod's
// (k8s.io/apimachinery, TotalAnnotationSizeLimitB).
const maxAnnotation = 256 << 10

// layered is a Spec with a pod's annotations laid over it.
type layered struct {
	spec  redirect.Spec
	notes []string
	// off is why nothing is redirected; "" where something is.
	off string
	// applied are the rows that changed the Spec.
	applied []string
}

// applyRows lays annotations over a Spec, in the rows' order. Without allowed,
// what the pod's author wrote is ignored and noted, unless it changes nothing.
func applyRows(spec redirect.Spec, pod Pod, rows []Row, allowed bool) (layered, error) {
	l := layered{spec: spec}
	docs := documents{}
	for _, row := range rows {
		found, err := row.read(pod, docs)
		if err != nil {
			return l, row.blame(err)
		}
		if !found.there {
			continue
		}
		refused := row.By != ByInjector && !allowed
		if row.Off != "" && slices.Equal(found.items, []string{row.Off}) {
			if !refused {
				l.off = fmt.Sprintf("%s is %s", row.Annotation, row.Off)
				return l, nil
			}
			l.ignore(row)
			continue
		}
		changed, err := row.apply(l.spec, found.items)
		if err != nil {
			return l, row.blame(err)
		}
		if same(changed, l.spec) {
			continue
		}
		if refused {
			l.ignore(row)
			continue
		}
		l.spec, l.applied = changed, append(l.applied, row.Name())
	}
	return l, nil
}

func (l *layered) ignore(r Row) {
	l.notes = append(l.notes, fmt.Sprintf("annotation %s ignored: overrides are not allowed here", r.Name()))
}

// blame names the row in an error, for whoever wrote the annotation: the Spec
// key, which they do not know, is left out.
func (r Row) blame(err error) error {
	if item, ok := errors.AsType[*redirect.ItemError](err); ok {
		err = item.Err
	}
	if _, ok := errors.AsType[wholeError](err); ok {
		r.Field = ""
	}
	what := "annotation"
	if r.From == FromArgs {
		what = string(r.From)
	}
	if r.Field != "" {
		return fmt.Errorf("%s %s: %s: %w", what, r.Annotation, r.Field, err)
	}
	return fmt.Errorf("%s %s: %w", what, r.Annotation, err)
}

// found is what a row finds in a pod.
type found struct {
	items []string
	there bool
}

// documents are those already parsed, by annotation: a mesh asks one for many fields.
type documents map[string]document.Node

// read gives the row's items.
func (r Row) read(pod Pod, docs documents) (found, error) {
	text, ok := pod.value(r.From, r.Annotation)
	if !ok {
		return found{}, nil
	}
	if r.Unless != "" {
		if _, instead := pod.value(r.From, r.Unless); instead {
			return found{}, nil
		}
	}
	if len(text) > maxAnnotation {
		return found{}, fmt.Errorf("%d bytes (want at most %d)", len(text), maxAnnotation)
	}
	if r.Doc != NoDoc {
		return r.readField(text, docs)
	}
	if strings.TrimSpace(text) == "" {
		switch r.Empty {
		case EmptyUnset:
			return found{}, nil
		case EmptyNone:
			return found{there: true}, nil
		}
		return found{}, errors.New("empty (want a value)")
	}
	items, err := r.parse(text)
	return found{items, true}, err
}

// readField gives the items of a document's field.
func (r Row) readField(text string, docs documents) (found, error) {
	doc, ok := docs[r.Annotation]
	if !ok {
		var err error
		if doc, err = ParseDocument(r.Doc, text); err != nil {
			return found{}, wholeError{err}
		}
		docs[r.Annotation] = doc
	}
	n, err := doc.At(r.Field)
	if err != nil || n.Kind == document.Null || n.Kind == document.Scalar && n.Text == "" {
		return found{}, err
	}
	texts, err := n.Texts()
	if err != nil {
		return found{}, err
	}
	f := found{there: true}
	for _, t := range texts {
		items, err := r.parse(t)
		if err != nil {
			return f, err
		}
		f.items = append(f.items, items...)
	}
	return f, nil
}

// wholeError is about a document, not about the field that was looked for.
type wholeError struct{ error }

func (r Row) parse(text string) ([]string, error) {
	if r.Parse != nil {
		return r.Parse(text)
	}
	return redirect.SplitList(text), nil
}

// ParseDocument reads an annotation that is a document.
func ParseDocument(format DocFormat, text string) (document.Node, error) {
	var (
		n   document.Node
		err error
	)
	switch format {
	case JSON:
		n, err = document.ParseJSON(text)
	case YAML:
		n, err = document.ParseYAML(text)
	default:
		panic("document format " + string(format))
	}
	if err == nil && n.Kind != document.Map && n.Kind != document.Null {
		err = fmt.Errorf("%s (want a mapping)", n.Kind)
	}
	if err != nil {
		err = fmt.Errorf("%q: %w", clip(text), err)
	}
	return n, err
}

// apply gives the Spec with the row's items laid over it.
func (r Row) apply(spec redirect.Spec, items []string) (redirect.Spec, error) {
	if r.Apply != nil {
		err := r.Apply(&spec, items)
		return spec, err
	}
	key, ok := redirect.KeyOf(r.Key)
	if !ok {
		panic("dialect row " + r.Annotation + ": no such key: " + r.Key)
	}
	if !key.Many && len(items) != 1 {
		return spec, fmt.Errorf("%d values (want %s)", len(items), key.Want)
	}
	if r.Mode == Append {
		items = slices.Concat(key.Get(spec), items)
	}
	err := key.Set(&spec, items)
	return spec, err
}

// same reports whether two Specs mean the same, however their lists are written.
func same(a, b redirect.Spec) bool {
	a, b = merged(a), merged(b)
	for _, k := range redirect.Keys() {
		if !slices.Equal(asSet(k.Get(a)), asSet(k.Get(b))) {
			return false
		}
	}
	return true
}

func asSet(items []string) []string {
	slices.Sort(items)
	return slices.Compact(items)
}

// merged gives the Spec with its lists of ports, ids and prefixes as short as can be.
func merged(s redirect.Spec) redirect.Spec {
	for _, list := range []*[]redirect.PortRange{&s.IncludeInboundPorts.Ranges, &s.ExcludeInboundPorts, &s.IncludeOutboundPorts, &s.ExcludeOutboundPorts} {
		*list = redirect.Merge(*list)
	}
	for _, list := range []*[]redirect.IDRange{&s.ProxyUIDs, &s.ProxyGIDs, &s.ExcludeOutboundUIDs, &s.ExcludeOutboundGIDs} {
		*list = redirect.Merge(*list)
	}
	for _, list := range []*[]netip.Prefix{&s.ExcludeInboundCIDRs, &s.IncludeOutboundCIDRs.Prefixes, &s.ExcludeOutboundCIDRs, &s.DNSServers.Prefixes} {
		*list = redirect.MergePrefixes(*list)
	}
	return s
}
