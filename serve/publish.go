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
	"github.com/peft-serve/peft-serve/catalogue"
)

// incoming begins the names of folders that are being written or removed.
// They begin with a dot, so that nobody takes them for adapters.
const incoming = ".incoming-"

// putAdapter publishes an uploaded adapter folder: unpacked beside the others,
// loaded as any adapter is, probed, and moved into place in one step only if it
// loads and computes finite values. It is in memory then.
// A version of that name is replaced; requests that run keep it.
func (s *Server) putAdapter(c *fiber.Ctx) (err error) {
	name, err := adapterParam(c)
	if err != nil {
		return err
	}
	archive, err := s.uploadOf(c)
	if err != nil {
		return err
	}
	ctx, done := s.attend(c)
	defer done()
	staging, err := os.MkdirTemp(s.config.Adapters, incoming)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(staging)) }()
	if err := os.Chmod(staging, 0o755); err != nil {
		return err
	}
	if err := unpack(staging, archive, archiveLimits{Bytes: callerOf(c).limits.UploadLimit, Files: 256, Depth: 8}); err != nil {
		return err
	}
	folder, err := adapterRoot(staging)
	if err != nil {
		return err
	}
	if err := mark(folder); err != nil {
		return err
	}
	entry, created, err := s.publish(ctx, folder, name, auditOf(c))
	if err != nil {
		return err
	}
	c.Set("X-Adapter-Id", name)
	c.Set("X-Adapter-Digest", entry.Digest)
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	return writeJSON(c, status, viewOf(callerOf(c).shown(entry)))
}

// publish gives the name to the adapter in a folder, which moves to its place
// among the adapters. A fault of the adapter is a 422, one of the disk is not.
func (s *Server) publish(ctx context.Context, folder, name string, audit *auditEntry) (entry catalogue.Entry, created bool, err error) {
	var disk error
	var digest string // of the new version
	entry, err = s.catalogue.Swap(ctx, catalogue.Candidate{
		Name: name, URI: folder,
		Check: func(ctx context.Context, a catalogue.Adapter) error {
			digest = a.Digest()
			if _, _, err := s.templates.of(ctx, []templateUser{{name, digest}}, a.ChatTemplate(), s.textOf(a)); err != nil {
				return unusable(err)
			}
			disk = flush(folder)
			return disk
		},
		Probe: s.probe(name),
		Move: func() (place string, err error) {
			old, unknown := s.catalogue.Lookup(name)
			place, created, err = moveInto(s.config.Adapters, name, folder)
			audit.publishes(old, unknown == nil)
			disk = err
			return place, err
		},
	})
	if err != nil {
		s.templates.forget(name, digest)
	}
	switch {
	case err == nil:
		audit.becomes(entry.Digest)
		return entry, created, nil
	case ctx.Err() != nil:
		return entry, false, context.Cause(ctx)
	case disk != nil:
		return entry, false, disk
	}
	return entry, false, refusedUpload(name, folder, err)
}

// probe is what the engine says of an adapter that is to have a name.
func (s *Server) probe(name string) func(context.Context, catalogue.Adapter) error {
	return func(ctx context.Context, a catalogue.Adapter) error { return s.engine.Probe(ctx, name, a) }
}

// refusedUpload is the answer to an adapter in a folder that could not be
// served, without our paths, or what else went wrong.
func refusedUpload(name, folder string, err error) error {
	var withdrawn *catalogue.WithdrawnError
	if err := loadFault(name, err); !isBrokenAdapter(err) && !errors.As(err, &withdrawn) || errors.Is(err, catalogue.ErrSize) {
		return err
	}
	var named *catalogue.AdapterError
	if errors.As(err, &named) {
		err = named.Err // the name is said once
	}
	why := strings.NewReplacer(folder+string(filepath.Separator), "", folder+": ", "").Replace(err.Error())
	return &failure{
		status: http.StatusUnprocessableEntity, kind: invalidRequest, code: "adapter_refused",
		message: fmt.Sprintf("adapter %q is refused: %s", name, why),
	}
}

// moveInto moves a folder to its name among the adapters.
func moveInto(adaptersDir, name, folder string) (place string, created bool, err error) {
	place = filepath.Join(adaptersDir, name)
	if _, err := os.Lstat(place); err != nil {
		return place, true, os.Rename(folder, place)
	}
	if exists(filepath.Join(place, adapters.RunMark)) && !isUploaded(place) {
		return "", false, &failure{
			status: http.StatusConflict, kind: invalidRequest, code: "run_folder",
			message: fmt.Sprintf("%q in the adapters' folder is where peft-train writes to (%s), and what else a run has there would be lost: give this adapter another name; what the run writes there is served without an upload", name, adapters.RunMark),
		}
	}
	if !holdsAdapter(place) {
		return "", false, &failure{
			status: http.StatusConflict, kind: invalidRequest, code: "name_taken",
			message: fmt.Sprintf("%q in the adapters' folder is no adapter: give this one another name, or move that away", name),
		}
	}
	// The old version is now where the new one was, and goes with it.
	return place, false, exchange(folder, place)
}

// named refuses what cannot be uploaded by its name, or not to this server.
func (s *Server) named(c *fiber.Ctx) error {
	name, err := adapterParam(c)
	if err != nil {
		return err
	}
	if !isName(name) {
		return invalidName("name", name)
	}
	if err := callerOf(c).publish(name); err != nil {
		return err
	}
	if name == s.config.Name {
		return invalid("name", "%q is the name of the base model: give the adapter another", name)
	}
	if s.config.Adapters == "" {
		return &failure{status: http.StatusConflict, kind: invalidRequest, code: "no_adapter_folder", message: "the server has no folder to keep adapters in: start it with --adapters"}
	}
	return c.Next()
}

// uploadOf is the body of an upload, at most the configured size.
func (s *Server) uploadOf(c *fiber.Ctx) (io.Reader, error) {
	limit := callerOf(c).limits.UploadLimit
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
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = tooSlow()
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

// exchangeByRename swaps two folders in three steps, and undoes them if one
// fails.
func exchangeByRename(a, b string) error {
	aside := a + ".aside"
	if err := os.Rename(b, aside); err != nil {
		return err
	}
	if err := os.Rename(a, b); err != nil {
		return errors.Join(err, os.Rename(aside, b))
	}
	return os.Rename(aside, a)
}
