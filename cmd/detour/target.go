package main

import (
	"context"
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
	"github.com/detour-cni/detour/install/cri"
	"github.com/detour-cni/detour/plugin"
)

// target is a namespace that somebody asked for.
type target struct {
	// name is the pod's, or what it was asked for by; found says how it was found.
	name, netns, found string
	// pod is what the runtime keeps of the pod; nil where it keeps nothing.
	pod *plugin.Pod
}

// finder finds pods of this node, without asking an API server: in the runtime's cache of CNI
// results, in /proc, and by asking the runtime itself.
type finder struct {
	cache string
	// cri gives the runtime's socket, "" where it is not to be asked. It is looked for when something
	// is not found without it.
	cri func() cri.Socket
}

const targetForms = "want the path of a network namespace, a pid, a container id, or NAMESPACE/POD"

var containerID = regexp.MustCompile(`^[0-9a-f]{8,64}$`)

// one finds the namespace that was asked for.
func (f finder) one(ctx context.Context, asked string) (target, error) {
	all, err := install.Attachments(f.cache)
	if err != nil {
		return target{}, exit{exitUnknown, err}
	}
	var t target
	switch namespace, pod, isPod := strings.Cut(asked, "/"); {
	case strings.HasPrefix(asked, "/") || strings.HasPrefix(asked, "."):
		t = target{name: asked, netns: asked, found: "asked for by its path"}
	case isPod && namespace != "" && pod != "" && !strings.Contains(pod, "/"):
		t, err = f.pod(ctx, asked, all)
	case isNumber(asked):
		t = target{name: "pid " + asked, netns: "/proc/" + asked + "/ns/net", found: "the namespace of pid " + asked}
	case containerID.MatchString(asked):
		t, err = f.container(ctx, asked, all)
	default:
		return t, exit{exitUsage, fmt.Errorf("target %q: %s", asked, targetForms)}
	}
	if err != nil {
		return t, exit{exitUnknown, err}
	}
	if _, err := os.Stat(t.netns); err != nil {
		return t, exit{exitUnknown, fmt.Errorf("target %s: %w", asked, err)}
	}
	if t.pod == nil {
		t.pod = podOf(t.netns, all)
	}
	if t.pod != nil && t.pod.Ref.IsPod() {
		t.name = t.pod.Ref.String()
	}
	return t, nil
}

func isNumber(text string) bool {
	n, err := strconv.ParseUint(text, 10, 22) // PID_MAX_LIMIT is 2^22 (proc_sys_kernel(5))
	return err == nil && n > 0
}

// podOf finds the ADD whose namespace this is.
func podOf(netns string, all []install.Attachment) *plugin.Pod {
	for i, a := range all {
		if a.Netns != "" && sameFile(a.Netns, netns) {
			return &all[i].Pod
		}
	}
	return nil
}

func sameFile(a, b string) bool {
	var x, y unix.Stat_t
	return unix.Stat(a, &x) == nil && unix.Stat(b, &y) == nil && x.Dev == y.Dev && x.Ino == y.Ino
}

// cached is how a target was found in the result cache.
func cached(name string, a *install.Attachment) target {
	return target{name, a.Netns, "in the CNI result cache, as " + a.File, &a.Pod}
}

// pod finds a pod by name: of several ADDs the one whose namespace is still there.
func (f finder) pod(ctx context.Context, name string, all []install.Attachment) (target, error) {
	known := false
	for i, a := range all {
		if a.Pod.Ref.String() != name {
			continue
		}
		known = true
		if _, err := os.Stat(a.Netns); err == nil {
			return cached(name, &all[i]), nil
		}
	}
	t, err := f.asked(ctx, name)
	switch {
	case err != nil && !known:
		return t, fmt.Errorf("pod %s: %w", name, err)
	case err == nil && t.netns != "":
		return t, nil
	case known:
		return target{}, fmt.Errorf("pod %s: it is in the CNI result cache, but its namespace is gone", name)
	case f.cri() != "":
		return target{}, fmt.Errorf("pod %s: neither in the CNI result cache of this node nor known to its runtime: is it another node's?", name)
	}
	return target{}, fmt.Errorf("pod %s: not in the CNI result cache of this node: is it another node's, or in the node's own network (hostNetwork)?", name)
}

// container finds a sandbox in the cache, or any container by its cgroup.
func (f finder) container(ctx context.Context, id string, all []install.Attachment) (target, error) {
	for i, a := range all {
		if strings.Contains(a.File, "-"+id) && a.Netns != "" {
			return cached("container "+id, &all[i]), nil
		}
	}
	if t, err := f.askedContainer(ctx, id); err != nil || t.netns != "" {
		return t, err
	}
	files, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		return target{}, err
	}
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil && strings.Contains(string(text), id) {
			dir := filepath.Dir(file)
			return target{"container " + id, filepath.Join(dir, "ns/net"), "by the cgroup of pid " + filepath.Base(dir), nil}, nil
		}
	}
	return target{}, fmt.Errorf("container %s: neither in the CNI result cache nor in the cgroup of a process", id)
}

// all are the pods of the node, by name. The error names those that are there and could not be found.
func (f finder) all(ctx context.Context) ([]target, error) {
	all, err := install.Attachments(f.cache)
	if err != nil {
		return nil, exit{exitUnknown, err}
	}
	var targets []target
	seen, named := map[string]bool{}, map[string]bool{}
	for i, a := range all {
		if _, err := os.Stat(a.Netns); err != nil || seen[a.Netns] || !a.Pod.Ref.IsPod() {
			continue
		}
		name := a.Pod.Ref.String()
		seen[a.Netns], named[name] = true, true
		targets = append(targets, cached(name, &all[i]))
	}
	more, err := f.askedAll(ctx, named)
	if err != nil {
		err = exit{exitUnknown, err}
	}
	targets = append(targets, more...)
	slices.SortFunc(targets, func(a, b target) int { return strings.Compare(a.name, b.name) })
	return targets, err
}

var errNoTarget = errors.New("of which pod? " + targetForms + ", or --all")
