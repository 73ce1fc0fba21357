package serve

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// loadable refuses a path that a request may not load an adapter from: one
// outside of the adapters' folder and those allowed. It is refused whether or
// not there is something, so that nothing is told of the rest of the disk.
// A URI of a registry or a store has to be from a source that is allowed; those of
// other schemes are for the catalogue to judge.
func (s *Server) loadable(uri string) (path string, err error) {
	if rest, ok := strings.CutPrefix(uri, "file://"); ok {
		if uri, err = url.PathUnescape(rest); err != nil || !filepath.IsAbs(uri) {
			return "", invalid("lora_path", "lora_path file://%s is no path: write file:///DIR", rest)
		}
	}
	if !isFolderPath(uri) {
		return uri, s.loadableFrom(uri)
	}
	if path, err = filepath.Abs(uri); err != nil {
		return "", err
	}
	roots := append([]string{s.config.Adapters}, s.config.AllowPaths...)
	allowed := slices.ContainsFunc(roots, func(root string) bool { return root != "" && within(root, path) })
	if s.config.Adapters != "" && filepath.IsLocal(uri) {
		own := filepath.Join(s.config.Adapters, uri)
		if _, err := os.Stat(own); err == nil || !allowed {
			return own, nil
		}
	}
	if allowed {
		return path, nil
	}
	return "", invalid("lora_path", "lora_path %s is outside of the folders that adapters are loaded from: use one below --adapters, or start the server with --allow-path", uri)
}

// loadableFrom refuses a registry or a store that requests may not load from.
func (s *Server) loadableFrom(uri string) error {
	scheme, _, _ := strings.Cut(uri, "://")
	if scheme != "oci" && scheme != "s3" || slices.ContainsFunc(s.config.AllowSources, func(allowed string) bool { return fromSource(uri, allowed) }) {
		return nil
	}
	return invalid("lora_path", "lora_path %s is from none of the sources that adapters are loaded from: start the server with --allow-source", uri)
}

// within reports whether path is below root, as they are written or once links
// are followed. Links below root are its owner's to make: an upload has none.
func within(root, path string) bool {
	root, err := filepath.Abs(root)
	if err != nil || below(root, path) {
		return err == nil
	}
	if root, err = filepath.EvalSymlinks(root); err != nil {
		return false
	}
	path, err = filepath.EvalSymlinks(path)
	return err == nil && below(root, path)
}

func below(root, path string) bool {
	rest, err := filepath.Rel(root, path)
	return err == nil && filepath.IsLocal(rest)
}

var source = regexp.MustCompile(`^(oci|s3)://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(:[0-9]+)?((/[A-Za-z0-9._=+-]+)*)/?$`)

// CheckSource refuses what names no source that adapters may come from: a
// registry, or a bucket, or what lies below a part of their paths.
func CheckSource(uri string) error {
	if !source.MatchString(uri) {
		return fmt.Errorf("%q is no source of adapters such as oci://registry.example/team or s3://bucket/adapters", uri)
	}
	return nil
}

// fromSource reports whether a URI lies below a source, by whole elements of
// paths. What leads out of it is no URI of an adapter.
func fromSource(uri, allowed string) bool {
	parts := source.FindStringSubmatch(allowed)
	rest, ok := strings.CutPrefix(uri, strings.TrimSuffix(allowed, "/"))
	if parts == nil || !ok {
		return false
	}
	ends := "/"
	if parts[4] != "" || parts[1] == "s3" {
		ends = "/:@" // a repository's tag or digest, a bucket's digest
	}
	return rest == "" || strings.ContainsRune(ends, rune(rest[0]))
}
