package models

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Classes are what a head tells apart: of whole texts or of their tokens.
type Classes struct {
	Task    Task     // Classify or Tag
	Names   []string // by number
	Problem Problem
	// Identity: a score of a pair of texts is what a cross-encoder says of it as it is,
	// and not made a probability (sentence-transformers' activation_fn).
	Identity bool
	// Form is of a head that transformers' class of the base has not; nil: it has it.
	Form *HeadForm
}

// Problem is what the scores of a head mean, as transformers' problem_type calls it.
// Where it is empty, one class is a yes or no, and several exclude each other.
type Problem string

// The values of problem_type.
const (
	SingleLabel Problem = "single_label_classification"
	MultiLabel  Problem = "multi_label_classification"
	Regression  Problem = "regression"
)

// Solved is the problem with what transformers takes an empty one for, when it
// makes probabilities of scores (TextClassificationPipeline.postprocess).
func (c *Classes) Solved() Problem {
	switch {
	case c.Problem != "":
		return c.Problem
	case len(c.Names) == 1:
		return MultiLabel
	}
	return SingleLabel
}

// ClassNames are transformers' names of classes that have none: LABEL_0 and so on.
func ClassNames(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = "LABEL_" + strconv.Itoa(i)
	}
	return names
}

// MaxClasses is the most classes that a head may tell apart, and maxName the most bytes
// that one of their names may have: answers repeat them.
const (
	MaxClasses = 1 << 16
	maxName    = 256
)

// ReadClasses reads what a config.json of transformers says of a head. Names are nil
// where it says nothing of their number, and Task is empty where its class has no
// such head.
func ReadClasses(config []byte) (*Classes, error) {
	var v struct {
		Architectures []string       `json:"architectures"`
		Names         map[string]any `json:"id2label"`
		Number        *int           `json:"num_labels"`
		OldNumber     *int           `json:"_num_labels"`
		Problem       *string        `json:"problem_type"`
		Sentences     struct {
			Activation string `json:"activation_fn"`
		} `json:"sentence_transformers"`
		OldActivation string    `json:"sbert_ce_default_activation_function"` // before sentence-transformers 4
		Form          *HeadForm `json:"adapterhub_head"`                      // our own key, beside an adapter
	}
	if err := json.Unmarshal(config, &v); err != nil {
		return nil, err
	}
	c := &Classes{}
	switch activation := cmp.Or(v.Sentences.Activation, v.OldActivation); activation {
	case "torch.nn.modules.linear.Identity":
		c.Identity = true
	case "", "torch.nn.modules.activation.Sigmoid":
	default:
		return nil, fmt.Errorf("the activation of pairs of texts is %q, which is not implemented", activation)
	}
	if len(v.Architectures) > 0 {
		c.Task = TaskOf(v.Architectures[0])
	}
	if c.Form = v.Form; c.Form != nil {
		if err := c.Form.Check(); err != nil {
			return nil, fmt.Errorf("adapterhub_head: %w", err)
		}
	}
	if v.Problem != nil {
		c.Problem = Problem(*v.Problem)
		if known := []Problem{SingleLabel, MultiLabel, Regression}; !slices.Contains(known, c.Problem) {
			return nil, fmt.Errorf("problem_type is %q, want one of %q", *v.Problem, known)
		}
	}
	var err error
	if v.Names != nil { // transformers counts them, and no number
		c.Names, err = classNames(v.Names)
		return c, err
	}
	for _, n := range []struct {
		key   string
		value *int
	}{{"num_labels", v.Number}, {"_num_labels", v.OldNumber}} {
		switch {
		case n.value == nil:
		case *n.value < 1 || *n.value > MaxClasses:
			return nil, fmt.Errorf("%s is %d, outside 1 to %d", n.key, *n.value, MaxClasses)
		case c.Names != nil && len(c.Names) != *n.value:
			return nil, fmt.Errorf("%s is %d, and num_labels is %d", n.key, *n.value, len(c.Names))
		default:
			c.Names = ClassNames(*n.value)
		}
	}
	return c, nil
}

// classNames are the values of id2label by their numbers, which are 0 and those
// that follow.
func classNames(named map[string]any) ([]string, error) {
	if len(named) == 0 || len(named) > MaxClasses {
		return nil, fmt.Errorf("id2label names %d classes, outside 1 to %d", len(named), MaxClasses)
	}
	names, seen := make([]string, len(named)), make([]bool, len(named))
	for key, value := range named {
		n, err := strconv.Atoi(key)
		if err != nil || n < 0 || n >= len(named) || seen[n] {
			return nil, fmt.Errorf("id2label has %d entries and names %q: want the numbers from 0 to %d, each once", len(named), key, len(named)-1)
		}
		seen[n] = true
		switch v := value.(type) {
		case string:
			names[n] = v
		case float64:
			names[n] = strconv.FormatFloat(v, 'f', -1, 64)
		default:
			return nil, fmt.Errorf("id2label: %s is no string", key)
		}
		if len(names[n]) > maxName {
			return nil, fmt.Errorf("id2label: the name of class %d, %.32q and so on, has %d bytes: give at most %d", n, names[n], len(names[n]), maxName)
		}
	}
	return names, nil
}

// TaskOf is the task of a class of transformers with a head, by its name; empty: of
// none that is implemented.
func TaskOf(class string) Task {
	switch {
	case strings.HasSuffix(class, "ForSequenceClassification"):
		return Classify
	case strings.HasSuffix(class, "ForTokenClassification"):
		return Tag
	}
	return ""
}

// Config is what a config.json of transformers says of the classes.
func (c *Classes) Config() map[string]any {
	names, numbers := map[string]string{}, map[string]int{}
	for i, name := range c.Names {
		names[strconv.Itoa(i)], numbers[name] = name, i
	}
	config := map[string]any{"id2label": names, "label2id": numbers}
	if c.Problem != "" {
		config["problem_type"] = c.Problem
	}
	return config
}
