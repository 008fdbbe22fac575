package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/detour-cni/detour/inspect"
	"github.com/detour-cni/detour/inspect/words"
	"github.com/detour-cni/detour/install"
	"github.com/detour-cni/detour/install/cri"
	"github.com/detour-cni/detour/plugin/mesh"
)

// A symptom is one thing that doctor looked at.
type symptom struct {
	State string `json:"state"` // ok, wrong, or unknown
	What  string `json:"what"`
	Do    string `json:"do,omitempty"`
}

const (
	stateOK      = "ok"
	stateWrong   = "wrong"
	stateUnknown = "unknown"
)

func doctorCommand() *cobra.Command {
	var (
		flags  nodeFlags
		output string
	)
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what is wrong on this node, and say what to do",
		Long: `Look for what is wrong on this node, and say what to do: the chain and our place in it, the kernel, other meshes' plugins
and what they left behind, and every pod that is to be redirected. It asks no API server and changes nothing.

Exit code 0: nothing is wrong. 1: something is. 2: usage. 3: something could not be asked, and nothing else is wrong.`,
		Example: "  detour doctor\n  detour doctor --runtime containerd://2.1.4 -o json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if output != "text" && output != "json" {
				return exit{exitUsage, fmt.Errorf("--output: %q (want text or json)", output)}
			}
			node, err := flags.asJoined()
			if err != nil {
				return err
			}
			all := examine(node, flags.seen(c.Context()))
			if err := tell(c.OutOrStdout(), all, output); err != nil {
				return err
			}
			return diagnosis(all)
		},
	}
	flags.register(c)
	criSocketFlag(c, &flags.cri)
	c.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return c
}

// examine asks everything; an answer never depends on one before it.
func examine(node install.Node, pods seen) (all []symptom) {
	all = append(all, chainSymptoms(node)...)
	all = append(all, kernelSymptoms()...)
	all = append(all, leftovers(node.ConfDir)...)
	all = append(all, hardening()...)
	return append(all, podSymptoms(pods)...)
}

// seen is every pod of the node, looked into once.
type seen struct {
	look    looker
	reports []inspect.Report
	failed  error
}

func (f *nodeFlags) seen(ctx context.Context) seen {
	s := seen{look: looker{cache: f.cache, confDir: f.confDir, config: f.config, cri: f.cri}}
	if _, err := (install.Node{Config: f.config, Dialects: mesh.All()}).Want(); err != nil {
		s.look.config = "" // chainSymptoms says it; the options of before are those of the entry
	}
	targets, err := s.look.targets(ctx, nil)
	s.reports, s.failed = s.look.reports(targets)
	s.failed = errors.Join(err, s.failed)
	return s
}

// chainSymptoms are of the runtime's directory and of our place in it.
func chainSymptoms(node install.Node) (all []symptom) {
	_, r, err := node.Look()
	_, unspoken := errors.AsType[install.VersionError](err)
	_, badConfig := errors.AsType[install.ConfigError](err)
	switch {
	case unspoken:
		return []symptom{{stateWrong, err.Error(), "set a cniVersion in the network's own configuration that it and detour speak, or update detour"}}
	case errors.Is(err, install.ErrNoPrimary) && r.Stands:
		return []symptom{{stateWrong, fmt.Sprintf("%v: what the runtime loads is our copy of one that was there", err), "look at the network's own DaemonSet (Calico, Cilium, …); if that network is gone for good: detour uninstall"}}
	case errors.Is(err, install.ErrNoPrimary):
		return []symptom{{stateWrong, fmt.Sprintf("%s: the node has no network: %v", node.ConfDir, err), "look at the network's own DaemonSet (Calico, Cilium, …)"}}
	case badConfig:
		all = append(all, symptom{stateWrong, err.Error(), "correct the options; until then the node goes on with those of before, if it has any"})
		if !install.Did(err) || r.Plan.Network == "" {
			return all
		}
	case r.Seen && errors.Is(err, install.ErrBroken) && !errors.Is(err, fs.ErrPermission):
		return []symptom{{stateWrong, err.Error(), "repair or remove the file that is named"}}
	case r.Seen && err != nil && !errors.Is(err, fs.ErrPermission):
		return []symptom{{State: stateWrong, What: err.Error()}}
	case err != nil:
		return []symptom{{stateUnknown, err.Error(), "run it as root on the node, with --plugin naming the wanted binary"}}
	}
	all = append(all, runtimeSymptom(node, r))
	all = append(all, symptom{State: stateOK, What: fmt.Sprintf("network %s, from %s; way into the chain: %s (%s)", r.Plan.Network, r.Plan.Primary, r.Plan.Mode, r.Plan.Why)})
	binary := symptom{State: stateOK, What: fmt.Sprintf("plugin %s in %s", binaryWords(r.Binary), node.BinDir)}
	if r.Binary != install.BinaryCurrent {
		binary.State, binary.Do = stateWrong, "detour install --once, or look at why the DaemonSet's pod on this node is not ready"
	}
	as := "as wanted"
	if badConfig {
		as = "with the options of before"
	}
	entry := symptom{State: stateOK, What: fmt.Sprintf("entry in %s, %s", r.Plan.Joined, as)}
	if len(r.Plan.Steps) > 0 {
		var steps []string
		for _, s := range r.Plan.Steps {
			steps = append(steps, fmt.Sprintf("%s would be %s (found: %s)", s.Path, s.What(), s.Found()))
		}
		entry = symptom{stateWrong, "the chain is not as wanted: " + strings.Join(steps, "; "), "detour install --once --dry-run shows the difference"}
	}
	all = append(all, binary, entry)
	for _, w := range r.Plan.Warnings {
		all = append(all, symptom{State: stateWrong, What: w})
	}
	return all
}

