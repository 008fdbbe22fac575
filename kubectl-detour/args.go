package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// arguments are a command line, ours and detour's told apart.
type arguments struct {
	command string // inspect, explain or doctor
	target  string // POD, or node/NAME

	namespace, context, kubeconfig string
	image, debugNamespace          string
	rest                           []string // detour's own
}

var errHelp = errors.New("help")

// valued are detour's flags that have a value: the word after one of them is no target.
func valued() []string {
	return []string{
		"-o", "--output", "--from", "--to", "--src", "--proto", "--in", "--pod-ip", "--cache", "--conf-dir", "--bin-dir", "--config",
		"--plugin", "--mode", "--runtime", "--cri-socket",
	}
}

// local are detour's flags that name a file on the workstation, where the command does not run.
func local() []string { return []string{"--annotations", "--spec", "--diff", "--all"} }

func parse(command string, args []string) (a arguments, err error) {
	a.command = command
	ours := map[string]*string{"-n": &a.namespace, "--namespace": &a.namespace, "--context": &a.context,
		"--kubeconfig": &a.kubeconfig, "--image": &a.image, "--debug-namespace": &a.debugNamespace}
	for i := 0; i < len(args); i++ {
		name, value, inline := strings.Cut(args[i], "=")
		to, isOurs := ours[name]
		switch {
		case name == "-h" || name == "--help":
			return a, errHelp
		case slices.Contains(local(), name):
			return a, fmt.Errorf("%s: is not of a live pod of the cluster (want the detour program itself)", name)
		case isOurs && inline:
			*to = value
		case isOurs || slices.Contains(valued(), args[i]):
			if i++; i == len(args) {
				return a, fmt.Errorf("%s: want a value", name)
			}
			if isOurs {
				*to = args[i]
			} else {
				a.rest = append(a.rest, args[i-1], args[i])
			}
		case strings.HasPrefix(args[i], "-"):
			a.rest = append(a.rest, args[i])
		case a.target != "":
			return a, fmt.Errorf("%q: want one pod, and there is %q already", args[i], a.target)
		default:
			a.target = args[i]
		}
	}
	a.target = strings.TrimPrefix(strings.TrimPrefix(a.target, "pods/"), "pod/")
	_, node := a.node()
	switch {
	case a.target == "" && command == "doctor":
		return a, errors.New("of which node? want kubectl detour doctor node/NAME, or a pod that is on it")
	case a.target == "":
		return a, fmt.Errorf("of which pod? want kubectl detour %s POD", command)
	case strings.Contains(a.target, "/") && (!node || command != "doctor"):
		return a, fmt.Errorf("%q: want the name of a pod, and -n for its namespace", a.target)
	}
	return a, nil
}

// node is the node that the target names, where it names one.
func (a arguments) node() (string, bool) { return strings.CutPrefix(a.target, "node/") }

// client reads the kubeconfig as kubectl does. It gives the namespace that is meant as well.
func (a arguments) client() (*rest.Config, *kubernetes.Clientset, string, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = a.kubeconfig
	overrides := &clientcmd.ConfigOverrides{CurrentContext: a.context}
	overrides.Context.Namespace = a.namespace
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides)
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, nil, "", err
	}
	namespace, _, err := loader.Namespace()
	if err != nil {
		return nil, nil, "", err
	}
	client, err := kubernetes.NewForConfig(config)
	return config, client, namespace, err
}
