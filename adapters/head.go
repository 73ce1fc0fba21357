package adapters

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/peft-serve/peft-serve/internal/regular"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// Heads of tasks. PEFT saves the modules of one as it saves any that is in
// modules_to_save, to which it adds "classifier" and "score" where task_type is
// SEQ_CLS or TOKEN_CLS. What its classes are called it does not save: that is in a
// config.json beside it, as transformers writes one, or they are LABEL_0, LABEL_1
// and so on.

// ClassesFile is the file beside an adapter that says what the classes of its head are called.
const ClassesFile = "config.json"

// headModules are what PEFT adds to modules_to_save, whichever the base has.
var headModules = []string{"classifier", "score"}

// ReadClasses reads what lies beside an adapter that may have a head; nil: nothing
// is said.
func ReadClasses(dir string, c *Config) (*models.Classes, error) {
	if c.Task != "" && !isHeadTask(models.Task(c.Task)) {
		return nil, nil
	}
	b, err := regular.Text(filepath.Join(dir, ClassesFile), regular.Config)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var classes *models.Classes
	if err == nil {
		classes, err = models.ReadClasses(b)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %s: %w", ErrConfig, ClassesFile, err)
	case classes.Names == nil && classes.Problem == "" && classes.Form == nil:
		return nil, nil
	}
	return &models.Classes{Names: classes.Names, Problem: classes.Problem, Form: classes.Form}, nil
}

func isHeadTask(t models.Task) bool { return t == models.Classify || t == models.Tag }

// headTask is the task whose head the adapter was trained under; empty: none. Where
// task_type does not say so, the class does that PEFT noted, or the base's own head.
func (c *Config) headTask(base *models.Config) models.Task {
	if t := models.Task(c.Task); t != "" {
		if isHeadTask(t) {
			return t
		}
		return ""
	}
	var mapping struct {
		Class string `json:"base_model_class"`
	}
	if raw := c.value("auto_mapping"); raw != nil && json.Unmarshal(raw, &mapping) == nil && mapping.Class != "" {
		return models.TaskOf(mapping.Class)
	}
	if base.Classes != nil {
		return base.Classes.Task
	}
	return ""
}

// underHead gives the builder the sites of the head of its task.
func (b *Builder) underHead() error {
	base := b.Model.Config()
	task := b.Config.headTask(base)
	if task == "" {
		return nil
	}
	under := &models.Classes{Task: task}
	if c := b.Config.Classes; c != nil {
		under.Form = c.Form
	}
	m, err := models.WithHeadOf(b.Model, under)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBase, err)
	}
	b.Model, b.Sites, b.task = m, m.Sites(), task
	switch c := b.Config.Classes; {
	case c != nil && len(c.Names) > 0:
		b.classes = len(c.Names)
	case base.Classes != nil && base.Classes.Task == task:
		b.classes = len(base.Classes.Names)
	}
	return nil
}

// countClasses takes the number of classes from the file's head.
func (b *Builder) countClasses(tensors map[string]safetensors.Tensor) error {
	for site, s := range b.Sites {
		name := b.name(site, ".weight")
		t, ok := tensors[name]
		if !s.Classes || !ok {
			continue
		}
		if len(t.Shape) != 2 || t.Shape[0] == 0 {
			return b.unfit(name, t.Shape, []int{max(b.classes, 1), b.Model.Config().Hidden})
		}
		if t.Shape[0] > models.MaxClasses {
			return fmt.Errorf("%w: %s has %d rows: a head tells at most %d classes apart", ErrTensor, name, t.Shape[0], models.MaxClasses)
		}
		if c := b.Config.Classes; c != nil && c.Names != nil && len(c.Names) != t.Shape[0] {
			return fmt.Errorf("%w: %s names %d classes (id2label), and %s has %d rows", ErrConfig, ClassesFile, len(c.Names), name, t.Shape[0])
		}
		b.classes, b.scores = t.Shape[0], name
	}
	b.inFile = func(name string) bool { _, ok := tensors[name]; return ok }
	return nil
}

