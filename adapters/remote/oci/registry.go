package oci

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
	orasremote "oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/adapters/remote"
)

// What manifests of adapters say.
const (
	ArtifactType = "application/vnd.peft-serve.adapter.v1"
	FileType     = "application/vnd.peft-serve.adapter.file.v1"

	// Annotations of the manifest. BasesAnnotation has models.Digest of each base
	// that the adapter is for, parted by commas.
	AdapterAnnotation  = "io.github.peft-serve.adapter.digest"
	BasesAnnotation    = "io.github.peft-serve.base.digests"
	BaseNameAnnotation = "io.github.peft-serve.base.name"

	unpackAnnotation = "io.deis.oras.content.unpack" // of a layer that is a packed folder
)

const (
	maxManifest = 4 << 20 // bytes; registries take no larger ones
	maxBases    = 64
)

var baseDigest = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Config says how registries are reached.
type Config struct {
	Credentials string   // Docker's config.json, which may not be there; empty: there are none
	PlainHTTP   []string // registries, host:port, that are reached by HTTP
	Client      *http.Client
}

// Registries finds adapters in registries and pushes them there.
type Registries struct {
	config Config
	client *auth.Client
}

var _ remote.Source = (*Registries)(nil)

// New returns Registries. It reads the credentials.
func New(c Config) (*Registries, error) {
	r := &Registries{config: c, client: &auth.Client{
		Client: c.Client, Cache: auth.NewCache(), Header: http.Header{"User-Agent": {"peft-serve"}},
	}}
	if c.Credentials != "" {
		store, err := credentials.NewStore(c.Credentials, credentials.StoreOptions{})
		if err != nil {
			return nil, fmt.Errorf("the registries' credentials: %w", err)
		}
		r.client.Credential = credentials.Credential(store)
	}
	return r, nil
}

// repository is where ref lies, with a context for requests to it.
func (r *Registries) repository(ctx context.Context, ref Ref) (context.Context, *orasremote.Repository) {
	plain := ref.plain(r.config.PlainHTTP)
	ctx = remote.Peer{Host: ref.Host(), Secure: !plain}.With(ctx)
	return ctx, &orasremote.Repository{Client: r.client, Reference: ref.Reference, PlainHTTP: plain, MaxMetadataBytes: maxManifest}
}

// Pinned implements remote.Source.
func (r *Registries) Pinned(uri string) (id string) {
	ref, err := ParseRef(uri)
	if err != nil || ref.Digest() == "" {
		return ""
	}
	return idOf(ref.Digest())
}

func idOf(digest string) string { return "oci-" + digest }

// Open implements remote.Source.
func (r *Registries) Open(ctx context.Context, uri string) (*remote.Artefact, error) {
	ref, err := ParseRef(uri)
	if err != nil {
		return nil, err
	}
	ctx, repository := r.repository(ctx, ref)
	text, err := readManifest(ctx, repository)
	if err != nil {
		return nil, r.fault(err)
	}
	sum := sha256.Sum256(text)
	digest := hex.EncodeToString(sum[:])
	if want := ref.Digest(); want != "" && want != digest {
		return nil, fmt.Errorf("%w: the manifest's SHA-256 is %s", remote.ErrCorrupt, digest)
	}
	a := &remote.Artefact{ID: idOf(digest)}
	layers, err := parseManifest(text, a)
	if err != nil {
		return nil, err
	}
	a.Read = func(ctx context.Context, f remote.File) (io.ReadCloser, error) {
		ctx, repository := r.repository(ctx, ref)
		body, err := repository.Blobs().Fetch(ctx, layers[f.Name])
		if err != nil {
			return nil, r.fault(err)
		}
		return body, nil
	}
	return a, nil
}

