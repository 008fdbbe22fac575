package main

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestArgumentsAreTakenApart(t *testing.T) {
	for _, tc := range []struct {
		command, line string
		want          arguments
	}{
		{"inspect", "cart-0", arguments{target: "cart-0"}},
		{"inspect", "pod/cart-0 -n shop -o html", arguments{target: "cart-0", namespace: "shop", rest: []string{"-o", "html"}}},
		{"inspect", "-o json --namespace=shop cart-0 --watch", arguments{target: "cart-0", namespace: "shop", rest: []string{"-o", "json", "--watch"}}},
		{"explain", "cart-0 --from app --to 10.0.0.1:80 --context c --kubeconfig k", arguments{target: "cart-0", context: "c", kubeconfig: "k", rest: []string{"--from", "app", "--to", "10.0.0.1:80"}}},
		{"explain", "--from=app --to=:80 cart-0", arguments{target: "cart-0", rest: []string{"--from=app", "--to=:80"}}},
		{"doctor", "node/worker-1 --image x --debug-namespace y", arguments{target: "node/worker-1", image: "x", debugNamespace: "y"}},
	} {
		got, err := parse(tc.command, strings.Fields(tc.line))
		tc.want.command = tc.command
		if err != nil || !slices.Equal(got.rest, tc.want.rest) {
			t.Errorf("%s %s: %+v, %v, want %+v", tc.command, tc.line, got, err, tc.want)
			continue
		}
		got.rest, tc.want.rest = nil, nil
		if got.target != tc.want.target || got.namespace != tc.want.namespace || got.context != tc.want.context || got.kubeconfig != tc.want.kubeconfig || got.image != tc.want.image || got.debugNamespace != tc.want.debugNamespace {
			t.Errorf("%s %s: %+v, want %+v", tc.command, tc.line, got, tc.want)
		}
	}
}

func TestWhatCannotBeAskedIsSaid(t *testing.T) {
	for line, want := range map[string]string{
		"inspect":                      "of which pod? want kubectl detour inspect POD",
		"inspect a b":                  `"b": want one pod, and there is "a" already`,
		"inspect shop/cart":            `"shop/cart": want the name of a pod, and -n for its namespace`,
		"inspect node/worker":          `"node/worker": want the name of a pod`,
		"inspect a -n":                 "-n: want a value",
		"explain a --from":             "--from: want a value",
		"explain --annotations x.yaml": "--annotations: is not of a live pod",
		"inspect --all":                "--all: is not of a live pod",
	} {
		words := strings.Fields(line)
		if _, err := parse(words[0], words[1:]); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
	if _, err := parse("inspect", []string{"--help"}); !errors.Is(err, errHelp) {
		t.Errorf("--help: %v", err)
	}
}
