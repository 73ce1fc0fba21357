package serve

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/internal/disk"
	"github.com/peft-serve/peft-serve/memory"
)

// The first upload of a name lies in the folder of that name. Where versions are
// kept, the one that replaces it goes to a folder of its own digest, the alias is
// written, in one step, and the first one moves beside it: docs/adr/0018.

func conflict(code, format string, args ...any) *failure {
	return &failure{status: http.StatusConflict, kind: invalidRequest, code: code, message: fmt.Sprintf(format, args...)}
}

// publication is what an upload is to be: live, a canary, or kept.
type publication struct {
	role    catalogue.Role
	percent float64
}

// publicationOf reads the query of an upload.
func publicationOf(c *fiber.Ctx) (p publication, err error) {
	for key := range c.Context().QueryArgs().All() {
		if name := string(key); name != "canary" {
			return p, invalid(name, "%s is not a query parameter of this request: there is only canary", name)
		}
	}
	if !c.Context().QueryArgs().Has("canary") {
		return p, nil
	}
	p.percent, err = strconv.ParseFloat(c.Query("canary"), 64)
	switch {
	case err != nil || !(p.percent >= 0 && p.percent <= 100):
		return p, invalid("canary", "the query parameter canary is no number from 0 to 100: give the share of the sessions that the version is to answer, 0 to keep it only")
	case p.percent == 0:
		p.role = catalogue.Kept
	default:
		p.role = catalogue.Canary
	}
	return p, nil
}

// publishable refuses an upload that cannot be what its query says.
func (s *Server) publishable(c *fiber.Ctx) error {
	p, err := publicationOf(c)
	switch {
	case err != nil:
		return err
	case p.role == catalogue.Kept && s.config.KeepVersions == 0:
		return conflict("no_versions_kept", "the server keeps no versions that nobody is answered by: start it with --keep-versions")
	case p.role == catalogue.Canary && s.config.Aliases != "":
		return s.redirectable()
	}
	return c.Next()
}

// redirectable refuses to write an alias where an operator does.
func (s *Server) redirectable() error {
	switch {
	case s.config.Aliases != "":
		return conflict("alias_of_operator", "which versions answer is said by the files in the folder of --aliases, which the server does not write: upload with ?canary=0, and change the file there")
	case s.config.Adapters == "":
		return conflict("no_adapter_folder", "the server has no folder to keep versions in: start it with --adapters")
	}
	return nil
}

// aliasFile is where the alias of a name lies.
func (s *Server) aliasFile(name string) string {
	if s.config.Aliases != "" {
		return catalogue.AliasFile(s.config.Aliases, name)
	}
	return catalogue.AliasFile(filepath.Join(s.config.Adapters, catalogue.AliasesFolder), name)
}

// aliasOf is the alias of a name, as its file says it now.
func (s *Server) aliasOf(name string) (catalogue.Alias, error) {
	a, err := catalogue.ReadAlias(s.aliasFile(name))
	if err != nil && !ofDisk(err) {
		return a, conflict("alias_broken", "%s", err)
	}
	return a, err
}

// setAlias has an alias hold, in one step, and puts away what nobody is answered
// by any more.
func (s *Server) setAlias(staging *staging, name string, a catalogue.Alias) error {
	if err := s.redirectable(); err != nil {
		return err
	}
	if err := s.writeAlias(staging, name, a.Text()); err != nil {
		return err
	}
	if err := s.tidy(staging, name, a, ""); err != nil {
		s.config.Log.Warn("versions that are not kept any more cannot be removed", "adapter", name, "error", err)
	}
	return nil
}

// writeAlias writes the file of an alias; an empty one is removed. After an error
// it is as it was.
func (s *Server) writeAlias(staging *staging, name string, text []byte) error {
	path := s.aliasFile(name)
	before, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := putAlias(staging, path, text); err != nil {
		if now, _ := os.ReadFile(path); string(now) != string(before) {
			err = errors.Join(err, putAlias(staging, path, before))
		}
		return err
	}
	return nil
}

func putAlias(staging *staging, path string, text []byte) error {
	folder := filepath.Dir(path)
	if len(text) == 0 {
		if !exists(path) {
			return nil
		}
		return errors.Join(disk.Remove(path), disk.Sync(folder))
	}
	made := filepath.Join(staging.dir, "alias")
	if err := errors.Join(disk.MkdirAll(folder), disk.Write(made, text)); err != nil {
		return err
	}
	if err := disk.Rename(made, path); err != nil {
		return err
	}
	return disk.Sync(folder)
}

