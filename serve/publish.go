package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/runtime"
)

// incoming begins the names of folders that are being written or removed.
// They begin with a dot, so that nobody takes them for adapters.
const incoming = ".incoming-"

// putAdapter publishes an uploaded adapter folder: unpacked beside the others,
// loaded against the base, probed, and moved into place in one step only if it
// loads and computes finite values.
// A version of that name is replaced; requests that run keep it.
func (s *Server) putAdapter(c *fiber.Ctx) (err error) {
	name, err := adapterParam(c)
	if err != nil {
		return err
	}
	if !isName(name) {
		return invalidName("name", name)
	}
	if name == s.config.Name {
		return invalid("name", "%q is the name of the base model: give the adapter another", name)
	}
	if s.config.Adapters == "" {
		return &failure{status: http.StatusConflict, kind: invalidRequest, code: "no_adapter_folder", message: "the server has no folder to keep adapters in: start it with --adapters"}
	}
	archive, err := s.uploadOf(c)
	if err != nil {
		return err
	}
	ctx, done := s.attend(c)
	defer done()
	defer s.publishing.lock(name)()

	staging, err := os.MkdirTemp(s.config.Adapters, incoming)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(staging)) }()
	if err := os.Chmod(staging, 0o755); err != nil {
		return err
	}
	if err := unpack(staging, archive, archiveLimits{Bytes: s.config.UploadLimit, Files: 256, Depth: 8}); err != nil {
		return err
	}
	folder, err := adapterRoot(staging)
	if err != nil {
		return err
	}
	adapter, err := s.load(ctx, runtime.Source{Name: name, URI: folder, Dir: folder})
	if err != nil {
		return refusedUpload(name, strings.NewReplacer(folder+string(filepath.Separator), "", folder+": ", "").Replace(err.Error()))
	}
	switch _, _, err := s.templates.of(ctx, adapter, s.wordsOf(adapter).Tokenizer); {
	case err != nil && ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return refusedUpload(name, unusable(err).Error())
	}
	if _, budget := s.catalogue.Bytes(); adapter.Bytes() > budget {
		return fmt.Errorf("adapter %q is refused: %w: it takes %d bytes of a budget of %d", name, runtime.ErrAdapterSize, adapter.Bytes(), budget)
	}
	var broken *runtime.WithdrawnError
	switch err := s.engine.Probe(ctx, name, adapter); {
	case errors.As(err, &broken):
		return refusedUpload(name, broken.Error())
	case err != nil && ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return err
	}
	if err := errors.Join(mark(folder), flush(folder)); err != nil {
		return err
	}
	created, err := s.publish(folder, name)
	if err != nil {
		return err
	}
	view := adapterView{
		Name: name, State: string(runtime.Known), Source: filepath.Join(s.config.Adapters, name),
		Digest: adapter.Digest(), Method: adapter.Method(), Rank: adapter.Rank(), Bytes: adapter.Bytes(),
	}
	if e, err := s.catalogue.Lookup(name); err == nil {
		view.Warning = e.Warning
	}
	c.Set("X-Adapter-Id", name)
	c.Set("X-Adapter-Digest", view.Digest)
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	return writeJSON(c, status, view)
}

// refusedUpload is the answer to an adapter that could not be served.
func refusedUpload(name, why string) *failure {
	return &failure{
		status: http.StatusUnprocessableEntity, kind: invalidRequest, code: "adapter_refused",
		message: fmt.Sprintf("adapter %q is refused: %s", name, why),
	}
}

// publish moves a folder to its name among the adapters and tells the
// catalogue.
func (s *Server) publish(folder, name string) (created bool, err error) {
	place := filepath.Join(s.config.Adapters, name)
	if _, err := os.Lstat(place); err == nil {
		if exists(filepath.Join(place, adapters.RunMark)) && !isUploaded(place) {
			return false, &failure{
				status: http.StatusConflict, kind: invalidRequest, code: "run_folder",
				message: fmt.Sprintf("%q in the adapters' folder is where peft-train writes to (%s), and what else a run has there would be lost: give this adapter another name; what the run writes there is served without an upload", name, adapters.RunMark),
			}
		}
		if !holdsAdapter(place) {
			return false, &failure{
				status: http.StatusConflict, kind: invalidRequest, code: "name_taken",
				message: fmt.Sprintf("%q in the adapters' folder is no adapter: give this one another name, or move that away", name),
			}
		}
		// The old version is now where the new one was, and goes with it.
		err = exchange(folder, place)
		if err != nil {
			return false, err
		}
	} else {
		if err := os.Rename(folder, place); err != nil {
			return false, err
		}
		created = true
	}
	if err := s.catalogue.Replace(name, place); err != nil {
		if created {
			return false, fmt.Errorf("%w (%w)", err, os.RemoveAll(place))
		}
		return false, fmt.Errorf("%w (%w)", err, exchange(folder, place))
	}
	return created, nil
}

// uploadOf is the body of an upload, at most the configured size.
func (s *Server) uploadOf(c *fiber.Ctx) (io.Reader, error) {
	limit := s.config.UploadLimit
	if int64(c.Request().Header.ContentLength()) > limit {
		return nil, tooLarge(limit, "upload-limit")
	}
	body := c.Context().RequestBodyStream()
	if body == nil {
		return nil, invalid("", "the request body is empty: send a .tar.zst or .tar.gz of the adapter's folder")
	}
	return &limitedUpload{body, limit, limit}, nil
}

// limitedUpload fails when more than its limit is read.
type limitedUpload struct {
	r           io.Reader
	left, limit int64
}

func (l *limitedUpload) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, tooLarge(l.limit, "upload-limit")
	}
	return n, err
}

// adapterRoot is the folder that holds the configuration: the archive's top,
// or the one folder there.
func adapterRoot(dir string) (string, error) {
	if holdsAdapter(dir) {
		return dir, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	if len(entries) == 1 && entries[0].IsDir() && holdsAdapter(filepath.Join(dir, entries[0].Name())) {
		return filepath.Join(dir, entries[0].Name()), nil
	}
	return "", &failure{
		status: http.StatusUnprocessableEntity, kind: invalidRequest, code: "archive_refused",
		message: "the archive has no adapter_config.json at its top or in its only folder: send the folder that PEFT's save_pretrained wrote",
	}
}

func holdsAdapter(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "adapter_config.json"))
	return err == nil
}

// sweep removes what an earlier process left half written.
func sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), incoming) {
			continue
		}
		if stat, err := e.Info(); err == nil && time.Since(stat.ModTime()) > time.Hour {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush puts a folder's files on the disk, so that a name never leads to half
// of them, even after the power fails.
func flush(folder string) error {
	return filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(file.Sync(), file.Close())
	})
}
