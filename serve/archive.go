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
	"strconv"
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

// An archive that unpacks to more than freeRatio bytes, and to more than maxRatio
// times what has been sent of it, is a bomb. Adapters of zeros or ones, as BitFit
// and IA3 begin, pack to nearly nothing, and have so many bytes only where
// something else is there too: what LoRA's A holds is random.
const (
	freeRatio = 64 << 20
	maxRatio  = 200
)

// errUpload is a connection that broke while the archive came in.
var errUpload = errors.New("the upload ended too early")

// unpacking is an archive on its way into an empty folder.
type unpacking struct {
	dir    string
	limits archiveLimits
	room   func(bytes int64) error // asked for disk space before it is written to; nil: not
	packed func() int64            // what has been sent so far; nil: the ratio is not bounded
	whole  int64                   // what will have been sent in all; 0: not known
	spend  func(bytes int) error   // waits for the time to write them; nil: there always is
	memory func(window int64) (release func(), err error)

	written int64
	roomy   int64 // for how much there is room
}

// unpack writes the files of a .tar.zst, .tar.gz or .tar. Nothing is written outside of
// the folder, and only plain files and folders are: any other entry is refused by
// name.
func (u *unpacking) unpack(archive io.Reader) error {
	plain, err := u.decompress(archive)
	if err != nil {
		return err
	}
	defer plain.close()
	return u.unpackTar(plain)
}

