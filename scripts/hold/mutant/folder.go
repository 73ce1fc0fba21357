// Package mutant makes valid folders of bases and adapters into others, which
// may be valid or not: what was damaged on its way, what was written by hand,
// what somebody made to see whether it hurts.
package mutant

import (
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Folder is the files of a folder by name.
type Folder map[string]File

// File is a file's content, or what lies in its place.
type File struct {
	Bytes []byte
	Kind  Kind
}

// Kind is what lies under a file's name; the zero value: a file.
type Kind string

const (
	regular  Kind = ""
	folder   Kind = "folder"
	pipe     Kind = "pipe"
	device   Kind = "link to /dev/zero"
	loop     Kind = "link to itself"
	dangling Kind = "link to nothing"
	linked   Kind = "link to the file" // which is not hostile
	sparse   Kind = "sparse file"      // of the content and many zeros
)

var kinds = []Kind{folder, pipe, device, loop, dangling, linked, sparse}

// sparseSize is what a sparse file has: more than anyone would want to read.
const sparseSize = 1 << 40

// Read reads the files of a folder, not those of the folders in it.
func Read(dir string) (Folder, error) {
	entries, err := os.ReadDir(dir)
	f := Folder{}
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		f[e.Name()] = File{Bytes: b}
	}
	return f, err
}

// ReadTree reads the files of a folder and of those in it, by their paths below it.
func ReadTree(dir string) (Folder, error) {
	f := Folder{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		f[filepath.ToSlash(name)] = File{Bytes: b}
		return err
	})
	return f, err
}

// Names are the files' names, sorted.
func (f Folder) Names() []string { return slices.Sorted(maps.Keys(f)) }

// Size is that of all files, in bytes.
func (f Folder) Size() (n int) {
	for _, file := range f {
		n += len(file.Bytes)
	}
	return n
}

// Write writes the files into dir, which must not be there.
func (f Folder) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, file := range f {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := file.write(path); err != nil {
			return err
		}
	}
	return nil
}

func (f File) write(path string) error {
	switch f.Kind {
	case folder:
		return os.Mkdir(path, 0o755)
	case pipe:
		return syscall.Mkfifo(path, 0o644)
	case device:
		return os.Symlink("/dev/zero", path)
	case loop:
		return os.Symlink(path, path)
	case dangling:
		return os.Symlink(path+".absent", path)
	case linked:
		return errors.Join(os.WriteFile(path+".target", f.Bytes, 0o644), os.Symlink(filepath.Base(path)+".target", path))
	case sparse:
		return errors.Join(os.WriteFile(path, f.Bytes, 0o644), os.Truncate(path, sparseSize))
	}
	return os.WriteFile(path, f.Bytes, 0o644)
}

// Mutate returns a mutant of f, which stays as it is, and says what was done.
func Mutate(draw *rand.Rand, f Folder) (Folder, []string) {
	f = maps.Clone(f)
	var done []string
	times := 1 + draw.IntN(10)/6 + draw.IntN(10)/9
	for range times {
		names := f.Names()
		if len(names) == 0 {
			break
		}
		name := names[draw.IntN(len(names))]
		done = append(done, name+": "+f.mutate(draw, name))
	}
	return f, done
}

// mutate changes one file.
func (f Folder) mutate(draw *rand.Rand, name string) string {
	if draw.IntN(12) == 0 || f[name].Kind != regular {
		return f.replace(draw, name)
	}
	var to []byte
	var did string
	err := fs.ErrInvalid
	if b := f[name].Bytes; draw.IntN(6) > 0 {
		switch {
		case strings.HasSuffix(name, ".json"):
			to, did, err = mutateJSON(draw, b)
		case strings.HasSuffix(name, ".safetensors"):
			to, did, err = mutateTensors(draw, b)
		case strings.HasSuffix(name, ".gguf"):
			to, did, err = mutateGGUF(draw, b)
		}
	}
	if err != nil { // it is no such file, or was one
		to, did = Bytes(draw, f[name].Bytes)
	}
	f[name] = File{Bytes: to}
	return did
}

// replace puts something else in a file's place.
func (f Folder) replace(draw *rand.Rand, name string) string {
	switch draw.IntN(4) {
	case 0:
		delete(f, name)
		return "removed"
	case 1:
		names := f.Names()
		other := names[draw.IntN(len(names))]
		f[name] = f[other]
		return "the content of " + other
	}
	k := kinds[draw.IntN(len(kinds))]
	f[name] = File{f[name].Bytes, k}
	return string(k)
}

// Bytes changes any file, whatever is in it.
func Bytes(draw *rand.Rand, b []byte) ([]byte, string) {
	b = slices.Clone(b)
	if len(b) == 0 {
		return []byte{0}, "a zero"
	}
	at := draw.IntN(len(b))
	if draw.IntN(2) == 0 { // where headers are
		at = draw.IntN(min(len(b), 64))
	}
	some := min(1+draw.IntN(64), len(b)-at)
	switch draw.IntN(8) {
	case 0:
		return b[:at], "cut short"
	case 1:
		return nil, "emptied"
	case 2:
		return slices.Delete(b, at, at+some), "bytes left out"
	case 3:
		return slices.Insert(b, at, slices.Clone(b[at:at+some])...), "bytes repeated"
	case 4:
		return append(b, make([]byte, some)...), "zeros after the end"
	case 5:
		for i := range some {
			b[at+i] = byte(draw.Uint32())
		}
		return b, "bytes replaced"
	case 6:
		b[at] = [...]byte{0, 0xff, 0x7f, 0x80}[draw.IntN(4)]
		return b, "a byte replaced"
	}
	b[at] ^= 1 << draw.IntN(8)
	return b, "a bit flipped"
}
