package oci

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"oras.land/oras-go/v2/registry"
)

// Scheme begins the URIs of this package.
const Scheme = "oci://"

// Ref names a manifest in a repository of a registry.
type Ref struct {
	registry.Reference
}

var errNoTag = errors.New("it names neither a tag nor a digest")

// ParseRef reads oci://registry/repository[:tag][@sha256:digest]. Where there
// are both, the digest counts.
func ParseRef(uri string) (Ref, error) {
	rest, ok := strings.CutPrefix(uri, Scheme)
	var ref registry.Reference
	err := fmt.Errorf("it does not begin with %s", Scheme)
	if ok {
		ref, err = registry.ParseReference(rest)
	}
	if digest, isDigest := strings.CutPrefix(ref.Reference, "sha256:"); err == nil && strings.Contains(ref.Reference, ":") && (!isDigest || len(digest) != 64) {
		err = fmt.Errorf("the digest %q is no SHA-256", ref.Reference)
	}
	if err == nil && ref.Reference == "" {
		err = errNoTag
	}
	if err != nil {
		return Ref{}, fmt.Errorf("%q: %w; want %sregistry/repository:tag or %sregistry/repository@sha256:digest", uri, err, Scheme, Scheme)
	}
	return Ref{ref}, nil
}

// Digest is the manifest's, in hex, where the Ref says it; else empty.
func (r Ref) Digest() string {
	digest, _ := strings.CutPrefix(r.Reference.Reference, "sha256:")
	if digest == r.Reference.Reference {
		return ""
	}
	return digest
}

// plain reports whether its registry is reached by HTTP.
func (r Ref) plain(named []string) bool {
	host := r.Registry
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback() || slices.Contains(named, r.Registry)
}
