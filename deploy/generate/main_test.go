package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const deploy = ".."

func TestWhatIsGeneratedIsCurrent(t *testing.T) {
	files, err := generate(deploy)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		if have, err := os.ReadFile(filepath.Join(deploy, name)); err != nil || string(have) != string(want) {
			t.Errorf("deploy/%s is not what the chart says: make manifests (%v)", name, err)
		}
	}
	for _, pattern := range []string{"manifests/*", "kustomize/*/*"} {
		there, _ := filepath.Glob(filepath.Join(deploy, pattern)) // a constant pattern
		for _, path := range there {
			if name := strings.TrimPrefix(path, deploy+"/"); files[name] == nil {
				t.Errorf("deploy/%s comes from nowhere: make manifests", name)
			}
		}
	}
}

func TestLint(t *testing.T) {
	for _, m := range lint.All(filepath.Join(deploy, "chart", "detour"), nil, namespace, true).Messages {
		if m.Severity > support.InfoSev {
			t.Error(m)
		}
	}
}

// combinations are sets of values, each over the one before it in every way that matters.
func combinations() (all []object) {
	for _, taint := range []bool{false, true} {
		for _, hook := range []bool{false, true} {
			for _, monitor := range []bool{false, true} {
				for _, bind := range []string{"127.0.0.1:9464", "0.0.0.0:9000", "[::1]:9464"} {
					for _, pools := range [][]any{nil, {object{"name": "default"}, object{"name": "old", "mode": "splice", "nodeSelector": object{"pool": "old"}, "confDir": "/x/net.d", "runtime": "containerd://1.6.0"}}} {
						v := object{
							"startupTaint": object{"enabled": taint}, "uninstall": object{"hook": hook},
							"metrics": object{"bind": bind, "podMonitor": object{"enabled": monitor}, "prometheusRule": object{"enabled": monitor}},
							"image":   object{"registry": "r.example:5000", "digest": "sha256:" + strings.Repeat("0", 64), "pullSecrets": []any{object{"name": "s"}}},
						}
						if pools != nil {
							v["pools"] = pools
						}
						all = append(all, v)
					}
				}
			}
		}
	}
	return all
}

// TestEveryCombinationKeepsWhatIsPromised renders the chart in many ways and looks at what must
// hold in each: no token and no right for what runs on the nodes, no capability, no surge.
func TestEveryCombinationKeepsWhatIsPromised(t *testing.T) {
	for i, values := range append(combinations(), nil) {
		objects, err := render(deploy, values)
		if err != nil {
			t.Fatalf("%d %v: %v", i, values, err)
		}
		nodes := 0
		for _, o := range objects {
			text, err := yaml.Marshal(o)
			if err != nil {
				t.Fatal(err)
			}
			if o["kind"] != "DaemonSet" || !strings.Contains(string(text), "component: node") {
				if taint, _ := values["startupTaint"].(object); o["kind"] == "ClusterRole" && taint["enabled"] != true {
					t.Errorf("%v: a right that nobody asked for:\n%s", values, text)
				}
				continue
			}
			nodes++
			for _, want := range []string{"automountServiceAccountToken: false", "readOnlyRootFilesystem: true", "- ALL", "type: RuntimeDefault", "maxSurge: 0", "operator: Exists", "hostNetwork: true", "path: /readyz"} {
				if !strings.Contains(string(text), want) {
					t.Errorf("%v: no %q in\n%s", values, want, text)
				}
			}
			for _, never := range []string{"privileged", "serviceAccountName", "add:"} {
				if strings.Contains(string(text), never) {
					t.Errorf("%v: %q in\n%s", values, never, text)
				}
			}
			if image, _ := values["image"].(object); image != nil && !strings.Contains(string(text), fmt.Sprintf("image: r.example:5000/detour-cni/detour@%s", image["digest"])) {
				t.Errorf("%v: another image in\n%s", values, text)
			}
		}
		want := 1
		if pools, ok := values["pools"].([]any); ok {
			want = len(pools)
		}
		if nodes != want {
			t.Errorf("%v: %d DaemonSets, want %d", values, nodes, want)
		}
	}
}

