// Command image builds detour's container image without a daemon: from scratch, the
// programs of each architecture, and their bill of materials. The same sources and Go
// give the same digest: no time, no owner and no path of the machine is in it.
//
//	image -version v0.1.0 -o bin/detour-image.tar -tag detour-cni/detour:v0.1.0 amd64=bin/amd64 arm64=bin/arm64
//
// The tar is an OCI layout, which `ctr images import` takes, and `skopeo copy oci-archive:`.
package main

import (
	"archive/tar"
	"bytes"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

func main() {
	version := flag.String("version", "devel", "of the programs, for the label")
	out := flag.String("o", "detour-image.tar", "the tar to write")
	tag := flag.String("tag", "detour-cni/detour:devel", "the image's name")
	flag.Parse()
	if err := run(*out, *tag, *version, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(out, tag, version string, folders []string) error {
	index := v1.ImageIndex(empty.Index)
	for _, f := range folders {
		arch, folder, ok := strings.Cut(f, "=")
		if !ok {
			return fmt.Errorf("%q: want ARCH=FOLDER", f)
		}
		image, err := build(folder, arch, version)
		if err != nil {
			return err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        image,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
		})
	}
	index = mutate.IndexMediaType(index, types.OCIImageIndex)
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "detour-image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	top := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{
		Add: index,
		// containerd names the image by the first, others by the second.
		Descriptor: v1.Descriptor{Annotations: map[string]string{"io.containerd.image.name": containerdName(tag), "org.opencontainers.image.ref.name": tag}},
	})
	if _, err := layout.Write(dir, top); err != nil {
		return err
	}
	if err := pack(out, dir); err != nil {
		return err
	}
	fmt.Println(digest, out)
	return nil
}

// containerdName is the tag with the registry that containerd and Docker mean without one.
func containerdName(tag string) string {
	first, _, ok := strings.Cut(tag, "/")
	if ok && strings.ContainsAny(first, ".:") {
		return tag
	}
	return "docker.io/" + tag
}

// build makes the image of one architecture: every program of the folder in the root, and
// sbom.spdx.json.
func build(folder, arch, version string) (v1.Image, error) {
	programs, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil || len(programs) == 0 {
		return nil, fmt.Errorf("%s: no programs there (%v)", folder, err)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	add := func(name string, mode int64, text []byte) error {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(text)), Format: tar.FormatUSTAR}); err != nil {
			return err
		}
		_, err := w.Write(text)
		return err
	}
	for _, p := range programs {
		text, err := os.ReadFile(p)
		if err != nil {
			return nil, err
		}
		if err := add(filepath.Base(p), 0o755, text); err != nil {
			return nil, err
		}
	}
	sbom, err := bill(version, programs)
	if err != nil {
		return nil, err
	}
	if err := add("sbom.spdx.json", 0o644, sbom); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { // LayerFromReader leaves a file in /tmp
		return io.NopCloser(bytes.NewReader(layer.Bytes())), nil
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.OCIManifestSchema1), l)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", arch
	config.Config = v1.Config{
		Entrypoint: []string{"/detour"},
		Labels: map[string]string{
			"org.opencontainers.image.title": "detour", "org.opencontainers.image.version": version,
			"org.opencontainers.image.licenses": "Apache-2.0",
		},
	}
	return mutate.ConfigFile(mutate.ConfigMediaType(image, types.OCIConfigJSON), config)
}

// pack writes a folder into a tar: names sorted, no times, no owners.
func pack(out, dir string) error {
	var all bytes.Buffer
	w := tar.NewWriter(&all)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if e.IsDir() {
			return w.WriteHeader(&tar.Header{Name: name + "/", Mode: 0o755, Typeflag: tar.TypeDir, Format: tar.FormatUSTAR})
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text)), Format: tar.FormatUSTAR}); err != nil {
			return err
		}
		_, err = io.Copy(w, bytes.NewReader(text))
		return err
	})
	if err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(out, all.Bytes(), 0o644)
}
