package serve

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/tokenizer"
)

// classifyInput is the texts of a body: one text, the tokens of one, or a list of
// texts, of pairs of texts, and of the tokens of texts.
type classifyInput struct {
	list []classifiable
	one  bool // it is no list
}

func (in *classifyInput) decodeField(path string, raw json.RawMessage) error {
	switch classOf(raw) {
	case 'n':
		return nil
	case '"':
		in.one, in.list = true, make([]classifiable, 1)
		return in.list[0].decode(path, raw)
	case '[':
		switch n := counted(raw); {
		case n == 0:
			return &fieldError{path, "is an empty array: give at least one text"}
		case classOf(skipSpace(raw[1:])) == '0':
			in.one, in.list = true, make([]classifiable, 1)
			return in.list[0].decode(path, raw)
		case n > maxSequences:
			return &fieldError{path, fmt.Sprintf("has %d texts: give at most %d", n, maxSequences)}
		default:
			in.list = make([]classifiable, n)
		}
		for i, e := range elements(raw) {
			if err := in.list[i].decode(fmt.Sprintf("%s[%d]", path, i), e); err != nil {
				return err
			}
		}
		return nil
	}
	return wrongType(path, raw, "a string, an array of strings, of pairs of strings or of arrays of token ids")
}

// decode reads a text, a list of one or two, or token ids.
func (t *classifiable) decode(path string, raw json.RawMessage) error {
	t.field = path
	switch {
	case classOf(raw) == '"':
		return decodeInto(path, raw, &t.text)
	case classOf(raw) != '[':
		return wrongType(path, raw, "a string, a pair of strings or an array of token ids")
	case counted(raw) > 0 && classOf(skipSpace(raw[1:])) == '0':
		return decodeInto(path, raw, &t.tokens)
	}
	var both []string
	if err := decodeInto(path, raw, &both); err != nil {
		return err
	}
	if len(both) != 1 && len(both) != 2 {
		return &fieldError{path, fmt.Sprintf("has %d texts: give one, or the two of a pair", len(both))}
	}
	if t.text = both[0]; len(both) == 2 {
		t.second = &both[1]
	}
	return nil
}

// classifyRequest is the body of POST /v1/classify and of /classify: vLLM's, with
// input, or LoRAX's, with inputs.
type classifyRequest struct {
	unreads
	Model  modelName     `json:"model"`
	Input  classifyInput `json:"input"`
	Inputs classifyInput `json:"inputs"`
	Text   classifyInput `json:"text"`
	Second textOrList    `json:"text_pair"`

	TopK        *int     `json:"top_k"`
	Activation  *string  `json:"activation"`
	Function    *string  `json:"function_to_apply"` // the same, as transformers calls it
	RawScores   *bool    `json:"raw_scores"`        // activation none, as text-embeddings-inference says it
	Use         *bool    `json:"use_activation"`    // false: the same, as vLLM says it
	Aggregation *string  `json:"aggregation_strategy"`
	Ignore      []string `json:"ignore_labels"`
	teiCut

	Truncated  *int          `json:"truncate_prompt_tokens"`
	User       ignored       `json:"user"`
	RequestID  ignored       `json:"request_id"`
	Priority   unimplemented `json:"priority" only:"0"`
	AddSpecial unimplemented `json:"add_special_tokens" only:"true"`
}

// texts are those of one of the fields, with the second ones of pairs.
func (r *classifyRequest) texts() (in classifyInput, field string, err error) {
	for _, f := range []struct {
		name string
		in   classifyInput
	}{{"input", r.Input}, {"inputs", r.Inputs}, {"text", r.Text}} {
		switch {
		case f.in.list == nil:
		case in.list != nil:
			return in, "", invalid(f.name, "%s and %s mean the same: give one of them", field, f.name)
		default:
			in, field = f.in, f.name
		}
	}
	switch {
	case in.list == nil:
		return in, "", invalid("input", "input is missing: give the text to classify")
	case r.Second == nil:
		return in, field, nil
	case len(r.Second) != len(in.list):
		return in, "", invalid("text_pair", "text_pair has %d texts and %s has %d: give as many of both", len(r.Second), field, len(in.list))
	}
	for i := range in.list {
		if in.list[i].second != nil || in.list[i].tokens != nil {
			return in, "", invalid("text_pair", "text_pair goes with texts, and %s is a pair or tokens: leave it out", in.list[i].field)
		}
		in.list[i].second = &r.Second[i]
	}
	return in, field, nil
}