// place gives an upload, whose digest that is, its place, and its role.
func (s *Server) place(staging *staging, name, folder, digest string, as publication) (place string, created bool, err error) {
	plain := filepath.Join(s.config.Adapters, name)
	if file := catalogue.PlaceOf(s.config.Adapters, name); file != plain {
		return "", false, nameTaken(name, file)
	}
	alias, err := s.aliasOf(name)
	if err != nil {
		return "", false, err
	}
	versions := catalogue.VersionsOnDisk(s.config.Adapters, name)
	if alias.Live != "" && len(versions) == 0 && !exists(plain) { // a DELETE that was not ended has left it
		if alias = (catalogue.Alias{}); s.config.Aliases == "" {
			if err := s.writeAlias(staging, name, nil); err != nil {
				return "", false, err
			}
		}
	}
	keeps := s.config.KeepVersions > 0 && exists(plain)
	switch {
	case as.role != catalogue.Live && alias.Live == digest:
		return "", false, conflict("version_is_live", "version %s of adapter %q is the live one", digest, name)
	case as.role == catalogue.Live && alias == (catalogue.Alias{}) && !keeps:
		return moveInto(staging, name, folder)
	case as.role == catalogue.Live:
		if err := s.redirectable(); err != nil {
			return "", false, err
		}
		if alias.Live == "" && exists(plain) {
			if err := nameTaken(name, plain); err != nil {
				return "", false, err
			}
		}
	}
	place, undo, err := staging.placeVersion(folder, name, digest)
	if err != nil {
		return "", false, err
	}
	switch as.role {
	case catalogue.Live:
		err = s.setAlias(staging, name, withLive(alias, digest))
	case catalogue.Canary:
		err = s.setAlias(staging, name, withCanary(alias, digest, as.percent))
	case catalogue.Kept:
		if err := s.tidy(staging, name, alias, digest); err != nil {
			s.config.Log.Warn("versions that are not kept any more cannot be removed", "adapter", name, "error", err)
		}
	}
	if err != nil {
		return "", false, errors.Join(err, undo())
	}
	return place, false, nil
}

// placeVersion gives a folder of the staging the place of a version. An upload of
// the same digest, which may have had another template, goes.
func (s *staging) placeVersion(folder, name, digest string) (place string, undo func() error, err error) {
	place = catalogue.VersionFolder(s.adapters, name, digest)
	if err := disk.MkdirAll(filepath.Dir(place)); err != nil {
		return "", nil, err
	}
	replaceable := func(old string) error {
		if !isUploaded(old) {
			return conflict("version_exists", "version %s of adapter %q is there, and was not uploaded, or has been written to since: POST /v1/adapters/%s/rollback makes it live", digest, name, name)
		}
		return nil
	}
	existed := exists(place)
	if existed {
		if err := replaceable(place); err != nil {
			return "", nil, err
		}
	}
	if err := disk.Place(folder, place, filepath.Join(s.dir, asidePrefix+name+"@"+digest), replaceable); err != nil {
		return "", nil, err
	}
	return place, func() error {
		if existed {
			return nil // its twin
		}
		return disk.Rename(place, folder)
	}, nil
}

// tidy moves what the folder of a name holds, and its alias no longer means, to
// the other versions, and takes those away, the oldest uploads first, that are
// more than are kept. Fresh is one that has just come. What was not uploaded stays.
func (s *Server) tidy(staging *staging, name string, a catalogue.Alias, fresh string) error {
	if plain := filepath.Join(s.config.Adapters, name); a.Live != "" && isUploaded(plain) {
		if err := s.adopt(staging, name, plain); err != nil {
			return err
		}
	}
	type idle struct {
		digest string
		at     time.Time
	}
	var kept []idle
	for _, digest := range catalogue.VersionsOnDisk(s.config.Adapters, name) {
		at, uploaded := uploadedAt(catalogue.VersionFolder(s.config.Adapters, name, digest))
		if uploaded && digest != a.Live && digest != a.Canary && digest != fresh {
			kept = append(kept, idle{digest, at})
		}
	}
	most := s.config.KeepVersions
	if fresh != "" && fresh != a.Canary {
		most--
	}
	if len(kept) <= most {
		return nil
	}
	slices.SortFunc(kept, func(a, b idle) int { return b.at.Compare(a.at) })
	for _, v := range kept[most:] {
		if err := disk.Rename(catalogue.VersionFolder(s.config.Adapters, name, v.digest), filepath.Join(staging.dir, "old-"+v.digest)); err != nil {
			return err
		}
	}
	return disk.Sync(filepath.Join(s.config.Adapters, catalogue.VersionsFolder, name))
}

