package adapters

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/internal/regular"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/gguf"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// A GGUF file of llama.cpp's may be an adapter (convert_lora_to_gguf.py): LoRA, with
// the base's architecture, alpha, and the factors of each tensor that they act on as
// NAME.lora_a and NAME.lora_b. It says neither targets nor rank: the tensors do. It is
// read as the adapter of PEFT that it was made of.

// GGUFSuffix is how the names of such files end.
const GGUFSuffix = ".gguf"

// GGUFIn is the file of llama.cpp's form that is the adapter at a path: the path
// itself, or the one such file of a folder that has no configuration. Empty: there is
// none, and PEFT's files are looked for.
func GGUFIn(path string) (file string, err error) {
	stat, err := os.Stat(path)
	switch {
	case err != nil:
		return "", nil // who opens it says what is wrong
	case !stat.IsDir() && strings.HasSuffix(path, GGUFSuffix):
		return path, nil
	case !stat.IsDir():
		return "", nil
	}
	if _, err := os.Lstat(filepath.Join(path, ConfigFile)); err == nil {
		return "", nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return "", nil
	}
	for _, e := range entries {
		switch {
		case !strings.HasSuffix(e.Name(), GGUFSuffix) || e.IsDir() || e.Name()[0] == '.':
		case file != "":
			return "", ambiguous(filepath.Base(file), e.Name())
		default:
			file = filepath.Join(path, e.Name())
		}
	}
	return file, nil
}

func ambiguous(one, other string) error {
	return fmt.Errorf("%w: there is no %s, and %s and %s are both there: which is the adapter?", ErrConfig, ConfigFile, one, other)
}

// readGGUF reads the configuration and the tensors of a file.
func (f *Folder) readGGUF(path string) (version fs.FileInfo, err error) {
	version, err = os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTensor, err)
	}
	// It is looked at where it lies before it is read: there are files of any size.
	most, err := ggufMost(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTensor, err)
	}
	b, err := regular.Read(path, most)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTensor, err)
	}
	name := filepath.Base(path)
	file, err := gguf.Parse(name, b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTensor, err)
	}
	defer func() { _ = file.Close() }()
	r := &ggufReader{file: file}
	if err := r.read(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	f.Config, f.tensors, f.stored = r.config, r.tensors, r.architecture
	return version, nil
}

// ggufBeside is the most that a file may have beside the values of its tensors.
const ggufBeside = 16 << 20

// ggufMost is the most bytes that a file with those tensors may have.
func ggufMost(path string) (int64, error) {
	file, err := gguf.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = file.Close() }()
	most := int64(ggufBeside)
	for _, t := range file.Tensors() {
		most += int64(len(t.Data))
	}
	return most, nil
}

// storedDigest is the digest of what a GGUF file holds, which stands in another
// order than PEFT's.
func storedDigest(architecture, digest string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "peft-serve gguf adapter 1\n%s\n%s", architecture, digest))
	return hex.EncodeToString(sum[:])
}

// ggufReader reads a file.
type ggufReader struct {
	file         *gguf.File
	architecture *models.Architecture
	config       *Config
	tensors      map[string]safetensors.Tensor
	ranks        map[string]int // by module
}

const (
	ggufAlpha     = "adapter.lora.alpha"
	ggufInvoked   = "adapter.alora.invocation_tokens"
	ggufKeyPrefix = "adapter."
)

// ggufBases are the keys that name the base, the best first.
var ggufBases = []string{"general.base_model.0.repo_url", "general.base_model.0.name"}

func (r *ggufReader) read() error {
	if err := r.check(); err != nil {
		return err
	}
	r.tensors, r.ranks = map[string]safetensors.Tensor{}, map[string]int{}
	for _, t := range r.file.Tensors() {
		if err := r.add(t); err != nil {
			return err
		}
	}
	if len(r.tensors) == 0 {
		return fmt.Errorf("%w: it has none", ErrTensor)
	}
	return r.configure()
}