func (u *unpacking) unpackTar(plain io.Reader) error {
	entries := tar.NewReader(plain)
	for count := 0; ; count++ {
		header, err := entries.Next()
		if err == io.EOF {
			return unpackTail(plain)
		}
		if err != nil {
			return unreadable("", err)
		}
		if count == u.limits.Files {
			return refusedEntry(header.Name, "is one too many: an adapter has at most %d files", u.limits.Files)
		}
		if err := u.entry(entries, header); err != nil {
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

func (u *unpacking) entry(body io.Reader, header *tar.Header) error {
	if header.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, fault := entryName(header.Name, u.limits.Depth)
	if fault != "" {
		return refusedEntry(header.Name, "%s", fault)
	}
	switch header.Typeflag {
	case tar.TypeDir:
		return refusedBy(disk.MkdirAll(path.Join(u.dir, name)), header.Name, "cannot be made a folder")
	case tar.TypeReg:
		if name == "." {
			return refusedEntry(header.Name, "is not a usable name for a file")
		}
	default:
		return refusedEntry(header.Name, "is %s: an adapter has only plain files and folders", entryKind(header.Typeflag))
	}
	if parent := path.Dir(name); parent != "." {
		if err := disk.MkdirAll(path.Join(u.dir, parent)); err != nil {
			return refusedBy(err, header.Name, "cannot be put into "+parent)
		}
	}
	if header.Size > u.limits.Bytes-u.written {
		return u.tooMuch(header.Name)
	}
	if u.packed != nil && u.whole > 0 && isBomb(u.written+header.Size, u.whole) {
		return refusedBomb(header.Name)
	}
	return u.file(name, body, header)
}

func (u *unpacking) file(name string, body io.Reader, header *tar.Header) error {
	file, err := disk.Create(path.Join(u.dir, name))
	if errors.Is(err, fs.ErrExist) {
		return refusedEntry(header.Name, "is in the archive twice")
	}
	if err != nil {
		return refusedBy(err, header.Name, "cannot be written")
	}
	_, err = io.Copy(&fileOf{u, header.Name, file}, body) // as much as the header says
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

// roomStep is how much disk space is asked for at a time: what an archive
// announces, and does not send, is nobody's.
const roomStep = 1 << 20

// fileOf is a file that an archive's entry is written to, as long as the archive
// is no bomb.
type fileOf struct {
	archive *unpacking
	entry   string
	file    io.Writer
}

func (f *fileOf) Write(p []byte) (int, error) {
	u := f.archive
	for u.room != nil && u.written+int64(len(p)) > u.roomy {
		if err := u.room(roomStep); err != nil {
			return 0, err
		}
		u.roomy += roomStep
	}
	if u.spend != nil {
		if err := u.spend(len(p)); err != nil {
			return 0, err
		}
	}
	n, err := f.file.Write(p)
	u.written += int64(n)
	if err == nil && u.packed != nil && isBomb(u.written, u.packed()) {
		return n, refusedBomb(f.entry)
	}
	return n, err
}

func isBomb(unpacked, packed int64) bool { return unpacked > freeRatio && unpacked > maxRatio*packed }

func refusedBomb(entry string) *failure {
	return refusedEntry(entry, "unpacks to more than %d times what has been sent: put an adapter that is so empty into the adapters' folder by hand", maxRatio)
}

func (u *unpacking) tooMuch(entry string) *failure {
	return &failure{
		status: http.StatusRequestEntityTooLarge, kind: invalidRequest, code: "archive_too_large",
		message: fmt.Sprintf("the archive unpacks to more than %d bytes at entry %q: send less, or raise --upload-limit", u.limits.Bytes, entry),
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

// The windows of zstd, which a decoder keeps in memory: its levels up to 19 have
// the first at most, and what it decodes at all is the second.
const (
	usualWindow = 8 << 20
	maxWindow   = 128 << 20
)

// decompressed is an archive's plain text. Its close gives all memory back.
type decompressed struct {
	io.Reader
	close func()
}

// decompress finds the format by the archive's first bytes.
func (u *unpacking) decompress(r io.Reader) (*decompressed, error) {
	buffered := bufio.NewReaderSize(r, 64<<10)
	first, err := buffered.Peek(tarBlock)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(errUpload, err)
	}
	switch {
	case bytes.HasPrefix(first, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, unreadable("", err)
		}
		return &decompressed{z, func() { _ = z.Close() }}, nil
	case bytes.HasPrefix(first, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return u.decompressZstd(buffered)
	case isTar(first):
		return &decompressed{buffered, func() {}}, nil
	}
	return nil, &failure{
		status: http.StatusUnsupportedMediaType, kind: invalidRequest, code: "archive_format",
		message: "the request body is neither .tar.zst nor .tar.gz nor .tar: send an archive of the adapter's folder, as tar -czf makes it",
	}
}

// tarBlock is how long the header of an entry is.
const tarBlock = 512

// isTar reports whether an archive begins with an entry of tar, by its checksum:
// the sum of all bytes, those of the checksum itself being spaces.
func isTar(first []byte) bool {
	if len(first) < tarBlock {
		return false
	}
	const from, to = 148, 156
	sum := int64((to - from) * ' ')
	for i, b := range first[:tarBlock] {
		if i < from || i >= to {
			sum += int64(b)
		}
	}
	said, err := strconv.ParseInt(strings.Trim(string(first[from:to]), " \x00"), 8, 64)
	return err == nil && said == sum
}

// decompressZstd sets aside what the first frame's window takes beyond the usual
// one. A later frame with a larger one is refused.
func (u *unpacking) decompressZstd(buffered *bufio.Reader) (*decompressed, error) {
	first, err := buffered.Peek(zstd.HeaderMaxSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(errUpload, err)
	}
	var header zstd.Header
	if err := header.Decode(first); err != nil {
		return nil, unreadable("", err)
	}
	window := max(header.WindowSize, usualWindow)
	if window > maxWindow {
		return nil, unreadable("", fmt.Errorf("it was compressed with a window of %d bytes, and at most %d are decoded: compress it without --long", window, maxWindow))
	}
	release := func() {}
	if u.memory != nil {
		if release, err = u.memory(int64(window - usualWindow)); err != nil {
			return nil, err
		}
	}
	z, err := zstd.NewReader(buffered, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(window))
	if err != nil {
		release()
		return nil, unreadable("", err)
	}
	return &decompressed{z, func() { z.Close(); release() }}, nil
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
