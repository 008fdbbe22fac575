package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/install"
)

// target is a namespace that somebody asked for.
type target struct {
	// name is the pod's, or what it was asked for by; found says how it was found.
	name, netns, found string
	// attachment is what the runtime keeps of the pod's ADD; nil where it keeps nothing.
	attachment *install.Attachment
}

const targetForms = "want the path of a network namespace, a pid, a container id, or NAMESPACE/POD"

var containerID = regexp.MustCompile(`^[0-9a-f]{8,64}$`)

// findTarget finds one namespace on this node, without asking an API server.
func findTarget(asked, cache string) (target, error) {
	all, err := install.Attachments(cache)
	if err != nil {
		return target{}, exit{exitUnknown, err}
	}
	var t target
	switch namespace, pod, isPod := strings.Cut(asked, "/"); {
	case strings.HasPrefix(asked, "/") || strings.HasPrefix(asked, "."):
		t = target{name: asked, netns: asked, found: "asked for by its path"}
	case isPod && namespace != "" && pod != "" && !strings.Contains(pod, "/"):
		t, err = podTarget(asked, all)
	case isNumber(asked):
		t = target{name: "pid " + asked, netns: "/proc/" + asked + "/ns/net", found: "the namespace of pid " + asked}
	case containerID.MatchString(asked):
		t, err = containerTarget(asked, all)
	default:
		return t, exit{exitUsage, fmt.Errorf("target %q: %s", asked, targetForms)}
	}
	if err != nil {
		return t, exit{exitUnknown, err}
	}
	if _, err := os.Stat(t.netns); err != nil {
		return t, exit{exitUnknown, fmt.Errorf("target %s: %w", asked, err)}
	}
	if t.attachment == nil {
		t.attachment = attachmentOf(t.netns, all)
	}
	if t.attachment != nil && t.attachment.Pod.Ref.IsPod() {
		t.name = t.attachment.Pod.Ref.String()
	}
	return t, nil
}

func isNumber(text string) bool {
	n, err := strconv.ParseUint(text, 10, 22) // PID_MAX_LIMIT is 2^22 (proc_sys_kernel(5))
	return err == nil && n > 0
}

// attachmentOf finds the ADD whose namespace this is.
func attachmentOf(netns string, all []install.Attachment) *install.Attachment {
	for i, a := range all {
		if a.Netns != "" && sameFile(a.Netns, netns) {
			return &all[i]
		}
	}
	return nil
}

func sameFile(a, b string) bool {
	var x, y unix.Stat_t
	return unix.Stat(a, &x) == nil && unix.Stat(b, &y) == nil && x.Dev == y.Dev && x.Ino == y.Ino
}

// podTarget finds a pod by name: of several ADDs the one whose namespace is still there.
func podTarget(name string, all []install.Attachment) (target, error) {
	known := false
	for i, a := range all {
		if a.Pod.Ref.String() != name {
			continue
		}
		known = true
		if _, err := os.Stat(a.Netns); err == nil {
			return target{name, a.Netns, "in the CNI result cache, as " + a.File, &all[i]}, nil
		}
	}
	if known {
		return target{}, fmt.Errorf("pod %s: it is in the CNI result cache, but its namespace is gone", name)
	}
	return target{}, fmt.Errorf("pod %s: not in the CNI result cache of this node: is it another node's, or in the node's own network (hostNetwork)?", name)
}

// containerTarget finds a sandbox in the cache, or any container by its cgroup.
func containerTarget(id string, all []install.Attachment) (target, error) {
	for i, a := range all {
		if strings.Contains(a.File, "-"+id) && a.Netns != "" {
			return target{"container " + id, a.Netns, "in the CNI result cache, as " + a.File, &all[i]}, nil
		}
	}
	files, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		return target{}, err
	}
	for _, f := range files {
		if text, err := os.ReadFile(f); err == nil && strings.Contains(string(text), id) {
			dir := filepath.Dir(f)
			return target{"container " + id, filepath.Join(dir, "ns/net"), "by the cgroup of pid " + filepath.Base(dir), nil}, nil
		}
	}
	return target{}, fmt.Errorf("container %s: neither in the CNI result cache nor in the cgroup of a process", id)
}

// allTargets are the pods of the node, by name.
func allTargets(cache string) ([]target, error) {
	all, err := install.Attachments(cache)
	if err != nil {
		return nil, exit{exitUnknown, err}
	}
	var targets []target
	seen := map[string]bool{}
	for i, a := range all {
		if _, err := os.Stat(a.Netns); err != nil || seen[a.Netns] || !a.Pod.Ref.IsPod() {
			continue
		}
		seen[a.Netns] = true
		targets = append(targets, target{a.Pod.Ref.String(), a.Netns, "in the CNI result cache, as " + a.File, &all[i]})
	}
	slices.SortFunc(targets, func(a, b target) int { return strings.Compare(a.name, b.name) })
	return targets, nil
}

var errNoTarget = errors.New("of which pod? " + targetForms + ", or --all")