// TestMetricsAreAskedWhereTheyAre: probes and the untaint component reach what listens at
// metrics.bind, also at a wildcard and in IPv6, which the kubelet wants without brackets.
func TestMetricsAreAskedWhereTheyAre(t *testing.T) {
	for bind, want := range map[string][2]string{
		"127.0.0.1:9464": {"127.0.0.1", "http://127.0.0.1:9464/readyz"},
		"0.0.0.0:9000":   {"127.0.0.1", "http://127.0.0.1:9000/readyz"},
		":9000":          {"127.0.0.1", "http://127.0.0.1:9000/readyz"},
		"10.1.2.3:9464":  {"10.1.2.3", "http://10.1.2.3:9464/readyz"},
		"[::]:9464":      {"::1", "http://[::1]:9464/readyz"},
		"[::1]:9464":     {"::1", "http://[::1]:9464/readyz"},
	} {
		objects, err := render(deploy, object{"metrics": object{"bind": bind}, "startupTaint": object{"enabled": true}})
		if err != nil {
			t.Fatal(err)
		}
		text, err := yaml.Marshal(objects)
		if err != nil {
			t.Fatal(err)
		}
		for words, count := range map[string]int{"host: " + want[0] + "\n": 3, "- " + want[1] + "\n": 1} {
			if got := strings.Count(strings.NewReplacer("'", "", `"`, "").Replace(string(text)), words); got != count {
				t.Errorf("%s: %q stands %d times, want %d", bind, words, got, count)
			}
		}
	}
}

// TestEveryValueIsDescribed: the schema is the only place that says what a value does.
func TestEveryValueIsDescribed(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(deploy, "chart", "detour", "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var schema object
	if err := yaml.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	count := 0
	var walk func(at string, o object)
	walk = func(at string, o object) {
		properties, _ := o["properties"].(object)
		for name, p := range properties {
			p, _ := p.(object)
			count++
			if words, _ := p["description"].(string); len(words) < 10 {
				t.Errorf("%s.%s: description %q", at, name, words)
			}
			walk(at+"."+name, p)
		}
		if items, ok := o["items"].(object); ok {
			walk(at+"[]", items)
		}
	}
	walk("values", schema)
	pool := schema["$defs"].(object)["pool"].(object)
	walk("pool", pool)
	if count < 40 {
		t.Errorf("%d values only", count)
	}
}

// TestTheCRISocketIsMountedOnlyIfAskedFor: being allowed to talk to it is root on the node.
func TestTheCRISocketIsMountedOnlyIfAskedFor(t *testing.T) {
	for socket, count := range map[string]int{"": 0, "/run/containerd/containerd.sock": 1} {
		objects, err := render(deploy, object{"poolDefaults": object{"criSocket": socket}})
		if err != nil {
			t.Fatal(err)
		}
		text, err := yaml.Marshal(objects)
		if err != nil {
			t.Fatal(err)
		}
		for _, words := range []string{"mountPath: /run/containerd\n", "path: /run/containerd\n", "value: /run/containerd/containerd.sock\n", "DETOUR_CRI_SOCKET"} {
			if got := strings.Count(string(text), words); got != count {
				t.Errorf("socket %q: %q stands %d times, want %d", socket, words, got, count)
			}
		}
	}
}

// immutable is what Kubernetes lets nobody change of a DaemonSet.
func immutable(t *testing.T, values object) (selectors, templates string) {
	t.Helper()
	objects, err := render(deploy, values)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		if o["kind"] == "DaemonSet" {
			spec := o["spec"].(object)
			selectors += fmt.Sprintln(o["metadata"].(object)["name"], spec["selector"])
			templates += fmt.Sprintln(spec["template"])
		}
	}
	return selectors, templates
}

