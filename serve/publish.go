package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/internal/disk"
)

// putAdapter publishes an uploaded adapter folder: unpacked beside the others,
// loaded as any adapter is, probed, and moved into place in one step only if it
// loads and computes finite values. It is in memory then.
// A version of that name is replaced; requests that run keep it. With ?canary=PERCENT
// it is a canary, or with 0 only kept.
func (s *Server) putAdapter(c *fiber.Ctx) (err error) {
	name, err := adapterParam(c)
	if err != nil {
		return err
	}
	as, err := publicationOf(c)
	if err != nil {
		return err
	}
	if as.role != catalogue.Live {
		if _, err := s.catalogue.Lookup(name); isUnknown(err) {
			return conflict("no_live_version", "adapter %q has no live version: upload it without ?canary first", name)
		}
	}
	archive, err := s.uploadOf(c)
	if err != nil {
		return err
	}
	ctx, done := s.attend(c)
	defer done()
	leave, err := s.admitUpload(ctx)
	if err != nil {
		return err
	}
	defer leave()
	defer func() { err = s.diskFault(err) }()
	staging, err := newStaging(s.config.Adapters)
	if err != nil {
		return err
	}
	stage := &stage{uploads: s.intake, dir: staging.files(), most: callerOf(c).limits.UploadLimit}
	defer stage.end()
	defer s.discard(staging)
	if err := disk.Mkdir(staging.files()); err != nil {
		return err
	}
	sender := tenantOf(c).Name
	u := unpacking{
		dir: stage.dir, limits: archiveLimits{Bytes: stage.most, Files: 256, Depth: 8},
		room: stage.room, packed: archive.got, whole: max(int64(c.Request().Header.ContentLength()), 0), memory: s.intake.window(ctx),
		spend: func(bytes int) error { return s.unpacked.spend(ctx, sender, bytes) },
	}
	if err := u.unpack(archive); err != nil {
		return noMemory(err)
	}
	folder, err := adapterRoot(staging.files())
	if err != nil {
		return err
	}
	if err := mark(folder); err != nil {
		return err
	}
	entry, created, err := s.publish(ctx, staging, folder, name, as, auditOf(c))
	if err != nil {
		return noMemory(err)
	}
	c.Set("X-Adapter-Id", name)
	c.Set("X-Adapter-Digest", entry.Digest)
	if as.role == catalogue.Kept { // it has left the memory again
		entry.State, entry.Bytes, entry.References, entry.LastUsed = catalogue.Known, 0, 0, time.Time{}
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	return writeJSON(c, status, s.viewOf(callerOf(c).shown(entry)))
}

// admitUpload waits for a place, which an upload has until it is published or
// refused: what lies on the disk and has still to be read is bounded too.
func (s *Server) admitUpload(ctx context.Context) (leave func(), err error) {
	if err := s.memory.Pressed(); err != nil {
		return nil, noMemory(err)
	}
	return s.intake.enter(ctx)
}

// publish gives the name, or the role that it is published in, to the adapter in a
// folder, which moves to its place among the adapters.
func (s *Server) publish(ctx context.Context, staging *staging, folder, name string, as publication, audit *auditEntry) (entry catalogue.Entry, created bool, err error) {
	var digest string // of the new version
	entry, err = s.swap(ctx, catalogue.Candidate{
		Name: name, URI: folder, As: as.role,
		Move: func() (place string, err error) {
			old, unknown := s.catalogue.Lookup(name)
			audit.publishes(old, unknown == nil)
			if as.role != catalogue.Live && old.Digest == digest {
				return "", conflict("version_is_live", "version %s of adapter %q is the live one", digest, name)
			}
			place, created, err = s.place(staging, name, folder, digest, as)
			return place, err
		},
	}, func(of string) error {
		digest = of
		return disk.SyncAll(folder)
	})
	if err == nil {
		audit.becomes(entry.Digest)
	}
	return entry, created, err
}

// swap has a candidate that lies in a folder take its place once it has passed its
// checks. A fault of the adapter is a 422; one of prepare, which is told its digest,
// and of its Move is not.
func (s *Server) swap(ctx context.Context, candidate catalogue.Candidate, prepare func(digest string) error) (catalogue.Entry, error) {
	name, move := candidate.Name, candidate.Move
	var fault error // of the disk
	var digest string
	candidate.Check = func(ctx context.Context, a catalogue.Adapter) error {
		digest = a.Digest()
		if _, _, err := s.templates.of(ctx, []templateUser{{name, digest}}, a.ChatTemplate(), s.textOf(a)); err != nil {
			return unusable(err)
		}
		fault = prepare(digest)
		return fault
	}
	candidate.Probe = s.probe(name)
	candidate.Move = func() (place string, err error) {
		place, fault = move()
		return place, fault
	}
	entry, err := s.catalogue.Swap(ctx, candidate)
	if err != nil {
		s.templates.forget(name, digest)
	}
	switch {
	case err == nil:
		return entry, nil
	case ctx.Err() != nil:
		return entry, context.Cause(ctx)
	case fault != nil:
		return entry, fault
	}
	return entry, refusedUpload(name, candidate.URI, err)
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

// moveInto moves a folder to its name among the adapters, in the place of what
// was uploaded before, and of nothing else. What has the name is looked at where it
// lies, and again when it has been taken from there: a run may have begun in it.
func moveInto(staging *staging, name, folder string) (place string, created bool, err error) {
	place = filepath.Join(staging.adapters, name)
	replaceable := func(old string) error { return nameTaken(name, old) }
	if created = !exists(place); !created {
		if err := replaceable(place); err != nil {
			return "", false, err
		}
	}
	return place, created, staging.place(folder, name, replaceable)
}

// nameTaken refuses to replace a folder that is not what was uploaded.
func nameTaken(name, folder string) error {
	if isUploaded(folder) {
		return nil
	}
	f := &failure{status: http.StatusConflict, kind: invalidRequest, code: "name_taken", param: "name"}
	switch {
	case exists(filepath.Join(folder, adapters.RunMark)):
		f.code = "run_folder"
		f.message = fmt.Sprintf("%q in the adapters' folder is where peft-train writes to (%s), and what else a run has there would be lost: give this adapter another name; what the run writes there is served without an upload", name, adapters.RunMark)
	case !catalogue.Holds(folder):
		f.message = fmt.Sprintf("%q in the adapters' folder is no adapter: give this one another name, or move that away", name)
	default:
		f.message = fmt.Sprintf("%q in the adapters' folder was not uploaded, or has been written to since: give this adapter another name, or move that away; it stays as it is", name)
	}
	return f
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

// uploadOf is the body of an upload, at most the configured size, as long as it
// keeps coming.
func (s *Server) uploadOf(c *fiber.Ctx) (*limitedUpload, error) {
	limit := callerOf(c).limits.UploadLimit
	body := c.Context().RequestBodyStream()
	if body == nil {
		return nil, invalid("", "the request body is empty: send a .tar.zst or .tar.gz of the adapter's folder")
	}
	slow := &slowUpload{r: body, conn: c.Context().Conn(), stall: s.intake.stall, until: time.Now().Add(s.config.UploadTimeout)}
	return &limitedUpload{slow, limit, limit}, nil
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

// got is how much has been read.
func (l *limitedUpload) got() int64 { return l.limit - l.left }

// adapterRoot is the folder that holds the configuration: the archive's top,
// or the one folder there.
func adapterRoot(dir string) (string, error) {
	if catalogue.Holds(dir) {
		return dir, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	if len(entries) == 1 && entries[0].IsDir() && catalogue.Holds(filepath.Join(dir, entries[0].Name())) {
		return filepath.Join(dir, entries[0].Name()), nil
	}
	return "", &failure{
		status: http.StatusUnprocessableEntity, kind: invalidRequest, code: "archive_refused",
		message: "the archive has neither adapter_config.json nor a .gguf file at its top or in its only folder: send the folder that PEFT's save_pretrained wrote, or the file of llama.cpp's converter",
	}
}

// discard removes a staging. What cannot be removed is left to the next start.
func (s *Server) discard(staging *staging) {
	if err := staging.remove(); err != nil {
		s.config.Log.Warn("an upload's folder cannot be removed", "folder", staging.dir, "error", err)
	}
}
