package adapters

import (
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/gguf"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// drawer is a Method of whose adapters a part is in no file: it is drawn from a
// seed, and may be many times as large as the files.
type drawer interface {
	drawn(base models.Model) (bytes int)
}

var _ drawer = (*vera)(nil)

// FolderBytes is the memory that reading the adapter in dir takes, as its files
// tell before they are read, with its factors in a precision; those of a GGUF file are
// counted as they are in it. The tensors' file is read whole. What is wrong with the
// folder shows when it is opened.
func FolderBytes(base models.Model, dir string, in Precision) (bytes int) {
	if file, _ := GGUFIn(dir); file != "" {
		return ggufBytes(file)
	}
	for _, name := range []string{SafeFile, TorchFile} {
		if stat, err := os.Stat(filepath.Join(dir, name)); err == nil {
			bytes = int(stat.Size())
			break
		}
	}
	raw, _, err := readConfig(dir)
	if err != nil {
		return bytes
	}
	c, err := ParseConfig(raw)
	if err != nil {
		return bytes
	}
	if d, ok := c.Method.(drawer); ok {
		bytes += d.drawn(base)
	}
	if in != AsStored {
		bytes -= roundedAway(base, c, filepath.Join(dir, SafeFile), in)
	}
	return bytes
}

// roundedAway is by how much less rounding its factors makes an adapter take than
// its file has; 0 where that is not known before it is read.
func roundedAway(base models.Model, c *Config, path string, in Precision) (bytes int) {
	file, err := safetensors.Open(path)
	if err != nil {
		return 0
	}
	defer func() { _ = file.Close() }()
	tensors := map[string]safetensors.Tensor{}
	for t := range file.All() {
		tensors[t.Name] = t
	}
	b, err := layOut(base, c, tensors, in)
	if err != nil {
		return 0
	}
	for _, p := range b.params {
		t, there := tensors[p.Name]
		if format, ok := t.Format(); there && ok && slices.Equal(t.Shape, p.Shape) {
			bytes += format.RowBytes(p.Len()) - b.heldIn(p, format).RowBytes(p.Len())
		}
	}
	return bytes
}

// What parsing takes for each byte of a file of that kind, the largest factors
// that were found (TestReadingIsBounded).
const (
	perHeaderByte    = 16  // of a safetensors file
	perGGUFByte      = 64  // of what is not tensors
	perConfigByte    = 256 // of a rank_pattern, whose keys are patterns
	perBesideByte    = 20
	perTokenizerByte = 20
	perTorchByte     = 24 // of a small file, that is all pickle
	maxTorchObjects  = 256 << 20
	perTorchTensor   = 5 // with copies of what is strided
)

// ReadingBytes is the memory that reading the adapter in dir takes beside what
// FolderBytes tells, until it has been read: its files as they are, and what is
// made of them in parsing. A tokenizer that is built takes more: see
// [Tokenizers].
func ReadingBytes(dir string) (bytes int) {
	size := func(name string) int {
		stat, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			return 0
		}
		return int(stat.Size())
	}
	if file, _ := GGUFIn(dir); file != "" {
		bytes = ggufReading(file)
	} else if tensors := size(SafeFile); tensors > 0 {
		bytes = tensors + perHeaderByte*headerBytes(filepath.Join(dir, SafeFile), tensors)
	} else {
		file := size(TorchFile)
		bytes = min(perTorchByte*file, perTorchTensor*file+maxTorchObjects)
	}
	bytes += perConfigByte * min(size(ConfigFile), maxConfig)
	for _, name := range []string{generationFile, "tokenizer_config.json", "special_tokens_map.json"} {
		bytes += perBesideByte * min(size(name), maxBeside)
	}
	return bytes + size("tokenizer.json")
}

// headerBytes is the length of a safetensors file's header, as the file says.
func headerBytes(path string, most int) int {
	file, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer func() { _ = file.Close() }()
	var length [8]byte
	if _, err := io.ReadFull(file, length[:]); err != nil {
		return 0
	}
	return int(min(binary.LittleEndian.Uint64(length[:]), uint64(most)))
}

// ggufReading is what reading a GGUF file takes beside its tensors: the file, what is
// parsed of it, and copies of tensors that are put into another order or, of Q8_0,
// widened before.
func ggufReading(path string) int {
	stat, err := os.Stat(path)
	if err != nil {
		return 0
	}
	file, err := gguf.Open(path)
	if err != nil {
		return int(stat.Size())
	}
	defer func() { _ = file.Close() }()
	head, copies := int(stat.Size()), 0
	for _, t := range file.Tensors() {
		head -= len(t.Data)
		if format, ok := t.Type.Format(); ok && format == kernels.Q8_0 {
			copies += 8 * t.Len()
		} else {
			copies += len(t.Data)
		}
	}
	return int(stat.Size()) + copies + perGGUFByte*max(head, 0)
}