// runtimeSymptom is what the runtime says of itself, and of what it has loaded.
func runtimeSymptom(node install.Node, r install.Report) symptom {
	if node.CRI == nil {
		return symptom{stateOK, r.Runtime.String() + ": it was not asked", "--cri-socket names its socket, if it is not at a usual place"}
	}
	s := symptom{State: stateOK, What: "runtime " + r.Runtime.String()}
	loaded, err := node.AskLoaded()
	if err != nil {
		s.What += ": " + err.Error()
		if !errors.Is(err, cri.ErrNotTold) {
			s.State, s.Do = stateUnknown, "--cri-socket names the socket of a runtime that runs"
		}
		return s
	}
	s.What += ", which reads " + loaded.ConfDir
	if err := install.HasUs(loaded, r.Plan.Network); err != nil {
		return symptom{stateWrong, s.What + ": " + err.Error(), "compare --conf-dir with what the runtime reads; then touch a file in it, or restart the runtime"}
	}
	s.What += ", and has us loaded"
	return s
}

// leftovers are what other meshes' installers leave in the directory: tokens of the API
// server, in files that every process of the node may be able to read.
func leftovers(confDir string) (all []symptom) {
	files, _ := filepath.Glob(filepath.Join(confDir, "*kubeconfig*")) // only a bad pattern is an error
	for _, f := range files {
		info, err := os.Lstat(f)
		if err != nil {
			continue
		}
		s := symptom{State: stateWrong, What: fmt.Sprintf("%s: another plugin's token for the API server lies here (mode %s)", f, info.Mode().Perm()),
			Do: "if that plugin is gone, delete the file and its ServiceAccount"}
		if info.Mode().Perm()&0o077 != 0 {
			s.What += ", and others than root can read it"
			s.Do += "; else chmod 600"
		}
		all = append(all, s)
	}
	if len(files) == 0 {
		all = append(all, symptom{State: stateOK, What: "no kubeconfig of another plugin in " + confDir})
	}
	return all
}

// hardening names what may stand between the runtime and the plugin.
func hardening() (all []symptom) {
	for _, h := range []struct{ path, on, name, do string }{
		{"/sys/fs/selinux/enforce", "1", "SELinux is enforcing", "if ADD fails with permission denied: ausearch -m avc -c detour-cni"},
		{"/sys/module/apparmor/parameters/enabled", "Y", "AppArmor is on", "if ADD fails with permission denied: dmesg | grep DENIED"},
	} {
		if text, err := os.ReadFile(h.path); err == nil && strings.TrimSpace(string(text)) == h.on {
			all = append(all, symptom{stateOK, h.name, h.do})
		}
	}
	return all
}

// podSymptoms are those of each pod that is to be redirected, or is.
func podSymptoms(pods seen) (all []symptom) {
	if pods.failed != nil {
		all = append(all, symptom{State: stateUnknown, What: pods.failed.Error(), Do: "run it as root, in the node's own namespaces"})
	}
	redirected, unasked := 0, 0
	for _, r := range pods.reports {
		if r.Wanted.Redirect {
			redirected++
		}
		if r.Wanted.Unasked {
			unasked++
		}
		for _, f := range r.Findings {
			all = append(all, podSymptom(r, f))
		}
	}
	if unasked > 0 {
		return append(all, symptom{State: stateOK, What: fmt.Sprintf("%d pods looked at; which of them are to be redirected is not known: no entry of detour's is in the conf dir", len(pods.reports))})
	}
	return append(all, symptom{State: stateOK, What: fmt.Sprintf("%d pods looked at, %d of them are to be redirected", len(pods.reports), redirected)})
}

func podSymptom(r inspect.Report, f inspect.Finding) symptom {
	state := stateUnknown
	if f.Wrong {
		state = stateWrong
	}
	return symptom{state, r.Name + ": " + f.What, f.Do}
}

func tell(w io.Writer, all []symptom, output string) error {
	if output == "json" {
		text, err := indented(struct {
			Schema   string    `json:"schema"`
			Symptoms []symptom `json:"symptoms"`
		}{"detour-cni.dev/doctor/v1", all})
		if err == nil {
			_, err = io.WriteString(w, text)
		}
		return err
	}
	for _, s := range all {
		mark := map[string]string{stateOK: "ok", stateWrong: "!!", stateUnknown: " ?"}[s.State]
		words.Fprintf(w, "%s %s\n", mark, s.What)
		if s.Do != "" {
			words.Fprintf(w, "   %s\n", s.Do)
		}
	}
	return nil
}

func diagnosis(all []symptom) error {
	code := 0
	for _, s := range all {
		switch s.State {
		case stateWrong:
			return exit{code: exitFindings}
		case stateUnknown:
			code = exitUnknown
		}
	}
	if code != 0 {
		return exit{code: code}
	}
	return nil
}
