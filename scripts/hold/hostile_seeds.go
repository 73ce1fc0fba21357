package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models/safetensors"
	"github.com/peft-serve/peft-serve/scripts/hold/mutant"
)

// seed is a valid base or adapter.
type seed struct {
	name    string
	base    string // its own folder, or that of the base that the adapter is for
	adapter bool
	folder  mutant.Folder
}

// seeds are all there are: the golden adapters, and what llama.cpp's converter makes of some; the golden bases, whole and in
// shards, and what llama.cpp's converter makes of such.
type seeds struct {
	adapters, heads  []seed
	bases, sentences []seed // those that say how they embed texts are fewer
}

func (s seeds) pick(draw *rand.Rand, base bool) seed {
	from, few := s.adapters, s.heads
	if base {
		from, few = s.bases, s.sentences
	}
	if draw.IntN(4) == 0 {
		from = few
	}
	return from[draw.IntN(len(from))]
}

func readSeeds(root string) (s seeds, err error) {
	bases, err := goldenBases(root)
	if err != nil {
		return s, err
	}
	encoders, err := goldenEncoders(root)
	if err != nil {
		return s, err
	}
	for _, dir := range slices.Concat(bases, encoders) {
		if err := s.addBase(dir); err != nil {
			return s, err
		}
		if err := s.addAdapters(root, dir); err != nil {
			return s, err
		}
	}
	if err := s.addSentences(root); err != nil {
		return s, err
	}
	converted, err := filepath.Glob(filepath.Join(root, goldens, "converted", "*", "model.gguf"))
	for _, file := range converted {
		b, err := os.ReadFile(file)
		if err != nil {
			return s, err
		}
		s.bases = append(s.bases, seed{"converted/" + filepath.Base(filepath.Dir(file)), filepath.Dir(file), false, mutant.Folder{"model.gguf": {Bytes: b}}})
	}
	return s, err
}

// addAdapters adds those of a golden base, of which those with heads come with the
// names of their classes.
func (s *seeds) addAdapters(root, base string) error {
	dirs, err := filepath.Glob(filepath.Join(base, "adapters", "*", "golden.safetensors"))
	if err != nil {
		return err
	}
	for i, file := range dirs {
		dirs[i] = filepath.Dir(file)
	}
	heads, err := goldenHeads(root, base)
	if err != nil {
		return err
	}
	for _, dir := range slices.Concat(dirs, heads) {
		folder, err := mutant.Read(dir)
		if err != nil {
			return err
		}
		delete(folder, "golden.safetensors")
		delete(folder, "grads.safetensors")
		if !slices.Contains(heads, dir) {
			s.adapters = append(s.adapters, seed{filepath.Base(base) + "/" + filepath.Base(dir), base, true, folder})
			continue
		}
		if err := nameClasses(folder); err != nil {
			return err
		}
		s.heads = append(s.heads, seed{filepath.Base(base) + "/head-" + filepath.Base(dir), base, true, folder})
	}
	files, err := filepath.Glob(filepath.Join(base, "ggufadapters", "*.gguf"))
	if err != nil {
		return err
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		s.adapters = append(s.adapters, seed{filepath.Base(base) + "/" + filepath.Base(file), base, true, mutant.Folder{"adapter.gguf": {Bytes: b}}})
	}
	return nil
}