func readManifest(ctx context.Context, repository *orasremote.Repository) ([]byte, error) {
	announced, body, err := repository.Manifests().FetchReference(ctx, repository.Reference.Reference)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	text, err := io.ReadAll(io.LimitReader(body, maxManifest+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > maxManifest:
		return nil, fmt.Errorf("%w: a manifest of more than %d bytes", remote.ErrReply, maxManifest)
	case digest.FromBytes(text) != announced.Digest:
		return nil, fmt.Errorf("%w: the manifest is not %s", remote.ErrCorrupt, announced.Digest)
	}
	return text, nil
}

// parseManifest puts what a manifest says into a, and returns the layers of its
// files.
func parseManifest(text []byte, a *remote.Artefact) (layers map[string]ocispec.Descriptor, err error) {
	var m ocispec.Manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("%w: the manifest: %w", remote.ErrReply, err)
	}
	if len(m.Layers) == 0 {
		return nil, fmt.Errorf("%w: the manifest (%s) has no layers: an index names several, of which one is meant", remote.ErrReply, m.MediaType)
	}
	layers = map[string]ocispec.Descriptor{}
	for _, layer := range m.Layers {
		name := layer.Annotations[ocispec.AnnotationTitle]
		switch {
		case name == "" || layer.Annotations[unpackAnnotation] == "true":
			return nil, fmt.Errorf("%w: layer %s (%s) is no file: an adapter's layers are its files, as peft-train push and oras push FILES make them", remote.ErrReply, layer.Digest, layer.MediaType)
		case layer.Digest.Validate() != nil || layer.Digest.Algorithm() != digest.SHA256:
			return nil, fmt.Errorf("%w: the digest of %s, %q, is no SHA-256", remote.ErrReply, name, layer.Digest)
		case leadsOut(name):
			return nil, fmt.Errorf("%w: a file named %q", remote.ErrReply, name)
		case !adapters.IsFile(name):
			continue
		}
		layers[name] = layer
		a.Files = append(a.Files, remote.File{Name: name, Size: layer.Size, SHA256: layer.Digest.Encoded()})
	}
	if said := m.Annotations[BasesAnnotation]; said != "" {
		a.Bases = strings.Split(said, ",")
	}
	if len(a.Bases) > maxBases || slices.ContainsFunc(a.Bases, func(base string) bool { return !baseDigest.MatchString(base) }) {
		return nil, fmt.Errorf("%w: the annotation %s is no list of up to %d digests", remote.ErrReply, BasesAnnotation, maxBases)
	}
	return layers, nil
}

// leadsOut reports whether a layer's title is no name within a folder.
func leadsOut(name string) bool {
	return name != path.Clean(name) || !filepath.IsLocal(name) || strings.ContainsAny(name, "\\:\x00")
}

// fault is what an error of oras says to people, without addresses, which may
// hold signatures.
func (r *Registries) fault(err error) error {
	var answer *errcode.ErrorResponse
	switch {
	case errors.As(err, &answer):
		return remote.StatusFault(answer.StatusCode, r.advice())
	case errors.Is(err, auth.ErrBasicCredentialNotFound):
		return remote.StatusFault(http.StatusUnauthorized, r.advice())
	case errors.Is(err, errdef.ErrNotFound):
		return remote.StatusFault(http.StatusNotFound, "")
	}
	return remote.Fault(err)
}

func (r *Registries) advice() string {
	if r.config.Credentials == "" {
		return "there are no credentials: docker login, or DOCKER_CONFIG"
	}
	return "docker login, for credentials in " + r.config.Credentials + ", of somebody who may"
}

// CredentialsFile is Docker's: config.json in DOCKER_CONFIG, or in .docker of the
// home folder; empty where there is neither. getenv is os.Getenv outside of tests.
func CredentialsFile(getenv func(string) string) string {
	if dir := getenv("DOCKER_CONFIG"); dir != "" {
		return filepath.Join(dir, "config.json")
	}
	if home := cmp.Or(getenv("HOME"), getenv("USERPROFILE")); home != "" {
		return filepath.Join(home, ".docker", "config.json")
	}
	return ""
}