// wants reads what is wanted of the texts.
func (r *classifyRequest) wants(s *Server, field string) (what classification, simple bool, err error) {
	what.field = field
	cutting := embedding{}
	if err := r.into(&cutting, ""); err != nil {
		return what, false, err
	}
	if r.Truncated != nil {
		if *r.Truncated != -1 && *r.Truncated != s.context {
			return what, false, invalid("truncate_prompt_tokens", "truncate_prompt_tokens is %d: give -1 for the longest text that the base takes, %d, or leave it out", *r.Truncated, s.context)
		}
		cutting.truncate = true
	}
	what.truncate, what.left = cutting.truncate, cutting.left
	for name, value := range map[string]*string{"activation": r.Activation, "function_to_apply": r.Function} {
		switch v := or(value, ""); v {
		case "":
		case softmaxed, sigmoid, noneOf:
			if what.activation != "" && what.activation != v {
				return what, false, invalid("function_to_apply", "activation and function_to_apply mean the same: give one of them")
			}
			what.activation = v
		default:
			return what, false, invalid(name, "%s is %q: it is softmax, sigmoid or none", name, v)
		}
	}
	if or(r.RawScores, false) || !or(r.Use, true) {
		if what.activation != "" && what.activation != noneOf {
			return what, false, invalid("activation", "activation is %q, and other fields ask for scores as they are: give one of them", what.activation)
		}
		what.activation = noneOf
	}
	if r.TopK != nil && *r.TopK < 1 {
		return what, false, invalid("top_k", "top_k is %d, below 1", *r.TopK)
	}
	switch v := or(r.Aggregation, "simple"); v {
	case "simple", "none":
		return what, v == "simple", nil
	default:
		return what, false, invalid("aggregation_strategy", "aggregation_strategy is %q: it is simple or none", v)
	}
}

// classifyAnswer is vLLM's, with what it lacks.
type classifyAnswer struct {
	openAIHead
	Task    models.Task      `json:"task"`
	Problem models.Problem   `json:"problem_type,omitempty"`
	Data    []classifyObject `json:"data"`
	Usage   inputUsage       `json:"usage"`
}

// classifyObject is what became of one text: its class, or the entities in it.
type classifyObject struct {
	Index    int          `json:"index"`
	Label    *string      `json:"label,omitempty"` // of the highest score
	Probs    []float64    `json:"probs,omitempty"` // by the numbers of classes
	Classes  int          `json:"num_classes"`
	Scores   []labelScore `json:"scores,omitempty"` // by name, the highest first
	Entities *[]entity    `json:"entities,omitempty"`
}

// classifyRoute answers POST /v1/classify.
func (s *Server) classifyRoute(c *fiber.Ctx) error { return s.classifyBody(c, false) }

// classifyShort answers POST /classify: a body with inputs as LoRAX does, and
// transformers' pipelines.
func (s *Server) classifyShort(c *fiber.Ctx) error { return s.classifyBody(c, true) }

func (s *Server) classifyBody(c *fiber.Ctx, lists bool) error {
	var body classifyRequest
	if err := s.readJSON(c, &body); err != nil {
		return err
	}
	in, field, err := body.texts()
	if err != nil {
		return err
	}
	what, simple, err := body.wants(s, field)
	if err != nil {
		return err
	}
	arrived := time.Now()
	show := shape{simple: simple, ignore: body.Ignore, most: or(body.TopK, models.MaxClasses)}
	if show.ignore == nil {
		show.ignore = []string{"O"}
	}
	if !lists {
		tasks, err := s.tasksOf(c, s.openAINaming(c, body.Model))
		if err != nil {
			return err
		}
		if tasks != nil {
			return s.classifyTasks(c, tasks, in.list, &what, show, arrived)
		}
	}
	to, err := s.selected(c, s.openAINaming(c, body.Model))
	if err != nil {
		return err
	}
	defer to.lease.Release()
	classes, err := s.classesOf(to)
	if err != nil {
		return err
	}
	all, tokens, release, err := s.classify(c, to, classes, in.list, &what, arrived)
	if err != nil {
		return err
	}
	answered := held{release}
	defer answered.end()
	if lists && field == "inputs" {
		answers := make([]any, len(all))
		for i := range all {
			if classes.Task == models.Tag {
				answers[i] = entities(to.text, classes, &all[i], show.simple, show.ignore)
			} else {
				answers[i] = ranked(classes, all[i].scores[0], show.most)
			}
		}
		if in.one {
			return answered.writeJSON(c, answers[0])
		}
		return answered.writeJSON(c, answers)
	}
	answer := classifyAnswer{
		openAIHead: s.head("classify-", "list", to.lease), Task: classes.Task, Problem: problemOf(classes),
		Data: show.objects(to.text, classes, all), Usage: inputUsage{tokens, tokens},
	}
	return answered.writeJSON(c, answer)
}

// shape is how answers are shown.
type shape struct {
	simple bool     // entities are joined
	ignore []string // the classes of tokens that are none
	most   int      // scores of a text
}

// objects are the answers to texts.
func (show *shape) objects(text *tokenizer.Tokenizer, classes *models.Classes, all []classified) []classifyObject {
	objects := make([]classifyObject, len(all))
	for i := range all {
		o := classifyObject{Index: i, Classes: len(classes.Names)}
		if classes.Task == models.Tag {
			found := entities(text, classes, &all[i], show.simple, show.ignore)
			o.Entities = &found
		} else {
			o.Probs = all[i].scores[0]
			o.Label, o.Scores = &classes.Names[highest(o.Probs)], ranked(classes, o.Probs, show.most)
		}
		objects[i] = o
	}
	return objects
}

