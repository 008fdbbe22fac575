// Command byhand puts rules into a pod as plugins do that have no netlink of
// their own: through nft, through iptables-restore, or with one call of iptables
// a rule. It is as small as such a plugin can be, so that what it costs is the
// way of committing and nothing else. Its configuration carries finished rules.
package main

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"
	"github.com/containernetworking/plugins/pkg/ns"
	"github.com/coreos/go-iptables/iptables"
)

// netConf is the plugin's configuration; exactly one of its parts is there.
type netConf struct {
	types.PluginConf
	ByHand struct {
		// NFT is a script for nft -f.
		NFT string `json:"nft,omitempty"`
		// Restore is what each command (iptables-restore and its like) gets on stdin.
		Restore []restore `json:"restore,omitempty"`
		// Calls are made one by one through go-iptables.
		Calls []call `json:"calls,omitempty"`
	} `json:"byHand"`
}

type restore struct {
	Command []string `json:"command"`
	Stdin   string   `json:"stdin"`
}

// call is one new chain, or one rule at the end of a chain where Rule is there.
type call struct {
	IPv6  bool     `json:"ipv6,omitempty"`
	Table string   `json:"table"`
	Chain string   `json:"chain"`
	Rule  []string `json:"rule,omitempty"`
}

func main() {
	skel.PluginMainFuncs(skel.CNIFuncs{Add: add}, version.All, "CNI plugin byhand")
}

func add(args *skel.CmdArgs) error {
	var conf netConf
	if err := json.Unmarshal(args.StdinData, &conf); err != nil {
		return err
	}
	if err := version.ParsePrevResult(&conf.PluginConf); err != nil {
		return err
	}
	if err := ns.WithNetNSPath(args.Netns, func(ns.NetNS) error { return commit(conf) }); err != nil {
		return err
	}
	return types.PrintResult(conf.PrevResult, conf.CNIVersion)
}

func commit(conf netConf) error {
	if conf.ByHand.NFT != "" {
		return run([]string{"nft", "-f", "-"}, conf.ByHand.NFT)
	}
	for _, r := range conf.ByHand.Restore {
		if err := run(r.Command, r.Stdin); err != nil {
			return err
		}
	}
	return callEach(conf.ByHand.Calls)
}

func run(command []string, stdin string) error {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", command[0], err, out)
	}
	return nil
}

func callEach(calls []call) error {
	if len(calls) == 0 {
		return nil
	}
	v4, err := iptables.NewWithProtocol(iptables.ProtocolIPv4)
	if err != nil {
		return err
	}
	v6, err := iptables.NewWithProtocol(iptables.ProtocolIPv6)
	if err != nil {
		return err
	}
	for _, c := range calls {
		ipt := v4
		if c.IPv6 {
			ipt = v6
		}
		if err := c.make(ipt); err != nil {
			return err
		}
	}
	return nil
}

func (c call) make(ipt *iptables.IPTables) error {
	if c.Rule == nil {
		return ipt.NewChain(c.Table, c.Chain)
	}
	return ipt.Append(c.Table, c.Chain, c.Rule...)
}
