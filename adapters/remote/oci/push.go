package oci

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	orasremote "oras.land/oras-go/v2/registry/remote"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/adapters/remote"
)

// Pushed is an adapter that is to be in a registry.
type Pushed struct {
	Dir      string   // or a file of llama.cpp's
	Digest   string   // of the adapter
	BaseName string   // as its configuration has it; empty: it names none
	Bases    []string // digests of the bases that it is for; none: that is not said

	Progress func(remote.Progress) // nil: nobody is told
}

// Push puts an adapter into a registry under uri's tag and returns the digest of
// its manifest, which is the same for the same files and bases. What the
// registry has is not sent again; the tag moves once all is there.
func (r *Registries) Push(ctx context.Context, uri string, p Pushed) (manifest string, err error) {
	ref, err := ParseRef(uri)
	if err != nil {
		return "", err
	}
	if ref.Digest() != "" {
		return "", fmt.Errorf("%q: the digest is what comes of a push: name a tag", uri)
	}
	files, err := p.files()
	if err != nil {
		return "", err
	}
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		ArtifactType: ArtifactType, Config: ocispec.DescriptorEmptyJSON, Annotations: p.annotations(),
	}
	ctx, repository := r.repository(ctx, ref)
	if err := r.pushBlob(ctx, repository, m.Config, bytes.NewReader(m.Config.Data)); err != nil {
		return "", fmt.Errorf("%s: %w", uri, err)
	}
	for _, name := range files {
		layer, err := r.pushFile(ctx, repository, uri, name, p)
		if err != nil {
			return "", fmt.Errorf("%s: %s: %w", uri, name, err)
		}
		m.Layers = append(m.Layers, layer)
	}
	text, err := json.Marshal(m)
	if err != nil {
		return "", err
	}
	as := ocispec.Descriptor{MediaType: m.MediaType, Digest: digest.FromBytes(text), Size: int64(len(text))}
	if err := repository.Manifests().PushReference(ctx, as, bytes.NewReader(text), ref.Reference.Reference); err != nil {
		return "", fmt.Errorf("%s: %w", uri, r.fault(err))
	}
	return as.Digest.String(), nil
}

// files are those of the folder, or the one file that is the adapter.
func (p *Pushed) files() ([]string, error) {
	if file, err := adapters.GGUFIn(p.Dir); err != nil || file != p.Dir || file == "" {
		return adapters.Files(p.Dir)
	}
	dir, name := filepath.Split(p.Dir)
	if !adapters.IsFile(name) {
		return nil, fmt.Errorf("%q is no name of an adapter's file", name)
	}
	p.Dir = dir
	return []string{name}, nil
}

func (p Pushed) annotations() map[string]string {
	all := map[string]string{AdapterAnnotation: p.Digest, BaseNameAnnotation: p.BaseName}
	bases := slices.Compact(slices.Sorted(slices.Values(p.Bases)))
	all[BasesAnnotation] = strings.Join(bases, ",")
	for name, text := range all {
		if text == "" {
			delete(all, name)
		}
	}
	return all
}

// pushFile sends a file unless it is there.
func (r *Registries) pushFile(ctx context.Context, repository *orasremote.Repository, uri, name string, p Pushed) (ocispec.Descriptor, error) {
	file, err := os.Open(filepath.Join(p.Dir, filepath.FromSlash(name)))
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	defer func() { _ = file.Close() }()
	h := sha256.New()
	size, err := io.Copy(h, file)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	layer := ocispec.Descriptor{
		MediaType: FileType, Digest: digest.NewDigest(digest.SHA256, h), Size: size,
		Annotations: map[string]string{ocispec.AnnotationTitle: name},
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return ocispec.Descriptor{}, err
	}
	content := &sent{r: file, report: func(done int64) {
		if p.Progress != nil {
			p.Progress(remote.Progress{URI: uri, File: name, Done: done, Size: size})
		}
	}}
	err = r.pushBlob(ctx, repository, layer, content)
	if err == nil {
		content.report(size)
	}
	return layer, err
}

func (r *Registries) pushBlob(ctx context.Context, repository *orasremote.Repository, as ocispec.Descriptor, content io.Reader) error {
	there, err := repository.Blobs().Exists(ctx, as)
	if err == nil && !there {
		err = repository.Blobs().Push(ctx, as, content)
	}
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	var ofFile *fs.PathError
	if errors.As(err, &ofFile) {
		return ofFile
	}
	return r.fault(err)
}

// sent tells how much of a content has been read.
type sent struct {
	r      io.Reader
	done   int64
	report func(done int64)
}

func (s *sent) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	s.done += int64(n)
	s.report(s.done)
	return n, err
}
