package serve

import (
	"encoding/json"
	"fmt"
	"net/url"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/models"
)

// inferRequest is the body of POST /v2/models/{name}/infer: texts to classify, or
// pairs, as tensors of bytes.
type inferRequest struct {
	unreads
	ID      *string       `json:"id"`
	Inputs  []inferInput  `json:"inputs"`
	Outputs []inferOutput `json:"outputs"`
}

// inferInput is the tensor text, or text_pair.
type inferInput struct {
	unreads
	Name     string     `json:"name"`
	Datatype string     `json:"datatype"`
	Shape    []int      `json:"shape"`
	Data     inferTexts `json:"data"`
}

// inferOutput names an output that is wanted; without any all are.
type inferOutput struct {
	unreads
	Name string `json:"name"`
}

// inferTexts are the elements of a tensor, flat or nested as its shape is.
type inferTexts []string

func (t *inferTexts) decodeField(path string, raw json.RawMessage) error {
	if classOf(raw) != '[' {
		return wrongType(path, raw, "an array of strings")
	}
	for i, e := range elements(raw) {
		at := fmt.Sprintf("%s[%d]", path, i)
		var one []string
		switch classOf(e) {
		case '"':
			one = make([]string, 1)
			if err := decodeInto(at, e, &one[0]); err != nil {
				return err
			}
		case '[':
			if err := decodeInto(at, e, &one); err != nil {
				return err
			}
		default:
			return wrongType(at, e, "a string")
		}
		if *t = append(*t, one...); len(*t) > maxSequences {
			return &fieldError{path, fmt.Sprintf("has more than %d texts: give at most as many", maxSequences)}
		}
	}
	return nil
}

// The tensors of classification.
const (
	inferText     = "text"
	inferSecond   = "text_pair"
	inferLabel    = "label"    // the class of a text
	inferScores   = "scores"   // by the numbers of classes
	inferClasses  = "classes"  // their names
	inferEntities = "entities" // of a text, as JSON
)

// texts are those of the tensors.
func (r *inferRequest) texts() ([]classifiable, error) {
	var texts []classifiable
	var second []string
	for i, in := range r.Inputs {
		at := fmt.Sprintf("inputs[%d]", i)
		elements := 1
		for _, n := range in.Shape {
			if elements *= n; n < 0 || elements > maxSequences {
				return nil, invalid(at+".shape", "%s.shape is %v: give one dimension, of as many texts as there are, at most %d", at, in.Shape, maxSequences)
			}
		}
		switch {
		case in.Datatype != "BYTES":
			return nil, invalid(at+".datatype", "%s.datatype is %q: texts are BYTES", at, in.Datatype)
		case len(in.Data) == 0:
			return nil, invalid(at+".data", "%s.data has no text: give at least one", at)
		case len(in.Shape) == 0 || len(in.Shape) > 2 || elements != len(in.Data) || len(in.Shape) == 2 && in.Shape[1] != 1:
			return nil, invalid(at+".shape", "%s.shape is %v, and there are %d texts: it is [%d] or [%d, 1]", at, in.Shape, len(in.Data), len(in.Data), len(in.Data))
		case in.Name == inferText && texts == nil:
			for j, text := range in.Data {
				texts = append(texts, classifiable{field: fmt.Sprintf("%s.data[%d]", at, j), text: text})
			}
		case in.Name == inferSecond && second == nil:
			second = in.Data
		default:
			return nil, invalid(at+".name", "%s.name is %q: there are %s and, for pairs, %s, each once", at, in.Name, inferText, inferSecond)
		}
	}
	switch {
	case texts == nil:
		return nil, invalid("inputs", "inputs has no tensor %s: give the texts to classify", inferText)
	case second == nil:
		return texts, nil
	case len(second) != len(texts):
		return nil, invalid("inputs", "%s has %d texts and %s has %d: give as many of both", inferSecond, len(second), inferText, len(texts))
	}
	for i := range texts {
		texts[i].second = &second[i]
	}
	return texts, nil
}

// inferTensor is an output.
type inferTensor struct {
	Name     string `json:"name"`
	Datatype string `json:"datatype"`
	Shape    []int  `json:"shape"`
	Data     any    `json:"data"`
}

type inferAnswer struct {
	ID      *string       `json:"id,omitempty"`
	Model   string        `json:"model_name"`
	Version string        `json:"model_version,omitempty"` // the adapter's digest
	Outputs []inferTensor `json:"outputs"`
}

// inferOutputs are the tensors that classification answers with; their shapes are of
// so many texts, -1: of any number, and of the classes.
func inferOutputs(classes *models.Classes, texts int) []inferTensor {
	if classes != nil && classes.Task == models.Tag {
		return []inferTensor{{Name: inferEntities, Datatype: "BYTES", Shape: []int{texts}}}
	}
	n := -1
	if classes != nil {
		n = len(classes.Names)
	}
	return []inferTensor{
		{Name: inferLabel, Datatype: "BYTES", Shape: []int{texts}}, {Name: inferScores, Datatype: "FP64", Shape: []int{texts, n}}, {Name: inferClasses, Datatype: "BYTES", Shape: []int{n}},
	}
}

// inferenceInfer classifies the texts of tensors.
func (s *Server) inferenceInfer(c *fiber.Ctx) error {
	var body inferRequest
	if err := s.readJSON(c, &body); err != nil {
		return err
	}
	texts, err := body.texts()
	if err != nil {
		return err
	}
	model, err := url.PathUnescape(c.Params("name"))
	if err != nil {
		return invalid("name", "the path names no model: %s", err)
	}
	arrived := time.Now()
	to, err := s.selected(c, naming{where: "the path", name: model})
	if err != nil {
		return err
	}
	defer to.lease.Release()
	classes, err := s.classesOf(to)
	if err != nil {
		return err
	}
	wanted := map[string]bool{}
	for i, o := range body.Outputs {
		known := false
		for _, t := range inferOutputs(classes, len(texts)) {
			known = known || t.Name == o.Name
		}
		if !known {
			return invalid("outputs", "outputs[%d].name is %q, which the model does not answer with: GET /v2/models/%s lists what it does", i, o.Name, url.PathEscape(model))
		}
		wanted[o.Name] = true
	}
	all, _, release, err := s.classify(c, to, classes, texts, &classification{field: "inputs"}, arrived)
	if err != nil {
		return err
	}
	answered := held{release}
	defer answered.end()
	answer := inferAnswer{ID: body.ID, Model: s.config.Name, Version: to.lease.Digest()}
	if to.lease != nil {
		answer.Model = to.lease.Name()
	}
	for _, t := range inferOutputs(classes, len(texts)) {
		if len(wanted) > 0 && !wanted[t.Name] {
			continue
		}
		switch t.Name {
		case inferLabel:
			t.Data = mapped(all, func(a *classified) string { return classes.Names[highest(a.scores[0])] })
		case inferScores:
			var scores []float64
			for i := range all {
				scores = append(scores, all[i].scores[0]...)
			}
			t.Data = scores
		case inferClasses:
			t.Data = classes.Names
		case inferEntities:
			t.Data = mapped(all, func(a *classified) string {
				list, _ := json.Marshal(entities(to.text, classes, a, true, []string{"O"})) // of numbers and texts
				return string(list)
			})
		}
		answer.Outputs = append(answer.Outputs, t)
	}
	return answered.writeJSON(c, answer)
}

// mapped is what f makes of each text.
func mapped(all []classified, f func(*classified) string) []string {
	list := make([]string, len(all))
	for i := range all {
		list[i] = f(&all[i])
	}
	return list
}
