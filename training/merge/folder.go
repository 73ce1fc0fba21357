package merge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/internal/disk"
	"github.com/peft-serve/peft-serve/internal/regular"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/safetensors"
	"github.com/peft-serve/peft-serve/models/tokenizer"
)

// writeFolder writes a Hugging Face folder.
func (j *job) writeFolder(dir string) error {
	if err := disk.Mkdir(dir); err != nil {
		return fmt.Errorf("%w: %w", ErrOutput, err)
	}
	var pieces []piece
	var before string
	var err error
	if j.source.GGUF != nil {
		pieces, err = j.fromSites()
		before, _ = j.source.GGUF.String(mergedKey)
	} else {
		var file *safetensors.File
		if file, err = safetensors.OpenFolder(j.Base); err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		pieces, err = j.fromFile(file)
		before = file.Metadata()[mergedKey]
	}
	if err != nil {
		return err
	}
	metadata := safetensors.PyTorch()
	if metadata[mergedKey], err = j.mark(before); err != nil {
		return err
	}
	if err := writeShards(dir, pieces, metadata, j.ShardBytes); err != nil {
		return err
	}
	for _, p := range pieces {
		j.report.Tensors++
		j.report.Bytes += p.size()
	}
	if err := j.writeConfig(dir); err != nil {
		return err
	}
	return j.copyFiles(dir)
}

// fromFile lists the tensors of a Hugging Face base, changed where they change.
func (j *job) fromFile(file *safetensors.File) ([]piece, error) {
	changed := map[string]*change{} // by the name in the file
	for _, name := range j.order {
		changed[j.stored(file, name)] = j.changes[name]
	}
	if j.model.Config().Tied && !j.untied { // a head saved beside the embedding it is tied to
		in, out := tiedNames(j.model)
		if c := j.changes[in]; c != nil {
			if _, ok := file.Lookup(out); ok {
				changed[out] = c
			}
		}
	}
	var pieces []piece
	for t := range file.All() {
		w, err := t.Weight()
		if err != nil && changed[t.Name] == nil { // an index or a mask: as it is
			pieces = append(pieces, piece{t.Name, t.DType, t.Shape, func() ([]byte, error) { return t.Data, nil }})
			continue
		}
		if err != nil {
			return nil, err
		}
		f, err := j.target(w.Format, t.Name)
		if err != nil {
			return nil, err
		}
		p := piece{t.Name, dtypes[f], t.Shape, func() ([]byte, error) { return converted(t.Name, w, f) }}
		if c := changed[t.Name]; c != nil {
			p.bytes = func() ([]byte, error) { return c.bytes(f, &j.drift) }
			delete(changed, t.Name)
		}
		pieces = append(pieces, p)
	}
	for _, name := range slices.Sorted(maps.Keys(changed)) { // new ones: biases, an untied head
		c := changed[name]
		f, err := j.target(j.beside(file, j.model.Sites()[c.Site]), name)
		if err != nil {
			return nil, err
		}
		pieces = append(pieces, piece{name, dtypes[f], c.shape(), func() ([]byte, error) { return c.bytes(f, &j.drift) }})
	}
	return pieces, nil
}

// shape is the tensor's shape in a Hugging Face file.
func (c *change) shape() []int {
	switch {
	case c.Suffix == ".bias" || c.Rows == 1:
		return []int{c.Cols}
	case c.turned:
		return []int{c.Cols, c.Rows}
	}
	return []int{c.Rows, c.Cols}
}

// beside is the format of the module's weight, which a new bias takes.
func (j *job) beside(file *safetensors.File, s models.Site) kernels.Format {
	if t, ok := file.Lookup(j.stored(file, s.Name+".weight")); ok {
		if f, ok := t.Format(); ok {
			return f
		}
	}
	return weightOf(s).Format
}

// stored is the name that a tensor has in the file, or would have: some
// checkpoints lack the causal model's prefix.
func (j *job) stored(file *safetensors.File, name string) string {
	if _, ok := file.Lookup(name); ok {
		return name
	}
	bare, ok := j.source.Architecture.Without(name)
	if !ok {
		return name
	}
	if _, ok := file.Lookup(bare); ok {
		return bare
	}
	if module, ok := strings.CutSuffix(bare, ".bias"); ok { // a new one goes with its weight
		if _, ok := file.Lookup(module + ".weight"); ok {
			return bare
		}
	}
	return name
}

