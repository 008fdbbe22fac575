package main

import (
	"context"
	"maps"
	"strings"
	"testing"

	"github.com/google/cel-go/cel"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/cel/environment"
	"sigs.k8s.io/yaml"
)

// validation is one of the policy's, as the compiler wants it.
type validation admissionv1.Validation

func (v validation) GetExpression() string    { return v.Expression }
func (v validation) ReturnTypes() []*cel.Type { return []*cel.Type{cel.BoolType} }

// untaintDenies says why the chart's policy for the startup taint refuses a change of the node n1; "" if it does not.
func untaintDenies(t *testing.T, before, after object) string {
	t.Helper()
	texts, err := templatesFor(deploy, "v1.33.0", object{"startupTaint": object{"enabled": true}})
	if err != nil {
		t.Fatal(err)
	}
	var p admissionv1.ValidatingAdmissionPolicy
	for doc := range strings.SplitSeq(texts["detour/templates/startup-taint.yaml"], "\n---\n") {
		if strings.Contains(doc, "kind: ValidatingAdmissionPolicy\n") {
			err = yaml.UnmarshalStrict([]byte(doc), &p)
		}
	}
	if err != nil || len(p.Spec.Validations) == 0 {
		t.Fatalf("%v: %d validations", err, len(p.Spec.Validations))
	}
	var expressions []plugincel.ExpressionAccessor
	for _, v := range p.Spec.Validations {
		expressions = append(expressions, validation(v))
	}
	compiler := plugincel.NewConditionCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion(), true))
	evaluator := compiler.CompileCondition(expressions, plugincel.OptionalVariableDeclarations{StrictCost: true}, environment.NewExpressions)
	node := func(o object) *unstructured.Unstructured {
		all := object{"apiVersion": "v1", "kind": "Node"}
		maps.Copy(all, o)
		return &unstructured.Unstructured{Object: all}
	}
	kind, resource := schema.GroupVersionKind{Version: "v1", Kind: "Node"}, schema.GroupVersionResource{Version: "v1", Resource: "nodes"}
	by := &user.DefaultInfo{Name: "system:serviceaccount:detour-system:detour-untaint", Extra: map[string][]string{"authentication.kubernetes.io/node-name": {"n1"}}}
	attributes := &admission.VersionedAttributes{
		Attributes:    admission.NewAttributesRecord(node(after), node(before), kind, "", "n1", resource, "", admission.Update, nil, false, by),
		VersionedKind: kind, VersionedObject: node(after), VersionedOldObject: node(before),
	}
	request := plugincel.CreateAdmissionRequest(attributes.Attributes, metav1.GroupVersionResource(resource), metav1.GroupVersionKind(kind))
	results, _, err := evaluator.ForInput(context.Background(), attributes, request, plugincel.OptionalVariableBindings{}, nil, celconfig.RuntimeCELCostBudget)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r.Error != nil || r.EvalResult == nil || r.EvalResult.Value() != true {
			return p.Spec.Validations[i].Message
		}
	}
	return ""
}

// TestTheUntaintPolicyAllowsThisTaintAwayAndNothingElse: of a taint with two effects both go at once, as "detour
// untaint" takes them.
func TestTheUntaintPolicyAllowsThisTaintAwayAndNothingElse(t *testing.T) {
	taint := func(key, effect string) any { return object{"key": key, "effect": effect} }
	const ours = "startup-taint.cluster-autoscaler.kubernetes.io/detour"
	before := object{"metadata": object{"name": "n1", "labels": object{"a": "b"}}, "spec": object{"podCIDR": "10.0.0.0/24", "taints": []any{
		taint(ours, "NoSchedule"), taint("other", "NoSchedule"), taint(ours, "NoExecute"),
	}}}
	spec := func(taints ...any) object { return object{"podCIDR": "10.0.0.0/24", "taints": taints} }
	meta := func(key string, value any) object {
		return object{"name": "n1", "labels": object{"a": "b"}, key: value}
	}
	for name, tc := range map[string]struct {
		after  object
		denied string
	}{
		"both away":               {object{"metadata": before["metadata"], "spec": spec(taint("other", "NoSchedule"))}, ""},
		"the first of two":        {object{"metadata": before["metadata"], "spec": spec(taint("other", "NoSchedule"), taint(ours, "NoExecute"))}, "only this taint"},
		"another's away":          {object{"metadata": before["metadata"], "spec": spec()}, "only this taint"},
		"another label":           {object{"metadata": meta("labels", object{"a": "c"}), "spec": spec(taint("other", "NoSchedule"))}, "nothing else"},
		"an owner, and so an end": {object{"metadata": meta("ownerReferences", []any{object{"apiVersion": "v1", "kind": "Node", "name": "x", "uid": "y"}}), "spec": spec(taint("other", "NoSchedule"))}, "nothing else"},
		"a finalizer":             {object{"metadata": meta("finalizers", []any{"a.b/c"}), "spec": spec(taint("other", "NoSchedule"))}, "nothing else"},
	} {
		if denied := untaintDenies(t, before, tc.after); (denied == "") != (tc.denied == "") || !strings.Contains(denied, tc.denied) {
			t.Errorf("%s: %q, want %q", name, denied, tc.denied)
		}
	}
}
