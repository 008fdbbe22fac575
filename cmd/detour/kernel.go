package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect"
	"github.com/detour-cni/detour/redirect/netfilter"
)

// A module is a part of the kernel, and a function that is there when it is: built in or loaded.
type module struct{ name, symbol string }

// A feature is something that a redirect may ask of the kernel.
type feature struct {
	name, spec string // what is laid over the Envoy defaults
	nft, xt    []module
}

// features name the functions as kernels 5.2 to 6.18 have them.
func features() []feature {
	nft := []module{{"nf_tables", "nf_tables_newrule"}, {"nft_chain_nat", "nft_nat_do_chain"}, {"nft_redir", "nft_redir_init"}}
	xt := []module{{"x_tables", "xt_register_table"}, {"xt_REDIRECT", "redirect_tg4"}, {"xt_owner", "owner_mt"}, {"xt_comment", "comment_mt"}}
	with := func(base []module, more ...module) []module { return append(base[:len(base):len(base)], more...) }
	return []feature{
		{"redirect", `{}`, nft, xt},
		{"tproxy", `{"inboundMode": "tproxy"}`, with(nft, module{"nft_tproxy", "nft_tproxy_init"}, module{"nft_socket", "nft_socket_init"}),
			with(xt, module{"xt_TPROXY", "tproxy_tg4_v1"}, module{"xt_socket", "socket_mt4_v1_v2_v3"}, module{"xt_mark", "mark_mt"}, module{"xt_connmark", "connmark_mt"})},
		{"DNS in conntrack zones", `{"dnsPort": 15053}`, with(nft, module{"nft_ct", "nft_ct_set_zone_eval"}), with(xt, module{"xt_CT", "xt_ct_target_v1"})},
		{"DNS by DNAT", `{"dnsPort": 53, "dnsAddress": "192.0.2.53", "dnsZones": false}`, with(nft, module{"nft_nat", "nft_nat_eval"}), with(xt, module{"xt_nat", "xt_dnat_target_v2"})},
	}
}

// attempt is a symptom of the kernel's, and what it is about: a feature's name, or backendWorks.
type attempt struct {
	symptom
	about string
}

// backendWorks stands for any backend at all beside the features.
const backendWorks = "a backend"

// kernelSymptoms try each feature with each backend, in a network namespace made for that. A kernel
// loads a module for whoever asks, and nothing is to be left behind: so what is on the disk and
// not loaded is not asked for.
func kernelSymptoms() []symptom {
	var all []attempt
	can, symbols := map[string]bool{}, kernelSymbols()
	for _, b := range []netfilter.Backend{netfilter.NFTables, netfilter.IPTables} {
		if err := netfilter.Probe(b); err != nil {
			all = append(all, attempt{symptom{stateUnknown, fmt.Sprintf("backend %s: %v", b, err), "one backend is enough: fine where the other works"}, backendWorks})
			continue
		}
		can[backendWorks] = true
		all = append(all, attempt{symptom{State: stateOK, What: fmt.Sprintf("backend %s can work", b)}, backendWorks})
		all = append(all, featureSymptoms(b, symbols, can)...)
	}
	return settled(all, can)
}

// featureSymptoms tries a backend's features, and notes in can those that work.
func featureSymptoms(b netfilter.Backend, symbols, can map[string]bool) (all []attempt) {
	var works, loads []string
	unknown := func(f feature, do, format string, args ...any) {
		all = append(all, attempt{symptom{stateUnknown, fmt.Sprintf("%s, %s: ", b, f.name) + fmt.Sprintf(format, args...), do}, f.name})
	}
	for _, f := range features() {
		modules := f.nft
		if b != netfilter.NFTables {
			modules = f.xt
		}
		switch missing, onDisk := missingModules(modules, symbols); {
		case len(missing) == 0:
			if err := f.try(b); err != nil {
				unknown(f, "pods that ask for it would not start with this backend", "%v", err)
				continue
			}
			works, can[f.name] = append(works, f.name), true
		case onDisk:
			loads, can[f.name] = append(loads, fmt.Sprintf("%s (%s)", f.name, strings.Join(missing, ", "))), true
		default:
			unknown(f, "run it where the node's /lib/modules can be seen", "%s not loaded, and not seen in /lib/modules", strings.Join(missing, ", "))
		}
	}
	fine := func(what string, names []string) {
		if len(names) > 0 {
			all = append(all, attempt{symptom: symptom{State: stateOK, What: fmt.Sprintf("%s, %s: %s", b, what, strings.Join(names, ", "))}})
		}
	}
	fine("tried in a namespace of its own", works)
	fine("not tried, the first ADD loads a module", loads)
	return all
}

func (f feature) try(b netfilter.Backend) error {
	spec, err := redirect.Overlay(redirect.EnvoyDefaults(), []byte(f.spec))
	if err != nil {
		return err
	}
	rs, err := redirect.Compile(spec)
	if err != nil {
		return err
	}
	return netfilter.Try(rs, b)
}

// settled takes for fine what one backend cannot and the other can.
func settled(all []attempt, can map[string]bool) (symptoms []symptom) {
	for _, a := range all {
		switch {
		case a.State != stateUnknown:
		case can[a.about]:
			a.State = stateOK
		case a.about == backendWorks:
			a.State, a.Do = stateWrong, "modprobe nf_tables nft_chain_nat, or install iptables on the node"
		}
		symptoms = append(symptoms, a.symptom)
	}
	return symptoms
}

// kernelSymbols are the functions that features ask for and the kernel has (proc_kallsyms(5)).
func kernelSymbols() map[string]bool {
	wanted := map[string]bool{}
	for _, f := range features() {
		for _, m := range append(f.nft[:len(f.nft):len(f.nft)], f.xt...) {
			wanted[m.symbol] = true
		}
	}
	has := map[string]bool{}
	file, err := os.Open("/proc/kallsyms")
	if err != nil {
		return has
	}
	defer file.Close()
	for s := bufio.NewScanner(file); s.Scan(); {
		// address, type, name, and the module in brackets where it is not built in
		fields := strings.Fields(s.Text())
		if len(fields) >= 3 && wanted[fields[2]] {
			has[fields[2]] = true
		}
	}
	return has
}

// missingModules names those that are not in the kernel now, and says whether all of them are on the disk.
func missingModules(modules []module, symbols map[string]bool) (missing []string, onDisk bool) {
	for _, m := range modules {
		if !symbols[m.symbol] {
			missing = append(missing, m.name)
		}
	}
	if len(missing) == 0 {
		return nil, true
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return missing, false
	}
	text, err := os.ReadFile(filepath.Join("/lib/modules", unix.ByteSliceToString(name.Release[:]), "modules.dep"))
	if err != nil {
		return missing, false
	}
	for _, m := range missing {
		if !strings.Contains(string(text), "/"+m+".ko") {
			return missing, false
		}
	}
	return missing, true
}