// adopt moves the upload in the folder of a name to its other versions. One that
// is there already, or cannot be read, goes.
func (s *Server) adopt(staging *staging, name, plain string) error {
	place := filepath.Join(staging.dir, "old")
	switch digest, err := s.digestOf(plain); {
	case errors.Is(err, memory.ErrFull):
		return err
	case err == nil:
		if own := catalogue.VersionFolder(s.config.Adapters, name, digest); !exists(own) {
			place = own
		}
	}
	if err := disk.MkdirAll(filepath.Dir(place)); err != nil {
		return err
	}
	if err := disk.Rename(plain, place); err != nil {
		return err
	}
	if !isUploaded(place) { // a run has begun in it
		return errors.Join(notUploaded(name), disk.Rename(place, plain))
	}
	if err := disk.Sync(filepath.Dir(place)); err != nil {
		return errors.Join(err, disk.Rename(place, plain))
	}
	return disk.Sync(s.config.Adapters)
}

// digestWait is how long an adapter waits for the memory to be read in.
const digestWait = 10 * time.Second

// digestOf reads the adapter in a folder for its digest.
func (s *Server) digestOf(folder string) (string, error) {
	ctx, cancel := context.WithTimeout(s.ctx, digestWait)
	defer cancel()
	release, err := s.memory.Take(ctx, memory.Reading, int64(adapters.ReadingBytes(folder)))
	if err != nil {
		return "", err
	}
	defer release()
	f, err := adapters.Open(folder)
	if err != nil {
		return "", err
	}
	return f.Digest(), nil
}

// takeFiles takes the files of an adapter away that PUT has written, the live
// version last, and returns where they are until they are removed. What else lies
// there keeps all.
func (s *Server) takeFiles(name string, live string) (taken []string, err error) {
	root := s.config.Adapters
	plain, versions := filepath.Join(root, name), filepath.Join(root, catalogue.VersionsFolder, name)
	live, err = filepath.Abs(live)
	if err == nil && live == catalogue.PlaceOf(root, name) && live != plain {
		return nil, notUploaded(name)
	}
	if err != nil || root == "" || live != plain && filepath.Dir(live) != versions { // another name's folder stays
		return nil, err
	}
	places := []string{versions, plain}
	if live != plain {
		slices.Reverse(places)
	}
	places = slices.DeleteFunc(places, func(place string) bool { return !exists(place) })
	for _, place := range places {
		if !ownUpload(place, place == versions) {
			return nil, notUploaded(name)
		}
	}
	for _, place := range places {
		at, err := takeAway(root, place, func(at string) error {
			if !ownUpload(at, place == versions) {
				return notUploaded(name)
			}
			return nil
		})
		if err != nil {
			for i := len(taken) - 1; i >= 0; i-- {
				err = errors.Join(err, disk.Rename(taken[i], places[i]))
			}
			return nil, takenFault(err)
		}
		taken = append(taken, at)
	}
	if path := s.aliasFile(name); s.config.Aliases == "" && exists(path) { // without a version it means nothing
		if err := errors.Join(disk.Remove(path), disk.Sync(filepath.Dir(path))); err != nil {
			s.config.Log.Warn("the alias of a deleted adapter cannot be removed", "adapter", name, "file", path, "error", err)
		}
	}
	return taken, nil
}

// ownUpload reports whether a folder was uploaded, or holds nothing but versions
// that were.
func ownUpload(folder string, versions bool) bool {
	if !versions {
		return isUploaded(folder)
	}
	entries, err := os.ReadDir(folder)
	return err == nil && !slices.ContainsFunc(entries, func(e os.DirEntry) bool { return !isUploaded(filepath.Join(folder, e.Name())) })
}
