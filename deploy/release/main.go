// Command release builds what a version is published as, into one folder:
//
//	go run ./release -version v0.1.0 -source .. -output ../dist
//
// An archive for each platform, an SBOM (CycloneDX) of the modules that the
// binaries say they are made of, the version's notes from CHANGELOG.md, and
// SHA256SUMS. The bytes follow from the source and Go's version alone: paths and
// times are left out, or are those of the commit.
package main

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// platform is one that binaries are built for.
type platform struct{ os, arch string }

var platforms = []platform{{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "arm64"}}

// release is one version to be built.
type release struct {
	version, source, output string
	at                      time.Time // of the commit
}

func main() {
	var r release
	flag.StringVar(&r.version, "version", "", "the version, such as v0.1.0")
	flag.StringVar(&r.source, "source", "..", "the module that is released")
	flag.StringVar(&r.output, "output", "../dist", "the folder that files go to; it is emptied")
	only := flag.String("only", "", "one platform, such as linux/amd64; nothing: all")
	flag.Parse()
	if err := r.build(*only); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func (r *release) build(only string) error {
	if r.version == "" {
		return fmt.Errorf("-version: name one, such as v0.1.0")
	}
	seconds, err := r.ask("git", "log", "-1", "--format=%ct")
	if err != nil {
		return err
	}
	at, err := strconv.ParseInt(strings.TrimSpace(seconds), 10, 64)
	if err != nil {
		return err
	}
	r.at = time.Unix(at, 0).UTC()
	if err := os.RemoveAll(r.output); err != nil {
		return err
	}
	if err := os.MkdirAll(r.output, 0o755); err != nil {
		return err
	}
	built, err := os.MkdirTemp("", "release-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(built) }()
	var binaries []string
	for _, p := range platforms {
		if only != "" && only != p.os+"/"+p.arch {
			continue
		}
		made, err := r.platform(p, filepath.Join(built, p.os+"-"+p.arch))
		if err != nil {
			return fmt.Errorf("%s/%s: %w", p.os, p.arch, err)
		}
		binaries = append(binaries, made...)
	}
	if len(binaries) == 0 {
		return fmt.Errorf("-only: %q is none of %v", only, platforms)
	}
	if err := r.bill(binaries); err != nil {
		return err
	}
	if err := r.notes(); err != nil {
		return err
	}
	return sums(r.output)
}

// platform builds the binaries of one and packs them.
func (r *release) platform(p platform, dir string) ([]string, error) {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	c := exec.Command("go", "build", "-C", r.source, "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X main.version="+r.version, "-o", absolute+"/", "./cmd/...")
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+p.os, "GOARCH="+p.arch, "GOFLAGS=", "GOAMD64=v1", "GOARM64=v8.0")
	if output, err := c.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, output)
	}
	binaries, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return nil, err
	}
	files := []file{}
	for _, b := range binaries {
		files = append(files, file{name: filepath.Base(b), from: b, mode: 0o755})
	}
	for _, name := range []string{"LICENSE", "README.md", "CHANGELOG.md"} {
		files = append(files, file{name: name, from: filepath.Join(r.source, name), mode: 0o644})
	}
	name := fmt.Sprintf("peft-serve_%s_%s_%s", strings.TrimPrefix(r.version, "v"), p.os, p.arch)
	return binaries, pack(filepath.Join(r.output, name+".tar.gz"), name, files, r.at)
}

// notes are the part of CHANGELOG.md under the version, or under "Unreleased"
// where it has none.
func (r *release) notes() error {
	text, err := os.ReadFile(filepath.Join(r.source, "CHANGELOG.md"))
	if err != nil {
		return err
	}
	notes, err := notesOf(string(text), strings.TrimPrefix(r.version, "v"))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.output, "NOTES.md"), []byte(notes), 0o644)
}

func notesOf(changelog, version string) (string, error) {
	parts := strings.Split("\n"+changelog, "\n## ")[1:]
	for _, heading := range []string{version, "Unreleased"} {
		for _, part := range parts {
			title, text, _ := strings.Cut(part, "\n")
			if strings.Trim(strings.Fields(title + " ")[0], "[]v") == heading {
				return strings.TrimSpace(text) + "\n", nil
			}
		}
	}
	return "", fmt.Errorf("CHANGELOG.md has no part %q, nor one \"Unreleased\"", version)
}

// ask runs a command in the source.
func (r *release) ask(name string, args ...string) (string, error) {
	c := exec.Command(name, args...)
	c.Dir = r.source
	text, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", strings.Join(append([]string{name}, args...), " "), err)
	}
	return string(text), nil
}

// sums writes SHA256SUMS of all files in a folder.
func sums(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return err
	}
	slices.Sort(files)
	var text strings.Builder
	for _, f := range files {
		content, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		fmt.Fprintf(&text, "%x  %s\n", sha256.Sum256(content), filepath.Base(f))
	}
	return os.WriteFile(filepath.Join(dir, "SHA256SUMS"), []byte(text.String()), 0o644)
}
