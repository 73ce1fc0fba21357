package hub

import (
	"fmt"
	"path"
	"regexp"
	"strings"
)

const scheme = "hf://"

// Ref names a repository of the hub at a revision, or one file of it.
type Ref struct {
	Repo     string // owner/name; a few old models have no owner
	Revision string // a branch, a tag or a commit; "main" by default
	File     string // within the repository; "" for what ModelFiles takes
}

var (
	repoPart = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_-])?$`)
	revision = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._/+-]*$`)
)

// IsRef reports whether s claims to be a Ref: whether it begins with hf://.
func IsRef(s string) bool { return strings.HasPrefix(s, scheme) }

// ParseRef reads hf://owner/name[@revision][:file].
func ParseRef(s string) (Ref, error) {
	rest, ok := strings.CutPrefix(s, scheme)
	if !ok {
		return Ref{}, fmt.Errorf("%q does not begin with %s", s, scheme)
	}
	rest, file, hasFile := strings.Cut(rest, ":")
	repo, rev, hasRevision := strings.Cut(rest, "@")
	ref := Ref{Repo: repo, Revision: "main", File: file}
	if hasRevision {
		ref.Revision = rev
	}
	if hasFile && file == "" {
		return Ref{}, fmt.Errorf("%q names no file after ':'", s)
	}
	if err := ref.check(); err != nil {
		return Ref{}, fmt.Errorf("%q: %w; want %sowner/name[@revision][:file]", s, err, scheme)
	}
	return ref, nil
}

// check demands that the parts are safe to use in paths.
func (r Ref) check() error {
	parts := strings.Split(r.Repo, "/")
	for _, part := range parts {
		if !repoPart.MatchString(part) || strings.Contains(part, "--") || strings.Contains(part, "..") {
			return fmt.Errorf("%q is not a repository", r.Repo)
		}
	}
	switch {
	case len(parts) > 2:
		return fmt.Errorf("%q is not a repository", r.Repo)
	case !revision.MatchString(r.Revision) || !safePath(r.Revision):
		return fmt.Errorf("%q is not a revision", r.Revision)
	case r.File != "" && !safePath(r.File):
		return fmt.Errorf("%q is not a file", r.File)
	}
	return nil
}

func (r Ref) String() string {
	s := scheme + r.Repo
	if r.Revision != "main" {
		s += "@" + r.Revision
	}
	if r.File != "" {
		s += ":" + r.File
	}
	return s
}

// safePath reports whether name, with slashes, stays below the folder that it
// is joined to, on every system.
func safePath(name string) bool {
	return name != "" && name != "." && name == path.Clean(name) && !path.IsAbs(name) && name != ".." &&
		!strings.HasPrefix(name, "../") && !strings.ContainsAny(name, "\\:\x00")
}
