package install

import (
	"bytes"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/detour-cni/detour/plugin"
)

// Want is what the operator asked for.
type Want struct {
	Mode    Mode
	Runtime Runtime
	Entry   Entry
}

// A Plan is what is to be done with a Dir so that the runtime loads us.
type Plan struct {
	// Mode, Primary and Network are how and where; Why is the reason for the mode.
	Mode    Mode
	Primary string
	Network string
	Why     string
	// Joined is the file that holds our entry when the Steps are done.
	Joined string
	Steps  []Step
	// Warnings are for a person: what works, but is not as it should be.
	Warnings []string
}

// A Step is one change of one file. Was is what the file must hold before
// (nil: no file), Text what it holds after (nil: no file).
type Step struct {
	Path      string
	Was, Text []byte
	// Like is the file whose mode, owner and extended attributes it gets; empty for those that it
	// has, and 0644 for a new one.
	Like string
	// Unseen says that the runtime does not notice the change by itself, so it must
	// be told.
	Unseen bool
}

// A VersionError says that our plugin does not speak the network's cniVersion: skel then fails each
// ADD before a line of ours runs. The Plan beside it takes us out of a chain that we are in.
//
// To stay would be the safe way if it stopped the meshed pods only: a pod that does not start is
// seen. But nobody has asked yet which pod it is, so it would stop every pod of the node: DNS, the
// mesh's own control plane, and whatever is to put it right. CRI-O would not even stop them, but pass
// over the file, and a list of our own with it. Outside, nothing is silent either: the node is not
// ready, detour_in_chain is 0, and meshed pods that start meanwhile are named where the result cache
// can tell (Slipped).
type VersionError struct{ Path, CNIVersion string }

func (e VersionError) Error() string {
	found := strconv.Quote(e.CNIVersion)
	if e.CNIVersion == "" {
		found = "none, which means 0.1.0" // CNI specification 0.3.0
	}
	return fmt.Sprintf("%s: cniVersion: %s: %s does not speak it, so every pod of the node would fail: not joined (want one of %s)",
		e.Path, found, PluginType, strings.Join(plugin.CNIVersions(), ", "))
}

// Decide compares what is there with what is wanted. It is pure: the same Dir and Want
// give the same Plan. Of errors only a VersionError has one beside it. What joins comes before
// what leaves, so that on a change of mode no pod starts between the two without us; to be in
// twice is harmless.
func Decide(d Dir, w Want) (Plan, error) {
	primary, err := d.Primary(w.Runtime)
	if err != nil {
		return Plan{}, err
	}
	if w.Runtime.HandsNoAnnotations() && w.Entry.Options.Pods == plugin.PodsMeshed && w.Entry.Options.MissingAnnotations == plugin.MissingFail {
		return Plan{}, fmt.Errorf("%s hands over no pod annotations, so every pod of the node would fail: not joined (want containerd >= 1.5 or CRI-O >= 1.29, or \"pods\": \"all\")", w.Runtime)
	}
	p := Plan{Primary: primary.Path, Network: primary.Network()}
	if p.Mode, p.Why, err = chooseMode(primary, w); err != nil {
		return Plan{}, err
	}
	if version := primary.CNIVersion(); !slices.Contains(plugin.CNIVersions(), version) {
		if err := p.leave(d, ""); err != nil {
			return Plan{}, err
		}
		return p, VersionError{primary.Path, version}
	}
	text, err := joinedText(&p, d, primary, w.Entry)
	if err != nil {
		return Plan{}, err
	}
	p.join(d, primary, text)
	if err := p.leave(d, p.Joined); err != nil {
		return Plan{}, err
	}
	p.Warnings = append(p.Warnings, otherMeshes(primary)...)
	return p, nil
}

// chooseMode resolves Auto, and refuses a mode that cannot work for this primary.
func chooseMode(primary File, w Want) (Mode, string, error) {
	single := primary.Single != nil
	multus := slices.ContainsFunc(primary.Plugins(), func(t string) bool { return t == "multus" || t == "multus-shim" })
	inline := primary.List != nil && primary.List.InlineOnly
	switch w.Mode {
	case DropIn:
		switch {
		case single:
			return "", "", fmt.Errorf("mode: drop-in: %s is a single plugin, to which no runtime appends drop-ins (want owned)", primary.Base())
		case inline:
			return "", "", fmt.Errorf("mode: drop-in: %s says loadOnlyInlinedPlugins (want splice or owned)", primary.Base())
		case w.Runtime.Known() && !w.Runtime.ReadsDropIns():
			return "", "", fmt.Errorf("mode: drop-in: %s ignores drop-ins, pods would bypass the mesh (want containerd >= 2.1 or CRI-O >= 1.33, or splice)", w.Runtime)
		}
		return DropIn, "given", nil
	case Spliced:
		if single {
			return "", "", fmt.Errorf("mode: splice: %s is a single plugin and has no list to splice into (want owned)", primary.Base())
		}
		return Spliced, "given", nil
	case Owned:
		return Owned, "given", nil
	}
	switch {
	case multus:
		return Owned, primary.Base() + " is Multus', whose delegates get no annotations: joined beside it", nil
	case single:
		return Owned, primary.Base() + " is a single plugin: it is copied into a list, and stays as it is", nil
	case w.Runtime.ReadsDropIns() && !inline:
		return DropIn, w.Runtime.String() + " reads drop-ins: nobody's file is touched", nil
	case inline:
		return Spliced, primary.Base() + " says loadOnlyInlinedPlugins", nil
	case !w.Runtime.Known():
		return Spliced, "the runtime is not known: a drop-in that nobody reads would be a silent bypass", nil
	}
	return Spliced, w.Runtime.String() + " ignores drop-ins", nil
}

