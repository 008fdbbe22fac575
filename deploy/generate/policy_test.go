package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/cel-go/cel"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/api/admissionregistration/v1alpha1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	mutation "k8s.io/apiserver/pkg/admission/plugin/policy/mutating/patch"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/cel/environment"
	"sigs.k8s.io/yaml"

	"github.com/detour-cni/detour/plugin"
	"github.com/detour-cni/detour/plugin/mesh"
	"github.com/detour-cni/detour/redirect"
)

// policyText renders the policy for a version of Kubernetes.
func policyText(version string, values object) (string, error) {
	texts, err := templatesFor(deploy, version, values)
	return texts["detour/templates/validate-policy.yaml"], err
}

// TestThePolicyNeedsItsAPI: what the cluster does not have is said, not applied and refused.
func TestThePolicyNeedsItsAPI(t *testing.T) {
	for version, want := range map[string]string{"v1.35.9": "Kubernetes v1.35.9 has no MutatingAdmissionPolicy in admissionregistration.k8s.io/v1 (want 1.36 or later)", "v1.36.0": "", "v1.37.2": ""} {
		for _, user := range []any{65532, nil} {
			text, err := policyText(version, object{"validate": object{"admissionPolicy": object{"enabled": true, "runAsUser": user}}})
			if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", version, err, want)
			}
			if want == "" && strings.Contains(text, "runAsUser: 65532") != (user != nil) {
				t.Errorf("%s: runAsUser %v:\n%s", version, user, text)
			}
		}
	}
}

// policy is the chart's, compiled as the API server compiles it (k8s.io/apiserver,
// policy/mutating/compilation.go), with the CEL libraries that every version since 1.32 has.
type policy struct {
	matcher matchconditions.Matcher
	patcher mutation.Patcher
	env     *plugincel.CompositionEnv
}

// variable is one of the policy's, as the compiler wants it.
type variable v1alpha1.Variable

func (v variable) GetName() string          { return v.Name }
func (v variable) GetExpression() string    { return v.Expression }
func (v variable) ReturnTypes() []*cel.Type { return []*cel.Type{cel.AnyType, cel.DynType} }

func compiled(t *testing.T, values object) policy {
	t.Helper()
	values["validate"] = object{"admissionPolicy": object{"enabled": true}}
	text, err := policyText("v1.36.0", values)
	if err != nil {
		t.Fatal(err)
	}
	var p v1alpha1.MutatingAdmissionPolicy // v1 has the same fields
	for doc := range strings.SplitSeq(text, "\n---\n") {
		if strings.Contains(doc, "kind: MutatingAdmissionPolicy\n") {
			err = yaml.UnmarshalStrict([]byte(doc), &p)
		}
	}
	if err != nil || len(p.Spec.Mutations) != 1 {
		t.Fatalf("%d mutations, %v:\n%s", len(p.Spec.Mutations), err, text)
	}
	compiler, err := plugincel.NewCompositedCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion(), true))
	if err != nil {
		t.Fatal(err)
	}
	options := plugincel.OptionalVariableDeclarations{StrictCost: true}
	for _, v := range p.Spec.Variables {
		if r := compiler.CompileAndStoreVariable(variable(v), options, environment.NewExpressions); r.Error != nil {
			t.Fatalf("variable %s: %v", v.Name, r.Error)
		}
	}
	var conditions []plugincel.ExpressionAccessor
	for _, c := range p.Spec.MatchConditions {
		conditions = append(conditions, (*matchconditions.MatchCondition)(&c))
	}
	fail := admissionv1.Fail
	matcher := matchconditions.NewMatcher(compiler.CompileCondition(conditions, options, environment.NewExpressions), &fail, "policy", "mutate", p.Name)
	options.HasPatchTypes = true
	evaluator := compiler.CompileMutatingEvaluator(&mutation.JSONPatchCondition{Expression: p.Spec.Mutations[0].JSONPatch.Expression}, options, environment.NewExpressions)
	return policy{matcher, mutation.NewJSONPatcher(evaluator), compiler.CompositionEnv}
}