// TestAnUpgradeChangesNoSelector: whatever an upgrade may change, the DaemonSets' selectors stay;
// options are watched and restart no pod, an image does.
func TestAnUpgradeChangesNoSelector(t *testing.T) {
	before, template := immutable(t, nil)
	for _, tc := range []struct {
		values   object
		restarts bool
	}{
		{object{"detour": object{"overrides": "deny"}}, false},
		{object{"startupTaint": object{"key": "x/y"}}, false},
		{object{"uninstall": object{"hook": false}}, false},
		{object{"image": object{"tag": "next"}}, true},
		{object{"poolDefaults": object{"mode": "owned", "runtime": "containerd://2.1.0", "seLinuxType": "spc_t"}}, true},
		{object{"metrics": object{"bind": "0.0.0.0:9999"}, "podLabels": object{"a": "b"}, "podAnnotations": object{"c": "d"}}, true},
	} {
		after, other := immutable(t, tc.values)
		if after != before {
			t.Errorf("%v: the selector becomes %s, was %s", tc.values, after, before)
		}
		if restarts := other != template; restarts != tc.restarts {
			t.Errorf("%v: restarts pods: %v, want %v", tc.values, restarts, tc.restarts)
		}
	}
}

// TestTheNotesSayWhatComesNext: commands for what was really made, and what a value lacks.
func TestTheNotesSayWhatComesNext(t *testing.T) {
	const unknown, unreachable = "does not say which runtime", "which Prometheus cannot reach"
	monitor := func(bind string) object {
		return object{"metrics": object{"bind": bind, "podMonitor": object{"enabled": true}}, "poolDefaults": object{"criSocket": "/run/containerd/containerd.sock"}}
	}
	for _, tc := range []struct {
		values    object
		has, lack []string
	}{
		{nil, []string{"rollout status daemonset detour\n", "instance=detour,app.kubernetes.io/component=node", "helm -n detour-system uninstall detour\n", "Pool default " + unknown}, []string{unreachable}},
		{object{"pools": []any{object{"name": "new", "runtime": "containerd://2.1.4"}, object{"name": "old"}}}, []string{"status daemonset detour-new\n", "status daemonset detour-old\n", "Pool old " + unknown}, []string{"Pool new"}},
		{object{"pools": []any{object{"name": "own", "mode": "owned"}, object{"name": "in", "mode": "drop-in"}, object{"name": "any"}}}, []string{"Pool any " + unknown}, []string{"Pool own", "Pool in"}},
		{monitor("127.0.0.1:9464"), []string{unreachable}, []string{unknown}},
		{monitor("0.0.0.0:9464"), nil, []string{unreachable, unknown}},
		{monitor("[::]:9464"), nil, []string{unreachable}},
	} {
		texts, err := templates(deploy, tc.values)
		if err != nil {
			t.Fatal(err)
		}
		notes := texts["detour/templates/NOTES.txt"]
		t.Log(notes)
		for _, words := range tc.has {
			if !strings.Contains(notes, words) {
				t.Errorf("%v: no %q in the notes", tc.values, words)
			}
		}
		for _, words := range tc.lack {
			if strings.Contains(notes, words) {
				t.Errorf("%v: %q in the notes", tc.values, words)
			}
		}
	}
}

// TestLinksAreFollowedThroughTheirParent: where a link on the way to the directories moves.
func TestLinksAreFollowedThroughTheirParent(t *testing.T) {
	objects, err := render(deploy, object{"poolDefaults": object{"confDir": "/var/x/current/net.d", "binDir": "/var/x/current/bin", "hostPaths": []any{"/var/x"}}})
	if err != nil {
		t.Fatal(err)
	}
	text, err := yaml.Marshal(objects)
	if err != nil {
		t.Fatal(err)
	}
	for _, words := range []string{"mountPath: /var/x\n", "path: /var/x\n", "value: /var/x/current/net.d\n"} {
		if strings.Count(string(text), words) != 1 {
			t.Errorf("want %q once in\n%s", words, text)
		}
	}
	if strings.Contains(string(text), "path: /var/x/current") || strings.Contains(string(text), "mountPath: /var/x/current") {
		t.Errorf("the directory behind the link is mounted:\n%s", text)
	}
}