// joinedText sets p.Joined, and gives what that file must hold.
func joinedText(p *Plan, d Dir, primary File, e Entry) ([]byte, error) {
	switch p.Mode {
	case DropIn:
		p.Joined = filepath.Join(d.Path, p.Network, dropInName)
		if there, ok := d.DropIns[p.Network]; ok && sameJSON(there.Text, e.Text) {
			return there.Text, nil
		}
		return append(slices.Clone(e.Text), '\n'), nil
	case Spliced:
		p.Joined = primary.Path
		return Splice(*primary.List, e.Text)
	case Owned:
		p.Joined = d.ownedPath(primary)
		return ownedText(primary, e)
	}
	panic("install: mode " + string(p.Mode))
}

// ownedPath is where the owned list goes. One that is there and sorts first stays under its name
// when the primary is renamed: it may be renamed back, and then would be the first again
// until we have looked.
func (d Dir) ownedPath(primary File) string {
	for _, f := range d.Files { // sorted
		if f.IsOwned() && f.Path < primary.Path {
			return f.Path
		}
	}
	return newOwnedPath(primary)
}

func newOwnedPath(primary File) string {
	stem := strings.TrimSuffix(primary.Base(), filepath.Ext(primary.Base()))
	if isNumber(stem) {
		stem += "-list" // IsOwned wants more than a number
	}
	return filepath.Join(filepath.Dir(primary.Path), stem+ownedSuffix)
}

// ownedText is the primary's chain with our entry behind it. Of a list every byte is
// kept; a single plugin goes into a list of the same name and version, as it is.
func ownedText(primary File, e Entry) ([]byte, error) {
	if primary.List != nil {
		return Splice(*primary.List, e.Text)
	}
	s := primary.Single
	var text bytes.Buffer
	fmt.Fprintf(&text, "{\"cniVersion\":%q,\"name\":%q,\"plugins\":[\n", s.CNIVersion, s.Name)
	text.Write(bytes.TrimSpace(primary.Text))
	fmt.Fprintf(&text, ",\n%s\n]}\n", e.Text)
	if _, err := ParseList(text.Bytes()); err != nil {
		return nil, fmt.Errorf("%s: as a list: %w", primary.Path, err)
	}
	return text.Bytes(), nil
}

// join adds the step that gives p.Joined its text. A copy of a primary that not everybody may read,
// since it has a password in it for example, is not for everybody either. One that is closer than the
// primary is somebody's own wish.
func (p *Plan) join(d Dir, primary File, text []byte) {
	was := d.file(p.Joined)
	s := Step{Path: p.Joined, Was: was.Text, Text: text, Unseen: p.Mode == DropIn}
	if p.Mode == Owned && primary.Perm&0o004 == 0 {
		s.Like = primary.Path
	}
	open := s.Like != "" && was.Perm&^primary.Perm != 0
	if !bytes.Equal(was.Text, text) || open {
		p.Steps = append(p.Steps, s)
	}
}

// leave adds the steps that take us out of every file but keep. A file that has a second name in the
// directory, as a link, is one file: taken out of by either name, it would be by both.
func (p *Plan) leave(d Dir, keep string) error {
	left := map[string]bool{}
	for _, f := range d.Files {
		left[f.Real] = left[f.Real] || f.Path == keep
	}
	for _, f := range d.Files {
		if f.Path == keep {
			continue
		}
		if f.IsOwned() {
			p.Steps = append(p.Steps, Step{Path: f.Path, Was: f.Text})
			continue
		}
		if f.List == nil || len(f.List.Ours()) == 0 || left[f.Real] {
			continue
		}
		left[f.Real] = true
		text, err := Unsplice(*f.List)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
		p.Steps = append(p.Steps, Step{Path: f.Path, Was: f.Text, Text: text})
	}
	kept := d.DropIns[filepath.Base(filepath.Dir(keep))] // it may be keep under another network's name
	for _, network := range slices.Sorted(maps.Keys(d.DropIns)) {
		if f := d.DropIns[network]; f.Path != keep && (kept.Path != keep || f.Real != kept.Real) {
			p.Steps = append(p.Steps, Step{Path: f.Path, Was: f.Text, Unseen: true})
		}
	}
	return nil
}

// Leave is the Plan of an uninstall: no entry of ours anywhere.
func Leave(d Dir) (Plan, error) {
	p := Plan{}
	return p, p.leave(d, "")
}

// file is what there is at path; the zero File if there is none.
func (d Dir) file(path string) File {
	for _, f := range d.Files {
		if f.Path == path {
			return f
		}
	}
	for _, f := range d.DropIns {
		if f.Path == path {
			return f
		}
	}
	return File{}
}

// meshPlugins are the other meshes' own plugins, by their type.
func meshPlugins() map[string]string {
	return map[string]string{"istio-cni": "istio", "linkerd-cni": "linkerd", "consul-cni": "consul", "kuma-cni": "kuma"}
}

func otherMeshes(primary File) (warnings []string) {
	for _, t := range primary.Plugins() {
		if mesh, ok := meshPlugins()[t]; ok {
			warnings = append(warnings, fmt.Sprintf("%s is in the chain as well: joined behind it; take %q out of \"meshes\" here, or that plugin out of the chain", t, mesh))
		}
	}
	return warnings
}
