package adapters

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/peft-serve/peft-serve/internal/regular"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/chat"
	"github.com/peft-serve/peft-serve/models/safetensors"
	"github.com/peft-serve/peft-serve/models/torchfile"
)

// The names under which PEFT saves an adapter's tensors.
const (
	SafeFile  = "adapter_model.safetensors"
	TorchFile = "adapter_model.bin"
)

// RunMark is the file by which the folder that a training run writes to is
// known, whether or not there is an adapter in it yet. Nobody replaces such a
// folder as a whole: metrics and checkpoints lie in it too.
const RunMark = "peft-train.json"

// The most bytes of a configuration, and of what a tokenizer or a template may
// have beside it: a tokenizer_config.json that lists all of its tokens is large.
const (
	maxConfig = 1 << 20
	maxBeside = 16 << 20
)

// Folder is an adapter on disk, read into memory: what happens to the files
// afterwards does not show.
type Folder struct {
	Dir    string
	Config *Config

	tensors      map[string]safetensors.Tensor
	stored       *models.Architecture // of a GGUF file, in whose order they are; nil: they are in PEFT's
	digest       string
	chatTemplate chat.Source
	tokenizer    bool // there is a tokenizer.json
	ends         []endToken
	sampling     SamplingDefaults
}

// Open reads the adapter in dir: its configuration, and its tensors from
// SafeFile or, where that is absent, from TorchFile. A file of llama.cpp's is read, too:
// see GGUFIn.
func Open(dir string) (*Folder, error) {
	f, err := open(dir)
	if errors.Is(err, fs.ErrNotExist) && scheme.MatchString(dir) {
		return nil, fmt.Errorf("%s is a URI, and an adapter is read from a folder here: %w", dir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return f, nil
}

// scheme is how a URI begins, also where it was cleaned as a path is.
var scheme = regexp.MustCompile(`(^|/)(builtin|hf|oci|s3|https?):/`)

func open(dir string) (*Folder, error) {
	f := &Folder{Dir: dir}
	file, err := GGUFIn(dir)
	if err != nil {
		return nil, err
	}
	var version fs.FileInfo
	if file != "" {
		version, err = f.readGGUF(file)
	} else {
		file = filepath.Join(dir, ConfigFile)
		version, err = f.readPEFT()
	}
	if err != nil {
		return nil, err
	}
	dropCopies(f.tensors)
	if file != dir {
		if err := f.readBeside(); err != nil {
			return nil, err
		}
	}
	// Save takes the old configuration away before it puts new tensors in
	// place, so a configuration that is still there, the very file, belongs to
	// the tensors.
	again, err := os.Stat(file)
	if err != nil || !os.SameFile(again, version) || !again.ModTime().Equal(version.ModTime()) {
		return nil, fmt.Errorf("%w: the folder changed while it was read", ErrConfig)
	}
	if f.digest = digest(f.Config, f.tensors); f.stored != nil {
		f.digest = storedDigest(f.stored.GGUF(), f.digest)
	}
	return f, nil
}

// readPEFT reads the configuration and the tensors as PEFT saves them.
func (f *Folder) readPEFT() (version fs.FileInfo, err error) {
	config, version, err := readConfig(f.Dir)
	if err != nil {
		return nil, err
	}
	if f.Config, err = ParseConfig(config); err != nil {
		return nil, fmt.Errorf("%s: %w", ConfigFile, err)
	}
	f.tensors, err = readTensors(f.Dir)
	return version, err
}

// readBeside reads what else an adapter may bring.
func (f *Folder) readBeside() (err error) {
	dir := f.Dir
	if f.Config.Classes, err = ReadClasses(dir, f.Config); err != nil {
		return err
	}
	if f.chatTemplate, err = readTemplate(dir); err != nil {
		return err
	}
	if f.ends, err = readEnds(dir); err != nil {
		return err
	}
	if f.sampling, err = readSampling(dir); err != nil {
		return err
	}
	f.tokenizer, err = hasTokenizer(dir)
	return err
}

// readConfig returns the configuration and the file it was read from.
func readConfig(dir string) ([]byte, fs.FileInfo, error) {
	path := filepath.Join(dir, ConfigFile)
	if err := regular.Check(path, maxConfig); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	defer func() { _ = file.Close() }()
	stat, err := file.Stat()
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	b := make([]byte, stat.Size())
	if _, err := io.ReadFull(file, b); err != nil {
		return nil, nil, fmt.Errorf("%w: %s: %w", ErrConfig, ConfigFile, err)
	}
	return b, stat, nil
}

// readTensors reads the whole tensor file into memory, however large it is, and
// parses it there: see FolderBytes.
func readTensors(dir string) (map[string]safetensors.Tensor, error) {
	tensors := map[string]safetensors.Tensor{}
	b, err := regular.Read(filepath.Join(dir, SafeFile), math.MaxInt64)
	if err == nil {
		file, err := safetensors.Parse(SafeFile, b)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrTensor, err)
		}
		for t := range file.All() {
			tensors[t.Name] = t
		}
		return tensors, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", ErrTensor, err)
	}
	b, err = regular.Read(filepath.Join(dir, TorchFile), math.MaxInt64)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: there is neither %s nor %s", ErrTensor, SafeFile, TorchFile)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrTensor, err)
	}
	file, err := torchfile.Parse(TorchFile, b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTensor, err)
	}
	for t := range file.All() {
		tensors[t.Name] = t
	}
	return tensors, nil
}

// readTemplate returns the chat templates that lie in the folder; the zero
// Source where there are none.
func readTemplate(dir string) (chat.Source, error) {
	source, err := chat.Find(dir)
	switch {
	case errors.Is(err, chat.ErrNoTemplate):
		return chat.Source{}, nil
	case err != nil:
		return chat.Source{}, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return source, nil
}

// Digest identifies the content, in lower-case hex: the configuration without
// what does not change the result, and the tensors. The folder's name, the
// file format and the order of keys, lists and tensors do not show in it.
func (f *Folder) Digest() string { return f.digest }

// Tensors lists the names of the tensors, sorted.
func (f *Folder) Tensors() []string {
	names := make([]string, 0, len(f.tensors))
	for n := range f.tensors {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// All returns the tensors, in the order of their names.
func (f *Folder) All() []safetensors.Tensor {
	var all []safetensors.Tensor
	for _, name := range f.Tensors() {
		all = append(all, f.tensors[name])
	}
	return all
}

// NewFolder is an adapter that is on no disk; errors call it name.
func NewFolder(name string, c *Config, tensors []safetensors.Tensor) *Folder {
	f := &Folder{Dir: name, Config: c, tensors: map[string]safetensors.Tensor{}}
	for _, t := range tensors {
		f.tensors[t.Name] = t
	}
	f.digest = digest(c, f.tensors)
	return f
}
