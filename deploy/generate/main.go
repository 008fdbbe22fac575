// Command generate writes from the Helm chart what those need who do not use Helm:
// deploy/manifests, and in deploy/kustomize an overlay of it for each file of
// deploy/platforms. Its test fails when they are not current.
//
//	go -C deploy/generate run . ..
package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"sigs.k8s.io/yaml"
)

const (
	release   = "detour"
	namespace = "detour-system"
)

func main() {
	files, err := generate(os.Args[1])
	if err == nil {
		err = write(os.Args[1], files)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

// write replaces the generated folders.
func write(deploy string, files map[string][]byte) error {
	for _, folder := range []string{"manifests", "kustomize"} {
		if err := os.RemoveAll(filepath.Join(deploy, folder)); err != nil {
			return err
		}
	}
	for name, text := range files {
		path := filepath.Join(deploy, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// An object is a Kubernetes object as YAML has it.
type object = map[string]any

// templates renders every file of the chart, by its name, for a cluster that has all that it could use.
func templates(deploy string, values object) (map[string]string, error) {
	return templatesFor(deploy, "v1.37.0", values)
}

// templatesFor renders them for a version of Kubernetes.
func templatesFor(deploy, version string, values object) (map[string]string, error) {
	c, err := loader.Load(filepath.Join(deploy, "chart", "detour"))
	if err != nil {
		return nil, err
	}
	options := chartutil.ReleaseOptions{Name: release, Namespace: namespace, Revision: 1, IsInstall: true}
	cluster := chartutil.DefaultCapabilities.Copy()
	parsed, err := chartutil.ParseKubeVersion(version)
	if err != nil {
		return nil, err
	}
	cluster.KubeVersion = *parsed
	all, err := chartutil.ToRenderValues(c, values, options, cluster)
	if err != nil {
		return nil, err
	}
	return engine.Render(c, all)
}

// render is `helm template` with values, without the hooks: they are helm's.
func render(deploy string, values object) ([]object, error) {
	texts, err := templates(deploy, values)
	if err != nil {
		return nil, err
	}
	var objects []object
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		if filepath.Ext(name) != ".yaml" {
			continue
		}
		for doc := range strings.SplitSeq("\n"+texts[name], "\n---") {
			var o object
			if err := yaml.UnmarshalStrict([]byte(doc), &o); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			if len(o) > 0 && !isHook(o) {
				objects = append(objects, o)
			}
		}
	}
	return objects, nil
}

func isHook(o object) bool {
	meta, _ := o["metadata"].(object)
	annotations, _ := meta["annotations"].(object)
	return annotations["helm.sh/hook"] != nil
}

const head = "# Made from the chart by `make manifests`: change that, not this.\n"

// namespaceText is detour's own. hostNetwork and hostPath are what Pod Security
// `privileged` is needed for; no container has a privilege.
const namespaceText = `apiVersion: v1
kind: Namespace
metadata:
  name: ` + namespace + `
  labels:
    pod-security.kubernetes.io/enforce: privileged
    pod-security.kubernetes.io/warn: privileged
`

// scc lets detour's pods run on OpenShift, and nothing else of the namespace's. With Helm it is applied by hand.
const scc = head + `apiVersion: security.openshift.io/v1
kind: SecurityContextConstraints
metadata: {name: detour}
allowHostDirVolumePlugin: true
allowHostNetwork: true
allowHostPorts: true
allowHostIPC: false
allowHostPID: false
allowPrivilegedContainer: false
allowPrivilegeEscalation: false
allowedCapabilities: []
requiredDropCapabilities: [ALL]
readOnlyRootFilesystem: true
runAsUser: {type: RunAsAny}
seLinuxContext: {type: RunAsAny}
fsGroup: {type: RunAsAny}
supplementalGroups: {type: RunAsAny}
seccompProfiles: [runtime/default]
# projected: the tokens of the untaint component and of the Job that helm uninstall makes.
volumes: [configMap, hostPath, projected]
users:
- system:serviceaccount:` + namespace + `:default
- system:serviceaccount:` + namespace + `:detour-untaint
- system:serviceaccount:` + namespace + `:detour-leave
`

// generate gives each file by its name under deploy/.
func generate(deploy string) (map[string][]byte, error) {
	base, err := plain(deploy, nil)
	if err != nil {
		return nil, err
	}
	manifest := []byte(head + namespaceText)
	for _, o := range base {
		text, err := yaml.Marshal(o)
		if err != nil {
			return nil, err
		}
		manifest = append(append(manifest, "---\n"...), text...)
	}
	files := map[string][]byte{
		"manifests/detour.yaml":        manifest,
		"manifests/kustomization.yaml": []byte(head + "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [detour.yaml]\n"),
	}
	platforms, err := filepath.Glob(filepath.Join(deploy, "platforms", "*.yaml"))
	if err != nil {
		return nil, err
	}
	for _, path := range platforms {
		made, err := overlay(deploy, path, base)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		maps.Copy(files, made)
	}
	return files, nil
}

// plain renders the objects as they are without Helm, in the namespace.
func plain(deploy string, values object) ([]object, error) {
	objects, err := render(deploy, values)
	for _, o := range objects {
		o["metadata"].(object)["namespace"] = namespace
		unhelm(o)
	}
	return objects, err
}

// platform reads the values of one.
func platform(path string) (text []byte, values object, err error) {
	if text, err = os.ReadFile(path); err != nil {
		return nil, nil, err
	}
	err = yaml.UnmarshalStrict(text, &values)
	return text, values, err
}

// unhelm takes away what would tell helm that the object is its own.
func unhelm(o any) {
	switch o := o.(type) {
	case object:
		if o["app.kubernetes.io/managed-by"] == "Helm" {
			delete(o, "app.kubernetes.io/managed-by")
		}
		for _, v := range o {
			unhelm(v)
		}
	case []any:
		for _, v := range o {
			unhelm(v)
		}
	}
}

// A patch is one operation of RFC 6902.
type patch struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// overlay is the kustomization that makes the platform's objects of the default ones: patches of those, and
// a file for each that is there besides.
func overlay(deploy, path string, base []object) (map[string][]byte, error) {
	dir := "kustomize/" + strings.TrimSuffix(filepath.Base(path), ".yaml") + "/"
	files := map[string][]byte{}
	text, values, err := platform(path)
	if err != nil {
		return nil, err
	}
	objects, err := plain(deploy, values)
	if err != nil {
		return nil, err
	}
	resources := []string{"../../manifests"}
	if dir == "kustomize/openshift/" {
		files[dir+"scc.yaml"] = []byte(scc)
		resources = append(resources, "scc.yaml")
	}
	var patches []object
	same := 0
	for _, o := range objects {
		i := slices.IndexFunc(base, func(b object) bool { return identity(b) == identity(o) })
		if i < 0 {
			text, err := yaml.Marshal(o)
			if err != nil {
				return nil, err
			}
			name := strings.ToLower(o["kind"].(string)) + ".yaml"
			files[dir+name] = append([]byte(head), text...)
			resources = append(resources, name)
			continue
		}
		same++
		ops := diff("", base[i], o)
		if len(ops) == 0 {
			continue
		}
		text, err := yaml.Marshal(ops)
		if err != nil {
			return nil, err
		}
		target := object{"kind": o["kind"], "name": o["metadata"].(object)["name"]}
		patches = append(patches, object{"target": target, "patch": string(text)})
	}
	if same != len(base) {
		return nil, fmt.Errorf("%d of the %d default objects (want all: an overlay takes none away)", same, len(base))
	}
	k := object{"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": resources}
	if len(patches) > 0 {
		k["patches"] = patches
	}
	out, err := yaml.Marshal(k)
	files[dir+"kustomization.yaml"] = append([]byte(head+comments(text)), out...)
	return files, err
}

// identity is what tells objects of one namespace apart.
func identity(o object) string {
	return fmt.Sprint(o["kind"], "/", o["metadata"].(object)["name"])
}

// comments are the lines of a platform's values that say why.
func comments(values []byte) (lines string) {
	for line := range strings.Lines(string(values)) {
		if strings.HasPrefix(line, "#") {
			lines += line
		}
	}
	return lines
}

// pointer is one step of RFC 6901.
func pointer(key string) string {
	return "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}

// diff gives the operations that make b of a. A list of another length is replaced whole.
func diff(at string, a, b any) (ops []patch) {
	ma, isA := a.(object)
	mb, isB := b.(object)
	if isA && isB {
		for _, key := range slices.Sorted(maps.Keys(ma)) {
			p := at + pointer(key)
			if v, ok := mb[key]; ok {
				ops = append(ops, diff(p, ma[key], v)...)
			} else {
				ops = append(ops, patch{Op: "remove", Path: p})
			}
		}
		for _, key := range slices.Sorted(maps.Keys(mb)) {
			if _, ok := ma[key]; !ok {
				ops = append(ops, patch{Op: "add", Path: at + pointer(key), Value: mb[key]})
			}
		}
		return ops
	}
	la, isA := a.([]any)
	lb, isB := b.([]any)
	if isA && isB && len(la) == len(lb) {
		for i := range la {
			ops = append(ops, diff(fmt.Sprintf("%s/%d", at, i), la[i], lb[i])...)
		}
		return ops
	}
	if fmt.Sprint(a) != fmt.Sprint(b) {
		ops = append(ops, patch{Op: "replace", Path: at, Value: b})
	}
	return ops
}