func TestTheSchemaRefusesByName(t *testing.T) {
	for _, tc := range []struct {
		values object
		words  string
	}{
		{object{"mode": "splice"}, "mode"},
		{object{"poolDefaults": object{"mode": "sometimes"}}, "mode"},
		{object{"poolDefaults": object{"confDir": "relative"}}, "confDir"},
		{object{"image": object{"digest": "latest"}}, "digest"},
		{object{"poolDefaults": object{"confDir": "/"}}, "confDir"},
		{object{"poolDefaults": object{"binDir": "/opt"}}, "binDir"},
		{object{"poolDefaults": object{"criSocket": "/run/containerd.sock"}}, "criSocket"},
		{object{"poolDefaults": object{"affinity": object{"nodeAffinity": object{"matchExpressions": []any{}}}}}, "matchExpressions"},
		{object{"metrics": object{"bind": "0.0.0.0:0"}}, "bind"},
		{object{"metrics": object{"bind": "0.0.0.0:99999"}}, "bind"},
		{object{"metrics": object{"bind": "::1:9464"}}, "bind"},
		{object{"podAnnotations": object{"prometheus.io/scrape": true}}, "scrape"},
		{object{"podLabels": object{"tier": 1}}, "tier"},
		{object{"pools": []any{object{"name": "a"}, object{"name": "a", "mode": "splice"}}}, "two have one name (a, a)"},
		{object{"pools": []any{object{"name": "untaint"}}}, "untaint"},
	} {
		if _, err := render(deploy, tc.values); err == nil || !strings.Contains(err.Error(), tc.words) {
			t.Errorf("%v: %v, want an error with %q", tc.values, err, tc.words)
		}
	}
}

// TestOverlaysGiveWhatThePlatformWants builds each overlay as `kubectl apply -k` does, and
// compares with the chart under the platform's values.
func TestOverlaysGiveWhatThePlatformWants(t *testing.T) {
	platforms, err := filepath.Glob(filepath.Join(deploy, "platforms", "*.yaml"))
	if err != nil || len(platforms) < 14 {
		t.Fatalf("%d platforms, want 14: %v", len(platforms), err)
	}
	for _, path := range platforms {
		name := strings.TrimSuffix(filepath.Base(path), ".yaml")
		built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(deploy, "kustomize", name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		_, values, err := platform(path)
		if err != nil {
			t.Fatal(err)
		}
		want, err := plain(deploy, values)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range want {
			found := false
			for _, r := range built.Resources() {
				m, err := r.Map()
				found = found || err == nil && r.GetKind() == o["kind"] && len(diff("", m, o)) == 0
			}
			if !found {
				t.Errorf("%s: the overlay does not give the %s that the chart does", name, o["kind"])
			}
		}
	}
}

// TestThePriorityHasItsQuota: where the class is not for every namespace, the quota names the very class that the pods have.
func TestThePriorityHasItsQuota(t *testing.T) {
	for _, enabled := range []bool{false, true} {
		objects, err := render(deploy, object{"priorityQuota": enabled, "priorityClassName": "mine"})
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(objects, func(o object) bool { return o["kind"] == "ResourceQuota" })
		if (i >= 0) != enabled {
			t.Errorf("priorityQuota %t: quota %t", enabled, i >= 0)
		}
		if i >= 0 && !strings.Contains(fmt.Sprint(objects[i]), "scopeName:PriorityClass values:[mine]") {
			t.Errorf("%v", objects[i])
		}
	}
}

// TestTheTaintNeedsItsAPI: without its policy the component's right would be every node and taint.
func TestTheTaintNeedsItsAPI(t *testing.T) {
	for version, want := range map[string]string{"v1.31.9": "want 1.32 or later", "v1.32.0": ""} {
		if _, err := templatesFor(deploy, version, object{"startupTaint": object{"enabled": true}}); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", version, err, want)
		}
	}
}
