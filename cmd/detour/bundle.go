package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/detour-cni/detour/inspect"
	"github.com/detour-cni/detour/inspect/words"
	"github.com/detour-cni/detour/install"
	"github.com/detour-cni/detour/plugin"
	"github.com/detour-cni/detour/plugin/mesh"
)

func bundleCommand() *cobra.Command {
	var (
		flags       nodeFlags
		output      string
		annotations bool
	)
	c := &cobra.Command{
		Use:   "bundle -o FILE",
		Short: "Pack what a bug report needs, without secrets",
		Long: `Pack what a bug report needs, without secrets: what doctor says, what inspect says of each pod, the names and plugins of
the files in the conf dir (never their text: some hold tokens), our options, and versions.

Of the pods' annotations only what follows from them is packed; --annotations packs the reasons as well, which may repeat values.`,
		Example: "  detour bundle -o detour.tar.gz\n  tar -tzf detour.tar.gz",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if output == "" {
				return exit{exitUsage, errors.New("-o: want the file to write, or - for stdout")}
			}
			node, err := flags.asJoined()
			if err != nil {
				return err
			}
			files, err := evidence(node, flags.seen(c.Context()), annotations)
			if err != nil {
				return exit{exitUnknown, err}
			}
			if output == "-" {
				return pack(raw(c.OutOrStdout()), files)
			}
			f, err := os.OpenFile(output, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
			if err != nil {
				return exit{exitUsage, err}
			}
			if err := errors.Join(pack(f, files), f.Close()); err != nil {
				return exit{exitUnknown, err}
			}
			return nil
		},
	}
	flags.register(c)
	criSocketFlag(c, &flags.cri)
	c.Flags().StringVarP(&output, "output", "o", "", "the file to write, which must not exist (- for stdout)")
	c.Flags().BoolVar(&annotations, "annotations", false, "with what the pods' annotations say, values and all")
	return c
}

type packed struct{ name, text string }

// evidence gathers what there is; what cannot be had is said in its place.
func evidence(node install.Node, pods seen, annotations bool) ([]packed, error) {
	kernel, _ := os.ReadFile("/proc/version") // empty where it is hidden
	var doctor strings.Builder
	if err := tell(&doctor, withoutAnnotations(examine(node, pods), annotations), "json"); err != nil {
		return nil, err
	}
	reports := slices.Clone(pods.reports)
	for i := range reports {
		if !annotations {
			reports[i].Wanted.Why = ""
		}
	}
	document, err := indented(inspect.NewDocument(reports))
	if err != nil {
		return nil, err
	}
	files := []packed{
		{"version.txt", fmt.Sprintf("detour %s\n%s", buildVersion, kernel)}, {"conf-dir.txt", confDir(node.ConfDir)},
		{"doctor.json", doctor.String()}, {"inspect.json", document},
	}
	if pods.failed != nil {
		files = append(files, packed{"not-seen.txt", pods.failed.Error() + "\n"})
	}
	if options, err := ourEntry(pods.look); err == nil && options != "" {
		files = append(files, packed{"options.json", options})
	}
	return files, nil
}

// withoutAnnotations keeps the pods' findings: those say nothing that comes from an annotation,
// except how one cannot be used.
func withoutAnnotations(all []symptom, keep bool) (kept []symptom) {
	for _, s := range all {
		if keep || !strings.Contains(s.What, "annotation ") {
			kept = append(kept, s)
		}
	}
	return kept
}

// confDir lists names, modes and plugins. A file's text stays where it is: k8s_auth_token and
// etcd's keys lie in such files.
func confDir(dir string) string {
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			words.Fprintf(&b, "%s: %v\n", path, err)
			return nil
		}
		info, err := e.Info()
		if err != nil || e.IsDir() {
			return nil
		}
		words.Fprintf(&b, "%s %6d %s %s", info.Mode(), info.Size(), info.ModTime().UTC().Format(time.RFC3339), path)
		if text, err := os.ReadFile(path); err == nil && strings.HasSuffix(path, ".conflist") {
			if list, err := install.ParseList(text); err == nil {
				words.Fprintf(&b, " plugins: %s", strings.Join(list.Types(), ", "))
			}
		}
		b.WriteString("\n")
		return nil
	})
	if err != nil {
		words.Fprintf(&b, "%v\n", err)
	}
	return b.String()
}

// ourEntry is what our entry says of pods: it has no secrets.
func ourEntry(look looker) (string, error) {
	o, err := look.options()
	if err != nil || o == nil {
		return "", err
	}
	return indented(struct {
		Pods     plugin.PodsMode `json:"pods"`
		Meshes   []string        `json:"meshes"`
		Backend  string          `json:"backend"`
		Dialects int             `json:"dialectsKnown"`
	}{o.Pods, o.Meshes, string(o.Backend), len(mesh.All())})
}

func pack(w io.Writer, files []packed) error {
	z := gzip.NewWriter(w)
	t := tar.NewWriter(z)
	for _, f := range files {
		f.text = words.Text(f.text) // its reader unpacks it on a terminal
		if err := t.WriteHeader(&tar.Header{Name: "detour/" + f.name, Mode: 0o600, Size: int64(len(f.text)), ModTime: time.Now()}); err != nil {
			return err
		}
		if _, err := io.WriteString(t, f.text); err != nil {
			return err
		}
	}
	return errors.Join(t.Close(), z.Close())
}