// check reads what the file says that it is.
func (r *ggufReader) check() error {
	for _, want := range [][2]string{{"general.type", "adapter"}, {"adapter.type", "lora"}} {
		if got, _ := r.file.String(want[0]); got != want[1] {
			return fmt.Errorf("%w: its %s is %q: an adapter's is %q", ErrConfig, want[0], got, want[1])
		}
	}
	_, float := r.file.Float(ggufAlpha)
	_, integers := r.file.Ints(ggufInvoked)
	for _, key := range r.file.Keys() {
		_, text := r.file.String(key)
		switch {
		case key == ggufAlpha && !float:
			return fmt.Errorf("%w: its %s is no float", ErrConfig, key)
		case key == ggufInvoked && !integers:
			return fmt.Errorf("%w: its %s is no list of integers", ErrConfig, key)
		case slices.Contains(ggufBases, key) && !text:
			return fmt.Errorf("%w: its %s is no text", ErrConfig, key)
		case strings.HasPrefix(key, ggufKeyPrefix) && !slices.Contains([]string{"adapter.type", ggufAlpha, ggufInvoked}, key):
			return fmt.Errorf("%w: %s is not implemented", ErrConfig, key)
		}
	}
	name, _ := r.file.String("general.architecture")
	a, ok := models.GGUFArchitecture(name)
	if !ok {
		return fmt.Errorf("%w: its general.architecture is %q, which is not implemented", ErrBase, name)
	}
	r.architecture = a
	return nil
}

// add takes a tensor under PEFT's name.
func (r *ggufReader) add(t gguf.Tensor) error {
	on, second := strings.CutSuffix(t.Name, ".weight.lora_b")
	if !second {
		var first bool
		if on, first = strings.CutSuffix(t.Name, ".weight.lora_a"); !first {
			return fmt.Errorf("%w: unexpected: %s", ErrTensor, t.Name)
		}
	}
	module, ok := r.architecture.GGUFModule(on)
	switch {
	case !ok:
		return fmt.Errorf("%w: unexpected: %s: %s has no such module", ErrTensor, t.Name, r.architecture.GGUF())
	case len(t.Dims) != 2:
		return fmt.Errorf("%w: %s has %d dimensions, want 2", ErrTensor, t.Name, len(t.Dims))
	}
	made, err := plain(t)
	if err != nil {
		return err
	}
	rank := made.Shape[0]
	switch embedding := on == "token_embd"; {
	case embedding && second:
		made.Name, rank = "lora_embedding_B", made.Shape[1]
	case embedding:
		made = transposed(made)
		made.Name, rank = "lora_embedding_A", made.Shape[0]
	case second:
		made.Name, rank = "lora_B.weight", made.Shape[1]
	default:
		made.Name = "lora_A.weight"
	}
	made.Name = modulePrefix + module + "." + made.Name
	if known, ok := r.ranks[module]; ok && known != rank {
		return fmt.Errorf("%w: %s is of rank %d, its other factor of rank %d", ErrTensor, t.Name, rank, known)
	}
	r.ranks[module], r.tensors[made.Name] = rank, made
	return nil
}

// plain is a tensor in a form that adapters are kept in.
func plain(t gguf.Tensor) (made safetensors.Tensor, err error) {
	made = safetensors.Tensor{Shape: t.Shape(), Data: t.Data}
	format, ok := t.Type.Format()
	switch {
	case ok && format == kernels.F32:
		made.DType = safetensors.F32
	case ok && format == kernels.F16:
		made.DType = safetensors.F16
	case ok && format == kernels.BF16:
		made.DType = safetensors.BF16
	case ok && format == kernels.Q8_0:
		floats := make([]float32, t.Len())
		kernels.Decode(floats, format, t.Data)
		made.DType, made.Data = safetensors.F32, make([]byte, 4*len(floats))
		err = kernels.Encode(made.Data, kernels.F32, floats)
	default:
		err = fmt.Errorf("%w: %s is of type %s, want F32, F16, BF16 or Q8_0", ErrTensor, t.Name, t.Type)
	}
	return made, err
}

// transposed is the transpose of a tensor.
func transposed(t safetensors.Tensor) safetensors.Tensor {
	rows, cols := t.Shape[0], t.Shape[1]
	if rows == 0 || cols == 0 {
		return t
	}
	width := len(t.Data) / (rows * cols)
	data := make([]byte, len(t.Data))
	for i := range rows {
		for j := range cols {
			copy(data[(j*rows+i)*width:][:width], t.Data[(i*cols+j)*width:])
		}
	}
	t.Shape, t.Data = []int{cols, rows}, data
	return t
}

