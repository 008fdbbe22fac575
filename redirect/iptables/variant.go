package iptables

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	goiptables "github.com/coreos/go-iptables/iptables"
)

// Variant is one of the two tools that are called iptables: they keep their rules
// in different places of the kernel, and do not see each other's.
type Variant string

// The variants: NFT speaks to nf_tables, Legacy to ip_tables, which is off by
// default from Linux 6.17.
const (
	NFT    Variant = "nft"
	Legacy Variant = "legacy"
)

// ErrNotFound says that the tools are not on this node.
var ErrNotFound = errors.New("not found")

// Backend is one variant's tools.
type Backend struct {
	variant Variant
	v4, v6  tools
}

// tools are the paths for one address family.
type tools struct{ restore, save, rules string }

// Variant says which of the two it is.
func (b *Backend) Variant() Variant { return b.variant }

// Find chooses the variant for the current thread's namespace, and changes
// nothing. want "" is: the one that rules are in already, else nft, else legacy.
// Listing with the legacy tool would create its tables, so the kernel is asked.
func Find(want Variant) (*Backend, error) { return choose(want, sbin) }

func choose(want Variant, dirs string) (*Backend, error) {
	switch want {
	case NFT, Legacy:
		return find(want, dirs)
	case "":
	default:
		return nil, fmt.Errorf("iptables variant %q: unknown (want nft or legacy)", want)
	}
	inUse, err := LegacyInUse()
	if err != nil {
		return nil, err
	}
	chains, err := nftChains()
	order := []Variant{NFT, Legacy}
	if err != nil || inUse && !anyOurs(chains) {
		order = []Variant{Legacy, NFT}
	}
	b, err := find(order[0], dirs)
	if errors.Is(err, ErrNotFound) {
		return find(order[1], dirs)
	}
	return b, err
}

// Available reports whether the tools are there, without running one, where their
// names say what they are. It says nothing about the kernel.
func Available(want Variant) error { return available(want, sbin) }

func available(want Variant, dirs string) error {
	if want != "" {
		_, err := find(want, dirs)
		return err
	}
	_, err := find(NFT, dirs)
	if errors.Is(err, ErrNotFound) {
		_, err = find(Legacy, dirs)
	}
	return err
}

// find looks for the tools by the names that tell the variant, and only then for
// plain "iptables", which may be either. dirs is where to look after PATH.
func find(v Variant, dirs string) (*Backend, error) {
	b := &Backend{variant: v}
	var missing4, missing6 string
	for _, infix := range []string{"-" + string(v), ""} {
		b.v4, missing4 = lookTools("iptables"+infix, dirs)
		b.v6, missing6 = lookTools("ip6tables"+infix, dirs)
		if missing4 != "" || missing6 != "" && hasIPv6() {
			continue
		}
		if infix == "" {
			if is, err := variantOf(b.v4.rules); err != nil || is != v {
				return nil, errors.Join(fmt.Errorf("%s is not iptables-%s: %w", b.v4.rules, v, ErrNotFound), err)
			}
		}
		return b, nil
	}
	if missing4 == "" {
		missing4 = missing6
	}
	return nil, fmt.Errorf("%s, nor iptables-%s-restore: %w in PATH", missing4, v, ErrNotFound)
}

// sbin is where distributions put the tools, for a PATH that lacks it.
const sbin = "/usr/sbin:/sbin:/usr/local/sbin"

// lookTools finds a tool and its companions, or names the one that is missing.
func lookTools(name, dirs string) (t tools, missing string) {
	for _, tool := range []struct {
		name string
		path *string
	}{{name + "-restore", &t.restore}, {name + "-save", &t.save}, {name, &t.rules}} {
		if *tool.path = look(tool.name, dirs); *tool.path == "" {
			return t, tool.name
		}
	}
	return t, ""
}

func look(name, dirs string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, dir := range filepath.SplitList(dirs) {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	return ""
}

// variantOf tells what plain iptables is. Usually it is a link to
// xtables-nft-multi or xtables-legacy-multi; where it is not, it is asked.
func variantOf(path string) (Variant, error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		switch base := filepath.Base(real); {
		case strings.Contains(base, "-nft"):
			return NFT, nil
		case strings.Contains(base, "-legacy"):
			return Legacy, nil
		}
	}
	tool, err := goiptables.New(goiptables.Path(path), goiptables.Timeout(int(lockWait.Seconds())))
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	if major, minor, _ := tool.GetIptablesVersion(); major == 1 && minor < 8 {
		return Legacy, nil // 1.8.0 brought the other
	}
	// go-iptables has read the mode as well, and keeps it to itself.
	version, err := run("", path, "--version")
	if err != nil {
		return "", err
	}
	if strings.Contains(version, "(nf_tables)") {
		return NFT, nil
	}
	return Legacy, nil
}

// hasIPv6 reports whether the kernel has IPv6 here. /proc/net is the namespace of
// the process; only thread-self is that of the thread.
func hasIPv6() bool {
	_, err := os.Stat("/proc/thread-self/net/if_inet6")
	return err == nil
}
