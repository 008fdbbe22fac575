package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// completeWait is how long a shell waits for names.
const completeWait = 3 * time.Second

// flagsOf are those that a command has, ours and detour's.
func flagsOf(command string) []string {
	flags := []string{"--namespace", "--context", "--kubeconfig", "--image", "--debug-namespace", "--output", "--help"}
	switch command {
	case "inspect":
		flags = append(flags, "--watch")
	case "explain":
		flags = append(flags, "--from", "--to", "--src", "--proto", "--in")
	}
	return flags
}

// complete gives flags, and names: of the pods of the namespace, and for doctor of the nodes.
func complete(command string) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if strings.HasPrefix(word, "-") {
			return startingWith(flagsOf(command), word), cobra.ShellCompDirectiveNoFileComp
		}
		a, _ := parse(command, args) // what is there so far need not be whole
		if a.target != "" {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, stop := context.WithTimeout(c.Context(), completeWait)
		defer stop()
		return startingWith(names(ctx, a), word), cobra.ShellCompDirectiveNoFileComp
	}
}

// names are none where nobody answers: a shell has no place for errors.
func names(ctx context.Context, a arguments) (all []string) {
	_, client, namespace, err := a.client()
	if err != nil {
		return nil
	}
	if pods, err := client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{}); err == nil {
		for _, p := range pods.Items {
			if !p.Spec.HostNetwork {
				all = append(all, p.Name)
			}
		}
	}
	if a.command != "doctor" {
		return all
	}
	if nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{}); err == nil {
		for _, n := range nodes.Items {
			all = append(all, "node/"+n.Name)
		}
	}
	return all
}

func startingWith(words []string, prefix string) (some []string) {
	for _, w := range words {
		if strings.HasPrefix(w, prefix) {
			some = append(some, w)
		}
	}
	return some
}
