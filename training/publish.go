package training

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/peft-serve/peft-serve/adapters"
)

// send puts the saved adapter into a running server.
func (r *Run) send(ctx context.Context) error {
	name := r.publishName()
	if there, err := Served(ctx, r.Config.Publish, r.PublishKey, name, r.Output); err == nil && there { // it was not there when the run began
		r.observer.Note("--publish: %s serves %s itself, as %s: nothing is sent", r.Config.Publish, r.Output, name)
		return nil
	}
	if err := Publish(ctx, r.Config.Publish, name, r.Output, r.PublishKey); err != nil {
		address, _ := url.JoinPath(r.Config.Publish, "v1", "adapters", name) // Validate has parsed it
		files := []string{adapters.ConfigFile, adapters.SafeFile}
		if r.heads != nil {
			files = append(files, adapters.ClassesFile)
		}
		return fmt.Errorf("%w\nThe adapter is saved in %s. To put it there later:\n  tar -C %s -c %s | zstd | curl -T - %s",
			err, r.Output, r.Output, strings.Join(files, " "), address)
	}
	r.observer.Note("published as %s at %s", name, r.Config.Publish)
	return nil
}

// publishName is what the adapter is to be called there.
func (c *Config) publishName() string {
	if c.PublishName != "" {
		return c.PublishName
	}
	return filepath.Base(filepath.Clean(c.Output))
}

// published are the names that a server has for adapters.
var published = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$`)

// IsName reports whether a server takes a name for an adapter.
func IsName(name string) bool { return published.MatchString(name) }

// Publish sends an adapter's folder to a server as PUT /v1/adapters/NAME, a tar
// archive under zstd.
func Publish(ctx context.Context, server, name, dir, key string) error {
	var body bytes.Buffer
	if err := pack(&body, dir); err != nil {
		return err
	}
	address, err := url.JoinPath(server, "v1", "adapters", name)
	if err != nil {
		return fmt.Errorf("--publish: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, address, &body)
	if err != nil {
		return fmt.Errorf("--publish: %w", err)
	}
	request.Header.Set("Content-Type", "application/zstd")
	if key != "" {
		request.Header.Set("Authorization", "Bearer "+key)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("--publish: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode/100 != 2 {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 1000)) // the status says enough
		return fmt.Errorf("--publish: %s answers %s: %s", address, answer.Status, strings.TrimSpace(string(text)))
	}
	return nil
}

// pack writes the files of an adapter as .tar.zst.
func pack(w io.Writer, dir string) error {
	z, err := zstd.NewWriter(w)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(z)
	for _, name := range []string{adapters.ConfigFile, adapters.SafeFile, adapters.ClassesFile, "README.md"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if name == adapters.ClassesFile && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(b)), Format: tar.FormatPAX}); err != nil {
			return err
		}
		if _, err := archive.Write(b); err != nil {
			return err
		}
	}
	return errors.Join(archive.Close(), z.Close())
}