// configure makes the configuration of the adapter.
func (r *ggufReader) configure() error {
	modules := slices.Sorted(maps.Keys(r.ranks))
	usual := r.ranks[modules[0]]
	values := map[string]any{"peft_type": "LORA", "task_type": string(models.Generate), "r": usual, "target_modules": modules}
	if tokens, ok := r.file.Ints(ggufInvoked); ok {
		values["alora_invocation_tokens"] = tokens
	}
	others := map[string]int{}
	for module, rank := range r.ranks {
		if rank != usual {
			others[module] = rank
		}
	}
	if len(others) > 0 {
		values["rank_pattern"] = others
	}
	alpha, ok := r.file.Float(ggufAlpha)
	if ok && alpha != 0 {
		values["lora_alpha"] = alpha
	} else { // a scale of 1, as in llama.cpp
		values["lora_alpha"] = usual
		if len(others) > 0 {
			values["alpha_pattern"] = others
		}
	}
	for _, key := range ggufBases {
		if base, ok := r.file.String(key); ok {
			values["base_model_name_or_path"] = base
			break
		}
	}
	var err error
	r.config, err = NewConfig(values)
	return err
}

// For is the folder for a base. The tensors of a GGUF file are put into the order of
// transformers, which llama.cpp's converter has changed; the digest stays the file's.
func (f *Folder) For(m models.Model) (*Folder, error) {
	if f.stored == nil {
		return f, nil
	}
	config := m.Config()
	if of := config.Architecture.GGUF(); of != f.stored.GGUF() {
		return nil, fmt.Errorf("%w: the file is for the architecture %s, the base is of %s", ErrBase, f.stored.GGUF(), config.Architecture)
	}
	if err := f.fits(m); err != nil {
		return nil, err
	}
	own := *f
	own.tensors, own.stored = maps.Clone(f.tensors), nil
	for name, t := range f.tensors {
		module, second := strings.CutSuffix(strings.TrimPrefix(name, modulePrefix), endB)
		if !second {
			continue
		}
		order := config.GGUFRows(module + ".weight")
		if order == nil || t.Shape[0] != len(order) { // which is refused by its shape
			continue
		}
		width := len(t.Data) / len(order)
		data := make([]byte, len(t.Data))
		for i, row := range order {
			copy(data[row*width:][:width], t.Data[i*width:])
		}
		t.Data = data
		own.tensors[name] = t
	}
	return &own, nil
}

// fits refuses modules that the base has not, and factors of GPT-2's Conv1D that may
// be turned: llama.cpp's converter turns them, which no program can use. A shape that is
// not square tells, and speaks for the whole file.
func (f *Folder) fits(m models.Model) error {
	sites := map[string]models.Site{}
	for _, s := range m.Sites() {
		sites[s.Name] = s
	}
	turned, straight := "", false
	for _, name := range f.Tensors() {
		module := strings.TrimPrefix(name, modulePrefix)
		for _, end := range factorEnds {
			module = strings.TrimSuffix(module, end)
		}
		s, ok := sites[module]
		if !ok {
			return fmt.Errorf("%w: %s: the base has no %s", ErrTarget, name, module)
		}
		if s.Conv1D && strings.HasSuffix(name, endA) {
			w := s.Linear.W
			if straight = straight || w.Rows != w.Cols && f.tensors[name].Shape[1] == w.Cols; turned == "" {
				turned = module
			}
		}
	}
	if turned != "" && !straight {
		return fmt.Errorf("%w: the factors of %s are, or may be, turned as llama.cpp's converter turns those of %s, which no program can use", ErrTensor, turned, f.stored.GGUF())
	}
	return nil
}

// ggufBytes is the memory that the tensors of a file take.
func ggufBytes(path string) int {
	file, err := gguf.Open(path)
	if err != nil {
		return 0
	}
	defer func() { _ = file.Close() }()
	bytes := 0
	for _, t := range file.Tensors() {
		if format, ok := t.Type.Format(); ok && format == kernels.Q8_0 {
			bytes += 4 * t.Len()
			continue
		}
		bytes += len(t.Data)
	}
	return bytes
}

// Stored is the architecture in whose order the tensors of a GGUF file are, which
// takes a base to be put right; empty: they are as PEFT has them.
func (f *Folder) Stored() string {
	if f.stored == nil {
		return ""
	}
	return f.stored.GGUF()
}