func tiedNames(m models.Model) (in, out string) {
	for _, s := range m.Sites() {
		if s.Head {
			out = s.Name + ".weight"
		}
		if s.Kind == models.EmbeddingSite && in == "" {
			in = s.Name + ".weight"
		}
	}
	return in, out
}

// shardBytes is transformers' max_shard_size.
const shardBytes = 5_000_000_000

// writeShards writes one file or, above limit bytes, several and their index.
func writeShards(dir string, pieces []piece, metadata map[string]string, limit int) error {
	if limit == 0 {
		limit = shardBytes
	}
	var shards [][]piece
	room, total := 0, 0
	for _, p := range pieces {
		if len(shards) == 0 || p.size() > room {
			shards, room = append(shards, nil), limit
		}
		shards[len(shards)-1] = append(shards[len(shards)-1], p)
		room -= p.size()
		total += p.size()
	}
	placement := map[string]string{}
	for i, shard := range shards {
		name := safetensors.SingleFile
		if len(shards) > 1 {
			name = fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, len(shards))
		}
		var tensors []safetensors.Tensor
		contents := map[string]func() ([]byte, error){}
		for _, p := range shard {
			tensors = append(tensors, safetensors.Tensor{Name: p.name, DType: p.dtype, Shape: p.shape})
			contents[p.name], placement[p.name] = p.bytes, name
		}
		err := safetensors.WriteFileFunc(filepath.Join(dir, name), tensors, metadata, func(w io.Writer, t safetensors.Tensor) error {
			b, err := contents[t.Name]()
			if err == nil {
				_, err = w.Write(b)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	if len(shards) <= 1 {
		return nil
	}
	index, err := json.MarshalIndent(map[string]any{"metadata": map[string]int{"total_size": total}, "weight_map": placement}, "", "  ")
	if err != nil {
		return err
	}
	return disk.Write(filepath.Join(dir, safetensors.IndexFile), append(index, '\n'))
}

// writeConfig writes the base's config.json with what has changed.
func (j *job) writeConfig(dir string) error {
	raw, err := j.source.FolderConfig()
	if err != nil {
		return err
	}
	config := map[string]any{}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber() // 1e-05 stays 1e-05
	if err := dec.Decode(&config); err != nil {
		return err
	}
	maps.Copy(config, j.config)
	delete(config, "_name_or_path") // the base's, which this is not
	if j.format != nil {
		key := "dtype"
		if _, ok := config["torch_dtype"]; ok {
			key = "torch_dtype"
		}
		config[key] = map[kernels.Format]string{kernels.F32: "float32", kernels.F16: "float16", kernels.BF16: "bfloat16"}[*j.format]
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(config); err != nil {
		return err
	}
	return disk.Write(filepath.Join(dir, "config.json"), b.Bytes())
}

// companions are the files that belong to a model beside weights and
// config.json; an adapter's own tokenizer goes before the base's.
var companions = []string{
	"tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
	"merges.txt", "vocab.txt", "chat_template.jinja", "generation_config.json",
}

func (j *job) copyFiles(dir string) error {
	from := []string{j.Base}
	if _, err := os.Stat(filepath.Join(j.Adapter, "tokenizer.json")); j.Combination == nil && err == nil {
		from = []string{j.Adapter, j.Base}
		j.report.Warnings = append(j.report.Warnings, "the adapter brings a tokenizer, which goes before the base's")
	}
	if j.source.GGUF != nil {
		from = from[:len(from)-1]
		if len(from) == 0 {
			if err := tokenizer.WriteGGUF(dir, j.source.GGUF); err != nil {
				j.report.Warnings = append(j.report.Warnings, fmt.Sprintf("%v: put the original model's into %s", err, j.Output))
			}
			return nil
		}
	}
	for _, name := range companions {
		for _, folder := range from {
			b, err := regular.Read(filepath.Join(folder, name), math.MaxInt64)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err == nil {
				err = disk.Write(filepath.Join(dir, name), b)
			}
			if err != nil {
				return err
			}
			break
		}
	}
	return nil
}
