package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/detour-cni/detour/install"
	"github.com/detour-cni/detour/plugin/mesh"
)

// nodeFlags are those that install, uninstall and status have in common.
type nodeFlags struct {
	confDir, binDir, plugin, config, mode, runtime, cache, cri string
}

func (f *nodeFlags) register(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.confDir, "conf-dir", "/etc/cni/net.d", "the runtime's directory of network configurations")
	flags.StringVar(&f.binDir, "bin-dir", "/opt/cni/bin", "the runtime's directory of CNI plugins")
	flags.StringVar(&f.plugin, "plugin", besideUs(), "the plugin binary to install")
	flags.StringVar(&f.config, "config", "", "file with our entry's \"detour\" object (default: an empty object)")
	flags.StringVar(&f.mode, "mode", "auto", "way into the chain: auto, drop-in, splice or owned")
	flags.StringVar(&f.runtime, "runtime", "", "what is known of the runtime, as containerd://2.1.4 (kubectl get nodes -o wide)")
	flags.StringVar(&f.cache, "cache", "/var/lib/cni/results", "the runtime's cache of CNI results")
}

// registerCRI is for those that change the node, or stand for the one that does: they ask the
// runtime only where they are told to.
func (f *nodeFlags) registerCRI(c *cobra.Command) {
	c.Flags().StringVar(&f.cri, "cri-socket", criNone, "the runtime's CRI socket, to ask it what it is and what it has loaded: a path, auto or none (whoever may talk to it is root on the node)")
}

// besideUs is where a release has the plugin.
func besideUs() string {
	self, err := os.Executable()
	if err != nil {
		return install.PluginType
	}
	return filepath.Join(filepath.Dir(self), install.PluginType)
}

// asJoined is the node for those that only look. What the installer here was told of the runtime
// is not known to them: unless somebody says it, the way in that is there is the wanted one.
func (f *nodeFlags) asJoined() (install.Node, error) {
	node, err := f.node()
	if err != nil || node.Mode != install.Auto || node.Runtime.Known() || f.cri != criAuto {
		return node, err
	}
	if dir, err := install.Look(node.ConfDir); err == nil { // else chainSymptoms says it
		node.Mode = dir.JoinedAs()
	}
	return node, nil
}

func (f *nodeFlags) node() (install.Node, error) {
	mode, err := install.ParseMode(f.mode)
	if err != nil {
		return install.Node{}, exit{exitUsage, err}
	}
	runtime, err := install.ParseRuntime(f.runtime)
	if err != nil {
		return install.Node{}, exit{exitUsage, err}
	}
	node := install.Node{
		ConfDir: f.confDir, BinDir: f.binDir, Plugin: f.plugin, Config: f.config,
		Mode: mode, Runtime: runtime, Dialects: mesh.All(),
	}
	if err := checkSocket(f.cri); err != nil {
		return node, err
	}
	if socket := runtimeSocket(f.cri); socket != "" {
		node.CRI = &install.CRI{Asker: socket}
	}
	return node, nil
}
