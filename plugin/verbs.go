package plugin

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/containernetworking/cni/pkg/skel"

	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/netfilter"
)

// Outcome is what a verb did, for the log and for stdout.
type Outcome struct {
	Conf     NetConf
	Pod      PodRef
	Decision Decision
	// Result is what ADD prints; nil for the other verbs.
	Result json.RawMessage
	// Backend and Change say what ADD did; empty for a pod that was left alone.
	Backend netfilter.Backend
	Change  redirect.Change
	// Removed says that DEL found something to remove.
	Removed  bool
	Warnings []string
}

// request is the first half of every verb: what came, and what to do with the pod.
func request(args *skel.CmdArgs, dialects []Dialect) (Outcome, error) {
	conf, err := ParseNetConf(args.StdinData, dialects)
	if err != nil {
		return Outcome{Conf: conf}, err
	}
	ref, err := ParseArgs(args.Args)
	if err != nil {
		return Outcome{Conf: conf}, err
	}
	o := Outcome{Conf: conf, Pod: ref}
	o.Decision, err = Decide(conf.Options, Pod{Ref: ref, Annotations: conf.Annotations, Handed: conf.Handed}, dialects)
	o.Warnings = o.Decision.Notes
	return o, err
}

// Add redirects the pod's traffic if it is to be, and gives back the prevResult.
func Add(args *skel.CmdArgs, dialects []Dialect) (Outcome, error) {
	o, err := request(args, dialects)
	if err != nil {
		return o, err
	}
	if o.Result, err = passResult(o.Conf, args.IfName); err != nil {
		return o, err
	}
	if !o.Decision.Redirect {
		return o, nil
	}
	rules, err := redirect.Compile(o.Decision.Spec)
	if err != nil {
		return o, withCode(CodeConfig, err)
	}
	done, err := netfilter.Commit(args.Netns, rules, netfilter.Options{
		Backend: o.Conf.Options.Backend,
		Owner:   redirect.Attachment{ContainerID: args.ContainerID, IfName: args.IfName},
	})
	if err != nil {
		return o, namespaceError(err, CodeCommit)
	}
	o.Backend, o.Change = done.Backend, done.Change
	o.Warnings = append(o.Warnings, done.Warnings...)
	return o, nil
}

// Check compares the pod's rules with what ADD installed. A pod that is not to be
// redirected, as far as anybody can say today, has nothing to compare.
func Check(args *skel.CmdArgs, dialects []Dialect) (Outcome, error) {
	o, err := request(args, dialects)
	if err != nil || !o.Decision.Redirect {
		return o, err
	}
	rules, err := redirect.Compile(o.Decision.Spec)
	if err != nil {
		return o, withCode(CodeConfig, err)
	}
	moved, err := netfilter.Verify(args.Netns, rules, o.Conf.Options.Backend)
	if moved {
		o.Warnings = append(o.Warnings, "the configuration, or the rules that this version makes of it, have moved on since ADD")
	}
	if _, ok := errors.AsType[*redirect.Drift](err); ok {
		return o, withCode(CodeDrift, err)
	}
	return o, namespaceError(err, CodeCommit) // nobody could look: says nothing of the rules
}

// Del takes out what this attachment's ADD installed. The error is for the log
// only: there is nothing a runtime could do about it, and everything to lose.
func Del(containerID, netns, ifName string) (Outcome, error) {
	if netns == "" || containerID == "" || ifName == "" {
		return Outcome{}, nil
	}
	removed, err := netfilter.Remove(netns, redirect.Attachment{ContainerID: containerID, IfName: ifName})
	return Outcome{Removed: removed}, err
}

// Status says whether an ADD could be served: the configuration is readable and
// the backend can work on this node. containerd asks every five seconds, and an
// error makes the node NotReady.
func Status(args *skel.CmdArgs, dialects []Dialect) (Outcome, error) {
	conf, err := ParseNetConf(args.StdinData, dialects)
	if err != nil {
		return Outcome{Conf: conf}, err
	}
	if err := netfilter.Probe(conf.Options.Backend); err != nil {
		return Outcome{Conf: conf}, withCode(CodeUnavailable, fmt.Errorf("backend %s: %w", conf.Options.Backend, err))
	}
	return Outcome{Conf: conf}, nil
}

// GC has nothing to collect: nothing of ours is outside the pods' own namespaces.
func GC(args *skel.CmdArgs, dialects []Dialect) (Outcome, error) {
	conf, err := ParseNetConf(args.StdinData, dialects)
	return Outcome{Conf: conf}, err
}

// namespaceError codes an error of netfilter.
func namespaceError(err error, otherwise uint) error {
	if errors.Is(err, netfilter.ErrHostNamespace) || errors.Is(err, netfilter.ErrNoNamespace) {
		return withCode(CodeNamespace, err)
	}
	return withCode(otherwise, err)
}