// admit gives the init containers that the pod has after the policy; the error is what the API server
// would refuse the pod with.
func (p policy) admit(namespace string, annotations map[string]string, spec object) ([]any, error) {
	pod := &unstructured.Unstructured{Object: object{"apiVersion": "v1", "kind": "Pod", "metadata": object{"name": "cart", "namespace": namespace}, "spec": spec}}
	if annotations != nil {
		pod.SetAnnotations(annotations)
	}
	kind, resource := schema.GroupVersionKind{Version: "v1", Kind: "Pod"}, schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	attributes := &admission.VersionedAttributes{
		Attributes:      admission.NewAttributesRecord(pod, nil, kind, namespace, "cart", resource, "", admission.Create, nil, false, &user.DefaultInfo{}),
		VersionedKind:   kind,
		VersionedObject: pod,
	}
	ctx := p.env.CreateContext(context.Background())
	matched := p.matcher.Match(ctx, attributes, nil, nil)
	if matched.Error != nil || !matched.Matches {
		before, _ := spec["initContainers"].([]any)
		return before, matched.Error
	}
	request := mutation.Request{MatchedResource: resource, VersionedAttributes: attributes, ObjectInterfaces: admission.NewObjectInterfacesFromScheme(runtime.NewScheme())}
	patched, err := p.patcher.Patch(ctx, request, celconfig.RuntimeCELCostBudget)
	if err != nil {
		return nil, err
	}
	after, _, err := unstructured.NestedSlice(patched.(*unstructured.Unstructured).Object, "spec", "initContainers")
	return after, err
}

// flags gives those of the check that the policy adds, and whether it adds one.
func (p policy) flags(pod plugin.Pod) (string, bool, error) {
	after, err := p.admit(pod.Ref.Namespace, pod.Annotations, object{})
	if err != nil || len(after) == 0 {
		return "", false, err
	}
	var words []string
	for _, w := range after[0].(object)["command"].([]any) {
		words = append(words, w.(string))
	}
	flags, ok := strings.CutPrefix(strings.Join(words, " "), "/detour-validate --as app ")
	if !ok || len(after) != 1 {
		return "", true, fmt.Errorf("init containers %v", after)
	}
	return flags, true, nil
}

// flagsOf are a mesh's in docs/validate.md, DNS aside, whose redirect a pod may have off.
func flagsOf(name string) string {
	for _, d := range mesh.All() {
		if d.Name != name {
			continue
		}
		s := d.Defaults()
		flags := fmt.Sprintf("--outbound-port %d", s.OutboundPort)
		if s.Loopback != redirect.Hairpin {
			flags += fmt.Sprintf(" --loopback %s", s.Loopback)
		}
		return flags
	}
	return "of no mesh"
}

// TestThePolicyDecidesAsThePlugin: exactly the pods that the plugin redirects by default get the check,
// with their mesh's flags. In another it would find no redirect, and keep the pod from starting. Of a pod
// whose annotations the plugin refuses, which does not start anyway, only the API server must not say so first.
func TestThePolicyDecidesAsThePlugin(t *testing.T) {
	p, defaults := compiled(t, object{}), plugin.DefaultOptions(mesh.All())
	pods := allPods(t)
	count := map[string]int{}
	for _, name := range slices.Sorted(maps.Keys(pods)) {
		d, err := plugin.Decide(defaults, pods[name], mesh.All())
		flags, added, policyErr := p.flags(pods[name])
		switch {
		case policyErr != nil:
			t.Errorf("%s: the policy refuses it: %v", name, policyErr)
		case err != nil:
			count["refused"]++
		case added != d.Redirect:
			t.Errorf("%s: the plugin redirects: %v (%s), the policy adds the check: %v", name, d.Redirect, d.Why, added)
		case added && flags != flagsOf(d.Dialect):
			t.Errorf("%s: %s gets %s, want %s", name, d.Dialect, flags, flagsOf(d.Dialect))
		case added:
			count[d.Dialect]++
		default:
			count["left"]++
		}
	}
	t.Log(count)
	if len(pods) < 250 || count["left"] < 50 {
		t.Errorf("%d pods, %v: too few of them to prove anything", len(pods), count)
	}
	for _, d := range mesh.All() {
		if count[d.Name] < 2 {
			t.Errorf("%s: %d pods that get the check", d.Name, count[d.Name])
		}
	}
}