// nameClasses adds a config.json that names the classes of an adapter's head, unless
// there is one, or the head is its base's.
func nameClasses(folder mutant.Folder) error {
	tensors, err := safetensors.Parse("", folder[adapters.SafeFile].Bytes)
	if _, named := folder["config.json"]; named || err != nil {
		return err
	}
	names, numbers := map[string]string{}, map[string]int{}
	for _, name := range tensors.Names() {
		if t, err := tensors.Tensor(name); err == nil && headOutput.MatchString(name) {
			for i := range t.Shape[0] {
				names[strconv.Itoa(i)], numbers[fmt.Sprint("class ", i)] = fmt.Sprint("class ", i), i
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	b, err := json.Marshal(map[string]any{"id2label": names, "label2id": numbers, "problem_type": "single_label_classification"})
	folder["config.json"] = mutant.File{Bytes: b}
	return err
}

// headOutput are the names of the tensors that have a row for each class.
var headOutput = regexp.MustCompile(`\.(score|classifier|out_proj)\.weight$`)

// addSentences adds the bases that say how they embed texts.
func (s *seeds) addSentences(root string) error {
	lists, err := filepath.Glob(filepath.Join(root, goldens, "sentences", "*", "config.json"))
	for _, file := range lists {
		dir := filepath.Dir(file)
		folder, err := mutant.ReadTree(dir)
		if err != nil {
			return err
		}
		delete(folder, "golden.json")
		s.sentences = append(s.sentences, seed{"sentences/" + filepath.Base(dir), dir, false, folder})
	}
	return err
}

// addBase adds a golden base with the files that a base has beside its weights.
func (s *seeds) addBase(dir string) error {
	all, err := mutant.Read(dir)
	if err != nil {
		return err
	}
	folder := mutant.Folder{}
	for _, name := range []string{"config.json", "generation_config.json", "model.safetensors"} {
		if file, ok := all[name]; ok { // encoders have nothing to generate with
			folder[name] = file
		}
	}
	maps.Copy(folder, textFiles())
	s.bases = append(s.bases, seed{filepath.Base(dir), dir, false, folder})
	for name, file := range all {
		if variant, ok := strings.CutPrefix(name, "config."); ok && name != "config.json" {
			other := maps.Clone(folder)
			other["config.json"] = file
			s.bases = append(s.bases, seed{filepath.Base(dir) + "/" + variant, dir, false, other})
		}
	}
	shards, err := sharded(folder)
	s.bases = append(s.bases, seed{filepath.Base(dir) + "/sharded", dir, false, shards})
	slices.SortFunc(s.bases, func(a, b seed) int { return strings.Compare(a.name, b.name) })
	return err
}

// textFiles are those of a tokenizer, a chat template and what to sample with.
func textFiles() mutant.Folder {
	const turns = `{% for m in messages %}{{ bos_token }}{{ m.role }}:{{ m.content }}{% if not loop.last %};{% endif %}{% endfor %}{% if add_generation_prompt %}>{% endif %}`
	text := func(v any) mutant.File {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err) // there is nothing in it that cannot be written
		}
		return mutant.File{Bytes: b}
	}
	return mutant.Folder{
		"tokenizer.json":         {Bytes: characters()},
		"tokenizer_config.json":  text(map[string]any{"bos_token": "<s>", "eos_token": map[string]any{"content": "</s>"}, "chat_template": turns, "added_tokens_decoder": map[string]any{"1": map[string]any{"content": "</s>", "special": true}}}),
		"generation_config.json": text(map[string]any{"bos_token_id": 0, "eos_token_id": []int{1}, "temperature": 0.7, "top_p": 0.9, "top_k": 20, "do_sample": true}),
		"chat_template.jinja":    {Bytes: []byte(turns)},
	}
}

// sharded is a base in two files and an index.
func sharded(folder mutant.Folder) (mutant.Folder, error) {
	file, err := safetensors.Parse("", folder["model.safetensors"].Bytes)
	if err != nil {
		return nil, err
	}
	folder = maps.Clone(folder)
	delete(folder, "model.safetensors")
	tensors, places := slices.Collect(file.All()), map[string]string{}
	for i, half := range [][]safetensors.Tensor{tensors[:len(tensors)/2], tensors[len(tensors)/2:]} {
		name := fmt.Sprintf("model-%05d-of-00002.safetensors", i+1)
		var b strings.Builder
		if err := safetensors.Write(&b, half, safetensors.PyTorch()); err != nil {
			return nil, err
		}
		folder[name] = mutant.File{Bytes: []byte(b.String())}
		for _, t := range half {
			places[t.Name] = name
		}
	}
	index, err := json.Marshal(map[string]any{"metadata": map[string]any{}, "weight_map": places})
	folder["model.safetensors.index.json"] = mutant.File{Bytes: index}
	return folder, err
}

// files are the seed's; an adapter brings a tokenizer and a template now and
// then.
func (s seed) files(draw *rand.Rand) mutant.Folder {
	folder := maps.Clone(s.folder)
	if s.adapter && draw.IntN(5) == 0 {
		maps.Copy(folder, textFiles())
	}
	return folder
}

// comparable tells a mutant of which peft or transformers may think otherwise:
// one with another configuration, or other tensors, than its seed.
func comparable(did []string) bool {
	return slices.ContainsFunc(did, func(d string) bool {
		file, _, _ := strings.Cut(d, ":")
		return file == "config.json" || file == "adapter_config.json" || strings.HasSuffix(file, ".safetensors") || strings.HasSuffix(file, ".index.json")
	})
}

var digits = regexp.MustCompile(`\d+`)

// kind tells served mutants apart that are worth a comparison each: by what was
// done to which kind of adapter.
func (s seed) kind(did []string) string {
	_, family, _ := strings.Cut(s.name, "/")
	return family + ":" + digits.ReplaceAllString(strings.Join(did, ";"), "0")
}