// problemOf is what the scores of texts mean; empty where tokens are classified.
func problemOf(classes *models.Classes) models.Problem {
	if classes.Task != models.Classify {
		return ""
	}
	return classes.Solved()
}

// tasksAnswer is the answer of several adapters, in the order in which they are named.
type tasksAnswer struct {
	openAIHead
	Tasks []taskAnswer `json:"tasks"`
	Usage inputUsage   `json:"usage"`
}

// taskAnswer is that of one, or why there is none.
type taskAnswer struct {
	Name    string           `json:"name"`
	Digest  string           `json:"digest,omitempty"` // none of the base
	Task    models.Task      `json:"task,omitempty"`
	Problem models.Problem   `json:"problem_type,omitempty"`
	Data    []classifyObject `json:"data,omitempty"`
	Error   *openAIError     `json:"error,omitempty"`
}

// classifyTasks answers by each of several adapters.
func (s *Server) classifyTasks(c *fiber.Ctx, named []naming, texts []classifiable, what *classification, show shape, arrived time.Time) error {
	r, release, err := s.answerTasks(c, named, texts, what, arrived)
	if err != nil {
		return err
	}
	answered := held{release}
	defer answered.end()
	answer := tasksAnswer{openAIHead: s.head("classify-", "tasks", nil), Tasks: make([]taskAnswer, len(r.tasks)), Usage: inputUsage{r.tokens, r.tokens}}
	for i, t := range r.tasks {
		a := &answer.Tasks[i]
		if a.Name, a.Digest = t.name, t.digest; t.err != nil {
			f := s.failureFor(r.who, t.err)
			if f.status >= 500 {
				accountOf(c).refused(f)
				s.logFault(c, f.status, t.err, "adapter", t.name)
			}
			body := openAI.errorBody(f).(openAIErrorBody)
			a.Error = &body.Error
			continue
		}
		a.Task, a.Problem, a.Data = t.classes.Task, problemOf(t.classes), show.objects(t.text, t.classes, t.all)
	}
	s.activationsHeader(c)
	r.timing.durations(c)
	b, err := answer.encode()
	if err == nil {
		answered.write(c, b)
	}
	return err
}

// predictInput is what text-embeddings-inference classifies: a text, a list of the
// one or two texts of a sequence, or a list of such lists.
type predictInput struct {
	list  []classifiable
	batch bool
}

func (in *predictInput) decodeField(path string, raw json.RawMessage) error {
	if classOf(raw) == '[' && counted(raw) > 0 && classOf(skipSpace(raw[1:])) == '[' {
		in.batch = true
		var all classifyInput
		err := all.decodeField(path, raw)
		in.list = all.list
		for _, t := range all.list {
			if err == nil && t.tokens != nil {
				err = &fieldError{t.field, "wants one text or the two of a pair, not token ids"}
			}
		}
		return err
	}
	in.list = make([]classifiable, 1)
	if err := in.list[0].decode(path, raw); err != nil {
		return err
	}
	if in.list[0].tokens != nil {
		return wrongType(path+"[0]", []byte("0"), "a string")
	}
	return nil
}

// predictRequest is the body of POST /predict.
type predictRequest struct {
	unreads
	Inputs    predictInput `json:"inputs"`
	RawScores *bool        `json:"raw_scores"`
	teiCut
	Model modelName `json:"model"` // not TEI's: it names an adapter
}

// predict answers with the classes of texts by their scores, or with the entities in
// them.
func (s *Server) predict(c *fiber.Ctx) error {
	var body predictRequest
	if err := s.readJSON(c, &body); err != nil {
		return err
	}
	if len(body.Inputs.list) == 0 {
		return invalid("inputs", "inputs is missing: give the text to classify")
	}
	r := classifyRequest{RawScores: body.RawScores, teiCut: body.teiCut}
	what, _, err := r.wants(s, "inputs")
	if err != nil {
		return err
	}
	arrived := time.Now()
	to, err := s.selected(c, s.openAINaming(c, body.Model))
	if err != nil {
		return err
	}
	defer to.lease.Release()
	classes, err := s.classesOf(to)
	if err != nil {
		return err
	}
	all, _, release, err := s.classify(c, to, classes, body.Inputs.list, &what, arrived)
	if err != nil {
		return err
	}
	answered := held{release}
	defer answered.end()
	answers := make([]any, len(all))
	for i := range all {
		if classes.Task == models.Tag {
			answers[i] = entities(to.text, classes, &all[i], false, nil)
		} else {
			answers[i] = ranked(classes, all[i].scores[0], len(classes.Names))
		}
	}
	if !body.Inputs.batch {
		return answered.writeJSON(c, answers[0])
	}
	return answered.writeJSON(c, answers)
}