// TestThePolicyAsksTheMeshesInOrder: of a pod that two meshes know, as after a change of mesh, the
// policy believes the same one as the plugin, also where that one leaves the pod alone.
func TestThePolicyAsksTheMeshesInOrder(t *testing.T) {
	p, defaults := compiled(t, object{}), plugin.DefaultOptions(mesh.All())
	pods := allPods(t)
	one := map[string]plugin.Pod{} // for each thing that the plugin says
	for _, name := range slices.Sorted(maps.Keys(pods)) {
		if d, err := plugin.Decide(defaults, pods[name], mesh.All()); err == nil && pods[name].Ref.Namespace == "shop" {
			one[d.Why] = pods[name]
		}
	}
	for name, a := range pods {
		for other, b := range one {
			annotations := maps.Clone(b.Annotations)
			if annotations == nil {
				continue
			}
			maps.Copy(annotations, a.Annotations)
			both := podOf("shop", annotations)
			d, err := plugin.Decide(defaults, both, mesh.All())
			if err != nil {
				continue
			}
			flags, added, err := p.flags(both)
			if err != nil || added != d.Redirect || added && flags != flagsOf(d.Dialect) {
				t.Errorf("%s, and one of which the plugin says %q: it redirects: %v (%s), the policy adds the check: %v %s %v", name, other, d.Redirect, d.Why, added, flags, err)
			}
		}
	}
}

// TestThePolicyAddsTheCheckOnce: behind what is there, to a pod that has none yet, and not on the host's network.
func TestThePolicyAddsTheCheckOnce(t *testing.T) {
	p, meshed := compiled(t, object{}), examplePods(t)["example/istio.yaml"].Annotations
	after, err := p.admit("shop", meshed, object{"initContainers": []any{object{"name": "migrate"}}})
	if err != nil || len(after) != 2 || after[0].(object)["name"] != "migrate" || after[1].(object)["name"] != "detour-validate" {
		t.Fatalf("%v, %v: want migrate, then detour-validate", after, err)
	}
	again, err := p.admit("shop", meshed, object{"initContainers": after})
	if err != nil || len(again) != 2 {
		t.Errorf("asked again: %v, %v", again, err)
	}
	host, err := p.admit("shop", meshed, object{"hostNetwork": true})
	if err != nil || len(host) != 0 {
		t.Errorf("on the host's network: %v, %v", host, err)
	}
}

// TestThePolicyReadsWhatTheAPIServerTakes: all of a pod's annotations may have 256 KiB, and an expression
// that costs too much is an error, which refuses the pod.
func TestThePolicyReadsWhatTheAPIServerTakes(t *testing.T) {
	const most = 256<<10 - 256
	p := compiled(t, object{})
	for name, annotations := range map[string]map[string]string{
		"istio":       {"sidecar.istio.io/status": `{"containers":["istio-proxy"],"volumes":["` + strings.Repeat("v", most) + `"]}`},
		"istio lists": {"sidecar.istio.io/status": `{"volumes":["` + strings.Repeat(`containers":[`, most/13) + `"],"containers":["istio-proxy"]}`},
		"kuma":        {"kuma.io/sidecar-injected": "true", "traffic.kuma.io/transparent-proxy-config": strings.Repeat("a: b\n", most/5) + "cniMode: true\n"},
		"templates":   {"sidecar.istio.io/status": `{"containers":["istio-proxy"]}`, "inject.istio.io/templates": strings.Repeat("sidecar,", most/8)},
	} {
		after, err := p.admit("shop", annotations, object{})
		if err != nil || len(after) != 1 {
			t.Errorf("%s: %d checks, %v", name, len(after), err)
		}
	}
}

// TestThePolicyKnowsTheExcludedNamespaces: those of the chart's options, where it has some.
func TestThePolicyKnowsTheExcludedNamespaces(t *testing.T) {
	meshed := examplePods(t)["example/istio.yaml"].Annotations
	for _, tc := range []struct {
		excluded  any // nil: not said
		namespace string
		adds      int
	}{
		{nil, "shop", 1}, {nil, "kube-system", 0}, {nil, "detour-system", 0},
		{[]any{"legacy"}, "legacy", 0}, {[]any{"legacy"}, "kube-system", 1},
		{[]any{}, "kube-system", 1},
	} {
		options := object{}
		if tc.excluded != nil {
			options["excludeNamespaces"] = tc.excluded
		}
		after, err := compiled(t, object{"detour": options}).admit(tc.namespace, meshed, object{})
		if err != nil || len(after) != tc.adds {
			t.Errorf("excludeNamespaces %v: a pod of %s gets %d checks, %v, want %d", tc.excluded, tc.namespace, len(after), err, tc.adds)
		}
	}
}
