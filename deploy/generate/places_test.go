package main

import (
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// affinity is a pool's own, with two alternatives.
var affinity = object{
	"nodeAffinity": object{"requiredDuringSchedulingIgnoredDuringExecution": object{"nodeSelectorTerms": []any{
		object{"matchExpressions": []any{object{"key": "mine", "operator": "Exists"}}},
		object{"matchFields": []any{object{"key": "metadata.name", "operator": "In", "values": []any{"mine-too"}}}},
	}}},
	"podAntiAffinity": object{"preferredDuringSchedulingIgnoredDuringExecution": []any{}},
}

// workloads are everything in the chart that makes pods, hooks included.
func workloads(t *testing.T) (all []object) {
	t.Helper()
	texts, err := templates(deploy, object{"startupTaint": object{"enabled": true}, "poolDefaults": object{"affinity": affinity}})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range texts {
		if filepath.Ext(name) != ".yaml" {
			continue
		}
		for doc := range strings.SplitSeq("\n"+text, "\n---") {
			var o object
			if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
				t.Fatal(err)
			}
			if o["kind"] == "DaemonSet" || o["kind"] == "Job" {
				all = append(all, o)
			}
		}
	}
	if len(all) != 3 {
		t.Fatalf("%d workloads, want the DaemonSet, the untaint component and the leave Job", len(all))
	}
	return all
}

func podSpec(o object) object { return o["spec"].(object)["template"].(object)["spec"].(object) }

// TestNothingGoesToVirtualNodes: what cannot work is kept off, of every component.
func TestNothingGoesToVirtualNodes(t *testing.T) {
	for _, o := range workloads(t) {
		text, err := yaml.Marshal(podSpec(o)["affinity"])
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"kubernetes.io/os", "virtual-kubelet", "eks.amazonaws.com/compute-type", "fargate"} {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s %v: no %s in its affinity:\n%s", o["kind"], o["metadata"].(object)["name"], want, text)
			}
		}
		terms := podSpec(o)["affinity"].(object)["nodeAffinity"].(object)["requiredDuringSchedulingIgnoredDuringExecution"].(object)["nodeSelectorTerms"].([]any)
		for i, term := range terms { // alternatives: each must keep off by itself
			if n := len(term.(object)["matchExpressions"].([]any)); n < 3 {
				t.Errorf("%v: term %d has %d expressions, want at least 3:\n%s", o["metadata"].(object)["name"], i, n, text)
			}
		}
		if node := o["metadata"].(object)["name"] == release; node {
			for _, want := range []string{"key: mine", "mine-too", "podAntiAffinity"} {
				if !strings.Contains(string(text), want) {
					t.Errorf("a pool's own affinity is lost, %s:\n%s", want, text)
				}
			}
		} else if strings.Contains(string(text), "mine") || len(terms) != 1 {
			t.Errorf("%v has a pool's affinity:\n%s", o["metadata"].(object)["name"], text)
		}
	}
}

// TestTheSCCIsForEveryComponent: who runs on the host's network needs it, and with a token its volume.
func TestTheSCCIsForEveryComponent(t *testing.T) {
	var constraints struct {
		Users   []string `json:"users"`
		Volumes []string `json:"volumes"`
	}
	if err := yaml.Unmarshal([]byte(scc), &constraints); err != nil {
		t.Fatal(err)
	}
	users, volumes := strings.Join(constraints.Users, " ")+" ", strings.Join(constraints.Volumes, " ")
	for _, o := range workloads(t) {
		spec := podSpec(o)
		account, _ := spec["serviceAccountName"].(string)
		if account == "" {
			account = "default"
		}
		if !strings.Contains(users, ":"+account+" ") {
			t.Errorf("%s %s runs as %s, and the SCC is for %s", o["kind"], o["metadata"].(object)["name"], account, users)
		}
		if spec["automountServiceAccountToken"] == true && !strings.Contains(volumes, "projected") {
			t.Errorf("%s has a token, and the SCC's volumes are %s", account, volumes)
		}
	}
}
