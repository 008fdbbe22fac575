package node

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path"
	"runtime"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Image writes a docker archive with static binaries in its root, the first of them
// the entry point.
func Image(archive, tag string, binaries ...string) error {
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, b := range binaries {
		text, err := os.ReadFile(b)
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Name: path.Base(b), Mode: 0o755, Size: int64(len(text))}); err != nil {
			return err
		}
		if _, err := w.Write(text); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { // LayerFromReader leaves a file in /tmp
		return io.NopCloser(bytes.NewReader(layer.Bytes())), nil
	})
	if err != nil {
		return err
	}
	image, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		return err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return err
	}
	config.OS, config.Architecture = runtime.GOOS, runtime.GOARCH
	config.Config = v1.Config{Entrypoint: []string{"/" + path.Base(binaries[0])}}
	image, err = mutate.ConfigFile(image, config)
	if err != nil {
		return err
	}
	ref, err := name.NewTag(tag)
	if err != nil {
		return err
	}
	return tarball.WriteToFile(archive, ref, image)
}
