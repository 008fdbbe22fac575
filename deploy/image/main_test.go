package main

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// programs builds two of the three that the image holds (detour takes longest, and is built the
// same way) for an architecture, from the tree at src, as `make image` does.
func programs(t *testing.T, src, arch string) (folder string) {
	t.Helper()
	folder = t.TempDir()
	c := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X main.buildVersion=v1.2.3", "-o", folder+"/", "./cmd/detour-cni", "./cmd/detour-validate")
	c.Dir = src
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+arch)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return folder
}

// image packs folders, and unpacks the OCI layout again.
func image(t *testing.T, folders ...string) (sum string, dir string) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "image.tar")
	if err := run(out, "detour-cni/detour:v1.2.3", "v1.2.3", folders); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	if words, err := exec.Command("tar", "-xf", out, "-C", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, words)
	}
	return fmt.Sprintf("%x", sha256.Sum256(text)), dir
}

// TestTheSameSourcesGiveTheSameImage builds the programs in two folders of different names and
// packs them twice: not a byte may tell where or when.
func TestTheSameSourcesGiveTheSameImage(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "elsewhere", "of-another-name")
	if out, err := exec.Command("sh", "-c", `mkdir -p "$2" && cd "$1" && cp -r go.mod go.sum cmd demo plugin redirect install inspect "$2"`, "sh", root, copied).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	first, _ := image(t, "amd64="+programs(t, root, "amd64"))
	second, _ := image(t, "amd64="+programs(t, copied, "amd64"))
	if first != second {
		t.Error("the image depends on where it is built")
	}
}

func TestTheImageHasTheProgramsAndTheirBill(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	_, dir := image(t, "amd64="+programs(t, root, "amd64"), "arm64="+programs(t, root, "arm64"))
	top, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	named, err := top.IndexManifest()
	if err != nil || len(named.Manifests) != 1 || named.Manifests[0].Annotations["io.containerd.image.name"] != "docker.io/detour-cni/detour:v1.2.3" {
		t.Fatalf("%v: %+v", err, named)
	}
	index, err := top.ImageIndex(named.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var archs []string
	for _, m := range manifest.Manifests {
		archs = append(archs, m.Platform.String())
		one, err := index.Image(m.Digest)
		if err != nil {
			t.Fatal(err)
		}
		holds(t, one, m.Platform.Architecture)
	}
	if !slices.Equal(archs, []string{"linux/amd64", "linux/arm64"}) {
		t.Errorf("for %v", archs)
	}
}

// holds looks at the files of one architecture's image.
func holds(t *testing.T, one v1.Image, arch string) {
	t.Helper()
	config, err := one.ConfigFile()
	if err != nil || config.Architecture != arch || !slices.Equal(config.Config.Entrypoint, []string{"/detour"}) || !config.Created.IsZero() {
		t.Errorf("%v: %+v", err, config)
	}
	layers, err := one.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%v: %d layers", err, len(layers))
	}
	r, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for archive := tar.NewReader(r); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, fmt.Sprintf("%s %o %d:%d", h.Name, h.Mode, h.Uid, h.Gid))
		if h.Name == "sbom.spdx.json" {
			billed(t, archive)
		}
	}
	if want := []string{"detour-cni 755 0:0", "detour-validate 755 0:0", "sbom.spdx.json 644 0:0"}; !slices.Equal(files, want) {
		t.Errorf("%s: %v, want %v", arch, files, want)
	}
}

// billed holds the bill of materials against what SPDX 2.3 demands, and against go.mod.
func billed(t *testing.T, r io.Reader) {
	t.Helper()
	var doc spdx
	if err := json.NewDecoder(r).Decode(&doc); err != nil {
		t.Fatal(err)
	}
	if doc.Version != "SPDX-2.3" || doc.License != "CC0-1.0" || doc.ID != "SPDXRef-DOCUMENT" || doc.Name == "" || !strings.HasPrefix(doc.Namespace, "https://") || doc.Creation.Created == "" || len(doc.Creation.Creators) == 0 {
		t.Errorf("a field that SPDX demands is missing: %+v", doc)
	}
	ids, purls := map[string]bool{}, ""
	for _, p := range doc.Packages {
		if ids[p.ID] || !strings.HasPrefix(p.ID, "SPDXRef-") || p.Name == "" || p.Download == "" {
			t.Errorf("package %+v", p)
		}
		ids[p.ID] = true
		for _, ref := range p.Refs {
			purls += ref.Locator + "\n"
		}
	}
	for _, rel := range doc.Relationships {
		if rel.From != doc.ID && !ids[rel.From] || !ids[rel.To] {
			t.Errorf("relationship %+v of no package", rel)
		}
	}
	for _, module := range []string{"pkg:golang/github.com/containernetworking/cni@v", "pkg:golang/github.com/coreos/go-iptables@v", "pkg:golang/std@"} {
		if !strings.Contains(purls, module) {
			t.Errorf("no %s in the bill:\n%s", module, purls)
		}
	}
}