// wholeHead demands all of a head that the base has not, where the adapter brings
// some of it: modules that a file has without naming them in modules_to_save count.
func (b *Builder) wholeHead() error {
	if b.task == "" {
		return nil
	}
	brings := ""
	for site, s := range b.Sites {
		if !s.Open && !s.Classes {
			continue
		}
		if b.inFile != nil && b.inFile(b.name(site, ".weight")) && b.linears[site] == nil {
			b.saveSite(site, "")
		}
		if b.wholly(site) {
			brings = s.Name
		}
	}
	if brings == "" {
		return nil
	}
	for site, s := range b.Sites {
		switch {
		case s.Open && !b.wholly(site):
			return fmt.Errorf("%w: modules_to_save has %q of a head and not %q, and the base has neither", ErrTarget, brings, s.Name)
		case s.Classes && b.wholly(site) && b.classes == 0 && b.inFile != nil:
			return fmt.Errorf("%w: missing: %s%s", ErrTensor, b.name(site, ".weight"), madeFor(b.Config.Base))
		case s.Classes && b.wholly(site) && b.classes == 0:
			return fmt.Errorf("%w: nothing says how many classes %q tells apart: neither the base nor a %s", ErrConfig, s.Name, ClassesFile)
		}
	}
	return nil
}

// ownClasses are those of the head that the adapter brings; nil: it brings none, or
// leaves the base's scores as they are.
func (b *Builder) ownClasses() *models.Classes {
	for site, s := range b.Sites {
		if !s.Classes || !b.wholly(site) {
			continue
		}
		own := &models.Classes{Task: b.task}
		if c := b.Config.Classes; c != nil {
			own.Names, own.Problem, own.Form = slices.Clone(c.Names), c.Problem, c.Form
		}
		if own.Names == nil {
			own.Names = models.ClassNames(b.classes)
		}
		return own
	}
	return nil
}

// ClassesJSON is ClassesFile, as far as it is part of an adapter's content; nil: there is
// none.
func (c *Config) ClassesJSON() []byte {
	if c.Classes == nil {
		return nil
	}
	var members []member
	text := func(s string) json.RawMessage { return appendText(nil, s) }
	if len(c.Classes.Names) > 0 {
		var names, numbers []member
		for i, name := range c.Classes.Names {
			n := strconv.Itoa(i)
			names, numbers = append(names, member{n, text(name)}), append(numbers, member{name, json.RawMessage(n)})
		}
		members = append(members, member{"id2label", appendObject(nil, names, "", false)}, member{"label2id", appendObject(nil, numbers, "", false)})
	}
	if c.Classes.Problem != "" {
		members = append(members, member{"problem_type", text(string(c.Classes.Problem))})
	}
	if form := c.Classes.Form; form != nil {
		b, _ := json.Marshal(form) // numbers, texts and flags
		members = append(members, member{"adapterhub_head", b})
	}
	return appendObject(nil, members, "", false)
}

// leftClasses reports whether dir has the ClassesFile of an adapter that was saved
// there, which says nothing of this one, without names. One that others wrote is
// refused where it would be taken for this one's.
func leftClasses(dir string, c *Config) (bool, error) {
	if c.ClassesJSON() != nil {
		return false, nil
	}
	if NamesClasses(dir) {
		return true, nil
	}
	said, err := ReadClasses(dir, c)
	if err == nil && said != nil {
		err = fmt.Errorf("%w: the %s there would name the classes of this adapter, which has no names for them: save it to another folder", ErrConfig, ClassesFile)
	}
	return false, err
}

// NamesClasses reports whether dir has a ClassesFile that says nothing else: an adapter's,
// and no model's.
func NamesClasses(dir string) bool {
	b, err := regular.Text(filepath.Join(dir, ClassesFile), regular.Config)
	if err != nil {
		return false
	}
	members, err := parseObject(b)
	return err == nil && !slices.ContainsFunc(members, func(m member) bool {
		return !slices.Contains([]string{"id2label", "label2id", "problem_type", "adapterhub_head"}, m.key)
	})
}
