package s3

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Scheme begins the URIs of this package.
const Scheme = "s3://"

// Ref names a folder of a bucket.
type Ref struct {
	Bucket string
	Prefix string // "a/b"; empty: the whole bucket
	Digest string // of the adapter that is meant, in hex; empty: whatever is there
}

var (
	bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	element    = regexp.MustCompile(`^[A-Za-z0-9._=+-]+$`)
	hexDigest  = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// ParseRef reads s3://bucket[/prefix][@sha256:digest].
func ParseRef(uri string) (Ref, error) {
	ref, err := parse(uri)
	if err != nil {
		return Ref{}, fmt.Errorf("%q: %w; want %sbucket/prefix or %sbucket/prefix@sha256:digest", uri, err, Scheme, Scheme)
	}
	return ref, nil
}

func parse(uri string) (ref Ref, err error) {
	rest, ok := strings.CutPrefix(uri, Scheme)
	if !ok {
		return ref, fmt.Errorf("it does not begin with %s", Scheme)
	}
	rest, digest, pinned := strings.Cut(rest, "@")
	if pinned {
		if ref.Digest, ok = strings.CutPrefix(digest, "sha256:"); !ok || !hexDigest.MatchString(ref.Digest) {
			return ref, fmt.Errorf("%q is no SHA-256", digest)
		}
	}
	ref.Bucket, ref.Prefix, _ = strings.Cut(rest, "/")
	if !bucketName.MatchString(ref.Bucket) || strings.Contains(ref.Bucket, "..") {
		return ref, fmt.Errorf("%q is not a bucket", ref.Bucket)
	}
	ref.Prefix = strings.TrimSuffix(ref.Prefix, "/")
	if ref.Prefix == "" {
		return ref, nil
	}
	for _, e := range strings.Split(ref.Prefix, "/") {
		if !element.MatchString(e) || e == "." || e == ".." {
			return ref, errors.New("a prefix is letters, digits and ._=+- in elements parted by single slashes")
		}
	}
	return ref, nil
}

// key is that of an object below the prefix.
func (r Ref) key(name string) string {
	if r.Prefix == "" {
		return name
	}
	return r.Prefix + "/" + name
}
