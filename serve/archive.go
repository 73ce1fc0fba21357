package serve

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/peft-serve/peft-serve/internal/disk"
)

// archiveLimits bound what an upload may unpack to.
type archiveLimits struct {
	Bytes int64 // of all files together
	Files int   // entries, folders included
	Depth int   // folders in a path
}

// errUpload is a connection that broke while the archive came in.
var errUpload = errors.New("the upload ended too early")

// unpack writes the files of a .tar.zst or .tar.gz into an empty folder.
// Nothing is written outside of it, and only plain files and folders are:
// any other entry is refused by name.
func unpack(dir string, archive io.Reader, limits archiveLimits) error {
	plain, err := decompress(archive)
	if err != nil {
		return err
	}
	defer func() { _ = plain.Close() }()
	return unpackTar(dir, plain, limits)
}

func unpackTar(dir string, plain io.Reader, limits archiveLimits) error {
	left := limits.Bytes
	entries := tar.NewReader(plain)
	for count := 0; ; count++ {
		header, err := entries.Next()
		if err == io.EOF {
			return unpackTail(plain)
		}
		if err != nil {
			return unreadable("", err)
		}
		if count == limits.Files {
			return refusedEntry(header.Name, "is one too many: an adapter has at most %d files", limits.Files)
		}
		if err := unpackEntry(dir, entries, header, &left, limits); err != nil {
			return err
		}
	}
}

// maxTail is how much may follow the last entry: tar fills blocks up.
const maxTail = 1 << 20

// unpackTail reads what follows the last entry, for the checksum that stands at
// the end of what was compressed.
func unpackTail(plain io.Reader) error {
	n, err := io.Copy(io.Discard, io.LimitReader(plain, maxTail+1))
	if err != nil {
		return unreadable("", err)
	}
	if n > maxTail {
		return unreadable("", fmt.Errorf("more than %d bytes follow its last entry", maxTail))
	}
	return nil
}

func unpackEntry(dir string, body io.Reader, header *tar.Header, left *int64, limits archiveLimits) error {
	if header.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, fault := entryName(header.Name, limits.Depth)
	if fault != "" {
		return refusedEntry(header.Name, "%s", fault)
	}
	switch header.Typeflag {
	case tar.TypeDir:
		return refusedBy(disk.MkdirAll(path.Join(dir, name)), header.Name, "cannot be made a folder")
	case tar.TypeReg:
		if name == "." {
			return refusedEntry(header.Name, "is not a usable name for a file")
		}
	default:
		return refusedEntry(header.Name, "is %s: an adapter has only plain files and folders", entryKind(header.Typeflag))
	}
	if parent := path.Dir(name); parent != "." {
		if err := disk.MkdirAll(path.Join(dir, parent)); err != nil {
			return refusedBy(err, header.Name, "cannot be put into "+parent)
		}
	}
	if header.Size > *left {
		return tooMuch(header.Name, limits)
	}
	file, err := disk.Create(path.Join(dir, name))
	if errors.Is(err, fs.ErrExist) {
		return refusedEntry(header.Name, "is in the archive twice")
	}
	if err != nil {
		return refusedBy(err, header.Name, "cannot be written")
	}
	written, err := io.Copy(file, body) // as much as the header says
	*left -= written
	closed := file.Close()
	switch {
	case ofDisk(err):
		return err
	case err != nil:
		return unreadable(header.Name, err)
	}
	return closed
}

// refusedBy is the refusal of an entry that the file system does not take;
// where that is not for its name, it is the disk's fault.
func refusedBy(err error, entry, what string) error {
	if err == nil || ofDisk(err) {
		return err
	}
	return refusedEntry(entry, "%s: %s", what, cause(err))
}

func tooMuch(entry string, limits archiveLimits) *failure {
	return &failure{
		status: http.StatusRequestEntityTooLarge, kind: invalidRequest, code: "archive_too_large",
		message: fmt.Sprintf("the archive unpacks to more than %d bytes at entry %q: send less, or raise --upload-limit", limits.Bytes, entry),
	}
}

// entryName is the path of an entry inside the folder, or what is wrong with
// it.
func entryName(name string, depth int) (clean, fault string) {
	clean = path.Clean(strings.TrimSuffix(name, "/"))
	switch {
	case name == "" || len(name) > 512 || strings.ContainsAny(name, "\x00\\:"):
		return "", "is not a usable name for a file"
	case path.IsAbs(name):
		return "", "has an absolute path"
	case !filepath.IsLocal(clean):
		return "", "leads out of the adapter's folder"
	case strings.Count(clean, "/") > depth:
		return "", fmt.Sprintf("lies more than %d folders deep", depth)
	}
	return clean, ""
}

func entryKind(kind byte) string {
	switch kind {
	case tar.TypeLink:
		return "a hard link"
	case tar.TypeSymlink:
		return "a symbolic link"
	case tar.TypeChar, tar.TypeBlock:
		return "a device"
	case tar.TypeFifo:
		return "a pipe"
	}
	return fmt.Sprintf("an entry of type %q", string(kind))
}

// decompress finds the format by the archive's first bytes.
func decompress(r io.Reader) (io.ReadCloser, error) {
	buffered := bufio.NewReaderSize(r, 64<<10)
	magic, err := buffered.Peek(4)
	if err != nil && err != io.EOF {
		return nil, errors.Join(errUpload, err)
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, unreadable("", err)
		}
		return z, nil
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(buffered, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return nil, unreadable("", err)
		}
		return z.IOReadCloser(), nil
	}
	return nil, &failure{
		status: http.StatusUnsupportedMediaType, kind: invalidRequest, code: "archive_format",
		message: "the request body is neither .tar.zst nor .tar.gz: send an archive of the adapter's folder, as tar -czf makes it",
	}
}

func refusedEntry(name, format string, args ...any) *failure {
	return &failure{
		status: http.StatusUnprocessableEntity, kind: invalidRequest, code: "archive_refused",
		message: fmt.Sprintf("the archive's entry %q ", name) + fmt.Sprintf(format, args...),
	}
}

func unreadable(entry string, err error) *failure {
	var itself *failure
	if errors.As(err, &itself) {
		return itself
	}
	where := "the archive cannot be read"
	if entry != "" {
		where = fmt.Sprintf("the archive's entry %q cannot be read", entry)
	}
	return &failure{status: http.StatusUnprocessableEntity, kind: invalidRequest, code: "archive_refused", message: fmt.Sprintf("%s: %s", where, err)}
}

// cause is an error without the path, which is the server's own business.
func cause(err error) error {
	var inPath *fs.PathError
	var between *os.LinkError
	switch {
	case errors.As(err, &inPath):
		return inPath.Err
	case errors.As(err, &between):
		return between.Err
	}
	return err
}
