package modeltest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// Heads lists the golden folders of heads whose names begin or do not begin with own,
// as Goldens takes them: "heads/bert/text".
func Heads(t testing.TB, own bool) (names []string) {
	t.Helper()
	paths, err := filepath.Glob(Goldens(t, "heads", "*", "*", "golden.safetensors"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("there are no heads: %v", err)
	}
	for _, path := range paths {
		dir := filepath.Dir(path)
		if own == strings.HasPrefix(filepath.Base(dir), "own-") {
			names = append(names, filepath.Join("heads", filepath.Base(filepath.Dir(dir)), filepath.Base(dir)))
		}
	}
	return names
}

// HeadBase is the base of a golden folder of a head, as Open takes it.
func HeadBase(t testing.TB, name string) string {
	t.Helper()
	base := filepath.Base(filepath.Dir(name))
	if _, err := os.Stat(Goldens(t, base, "config.json")); err != nil {
		base = "encoders/" + base
	}
	return base
}

// otherHeads are the tensors of the heads that the golden bases have for other tasks.
var otherHeads = regexp.MustCompile(`^(lm_head|vocab_|discriminator_predictions)`)

// OwnHead makes the base with the head that a golden folder holds in a folder, which
// it returns: the folder's config.json, and its tensors beside the base's.
func OwnHead(t testing.TB, name string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	config, err := os.ReadFile(Goldens(t, name, "config.json"))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "config.json"), config, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	var tensors []safetensors.Tensor
	for _, from := range []string{HeadBase(t, name), name} {
		f, err := safetensors.OpenFolder(Goldens(t, from))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		for tensor := range f.All() {
			if !otherHeads.MatchString(tensor.Name) {
				tensors = append(tensors, tensor)
			}
		}
	}
	out, err := os.Create(filepath.Join(dir, "model.safetensors"))
	if err == nil {
		err = safetensors.Write(out, tensors, safetensors.PyTorch())
	}
	if err == nil {
		err = out.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// HeadTask is the task of a golden folder of a head.
func HeadTask(t testing.TB, name string) models.Task {
	t.Helper()
	for _, file := range []string{"adapter_config.json", "config.json"} {
		b, err := os.ReadFile(Goldens(t, name, file))
		if err != nil {
			continue
		}
		var c struct {
			Task models.Task `json:"task_type"`
			Auto struct {
				Class string `json:"base_model_class"`
			} `json:"auto_mapping"`
			Architectures []string
		}
		if err := json.Unmarshal(b, &c); err != nil {
			t.Fatal(err)
		}
		switch {
		case c.Task != "":
			return c.Task
		case c.Auto.Class != "":
			return models.TaskOf(c.Auto.Class)
		}
		return models.TaskOf(c.Architectures[0])
	}
	t.Fatalf("%s has no configuration", name)
	return ""
}

// Scores reads the scores of a golden folder's texts, [rows, classes].
func Scores(t testing.TB, name string) (scores []kernels.Matrix) {
	t.Helper()
	f, err := safetensors.Open(Goldens(t, name, "golden.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for i := 0; ; i++ {
		tensor, ok := f.Lookup(fmt.Sprintf("scores.%d", i))
		if !ok {
			return scores
		}
		values, err := tensor.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		scores = append(scores, kernels.MatrixOf(tensor.Shape[0], tensor.Shape[1], values))
	}
}

// classesOf are those of the heads of texts, which all have one form.
func classesOf(task models.Task, texts []Text) *models.Classes {
	if a, ok := texts[0].Adapter.(interface{ Classes() *models.Classes }); ok && a.Classes() != nil {
		return a.Classes()
	}
	return &models.Classes{Task: task}
}

// Classify runs texts, whole and all under heads of one task and form, in one batch,
// and returns the scores of each, of as many classes as its row has.
func Classify(t testing.TB, m models.Model, p *models.Pass, task models.Task, classes []int, texts ...Text) (scores []kernels.Matrix) {
	t.Helper()
	head, err := m.Config().HeadOf(classesOf(task, texts))
	if err != nil {
		t.Fatal(err)
	}
	var b models.Batch
	b.Out = []int32{}
	for _, text := range texts {
		first := b.Rows()
		b.AddText(text.Tokens, text.Types, text.Position, text.Adapter)
		if task == models.Classify && !head.Mean {
			b.Out = append(b.Out, int32(first+head.Place(text.Tokens, 0)))
			continue
		}
		for i := range text.Tokens {
			b.Out = append(b.Out, int32(first+i))
		}
	}
	h := m.Forward(p, &b, nil)
	made := head.Forward(p, &b, 0, h)
	row := 0
	for i, text := range texts {
		n := 1
		if task == models.Tag {
			n = len(text.Tokens)
		}
		scores = append(scores, clone(made.Data.Span(row, row+n).Columns(0, classes[i])))
		row += n
	}
	p.Free(h, made)
	return scores
}
