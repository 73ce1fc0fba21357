package serve

import (
	"net/url"
	"path/filepath"
	"strings"
)

// loadable refuses a path that a request may not load an adapter from: one
// outside of the adapters' folder and those allowed. It is refused whether or
// not there is something, so that nothing is told of the rest of the disk.
// URIs of other schemes are for the catalogue to judge.
func (s *Server) loadable(uri string) (path string, err error) {
	if rest, ok := strings.CutPrefix(uri, "file://"); ok {
		if uri, err = url.PathUnescape(rest); err != nil || !filepath.IsAbs(uri) {
			return "", invalid("lora_path", "lora_path file://%s is no path: write file:///DIR", rest)
		}
	}
	if !isFolderPath(uri) {
		return uri, nil
	}
	if path, err = filepath.Abs(uri); err == nil {
		for _, root := range append([]string{s.config.Adapters}, s.config.AllowPaths...) {
			if root != "" && within(root, path) {
				return path, nil
			}
		}
	}
	return "", invalid("lora_path", "lora_path %s is outside of the folders that adapters are loaded from: use one below --adapters, or start the server with --allow-path", uri)
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
