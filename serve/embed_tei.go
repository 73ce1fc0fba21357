package serve

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models/pooling"
)

// teiTexts is what text-embeddings-inference embeds: a text, or a list of texts and
// of arrays of token ids. Unlike OpenAI's, an array of numbers alone is no text.
type teiTexts struct {
	list []prompt
	one  bool
}

func (t *teiTexts) decodeField(path string, raw json.RawMessage) error {
	t.one = classOf(raw) == '"'
	if classOf(raw) == '[' && counted(raw) > 0 && classOf(skipSpace(raw[1:])) == '0' {
		return &fieldError{path + "[0]", "wants a string or an array of token ids, not a number"}
	}
	return (*prompts)(&t.list).decodeField(path, raw)
}

// teiCut is how texts are cut that are too long.
type teiCut struct {
	Truncate  *bool   `json:"truncate"`
	Direction *string `json:"truncation_direction"`
}

func (t teiCut) into(what *embedding, path string) error {
	what.truncate = or(t.Truncate, false)
	switch or(t.Direction, "Right") {
	case "Right", "right":
	case "Left", "left":
		what.left = true
	default:
		return invalid(path+"truncation_direction", "%struncation_direction is %q: it is Left or Right", path, *t.Direction)
	}
	return nil
}

// embedRequest is the body of POST /embed, and without its last two fields of
// /embed_all.
type embedRequest struct {
	embedAllRequest
	Normalize  *bool `json:"normalize"`
	Dimensions *int  `json:"dimensions"`
}

type embedAllRequest struct {
	unreads
	Inputs teiTexts `json:"inputs"`
	teiCut
	PromptName *string   `json:"prompt_name"`
	Model      modelName `json:"model"` // not TEI's: it names an adapter
}

// embedRoute answers with embeddings, which are normalised unless the request says
// otherwise: TEI's default, whatever the base's files say.
func (s *Server) embedRoute(c *fiber.Ctx) error {
	var body embedRequest
	if err := s.readJSON(c, &body); err != nil {
		return err
	}
	made, err := s.embedTEI(c, &body.embedAllRequest, &embedding{dimensions: body.Dimensions, raw: true})
	if err != nil {
		return err
	}
	answered := held{made.release}
	defer answered.end()
	rows := make([][]float32, len(made.rows))
	for i, m := range made.rows {
		if rows[i] = m.Row(0); or(body.Normalize, true) {
			pooling.Normalize(rows[i])
		}
	}
	return answered.writeJSON(c, rows)
}

// embedAll answers with the hidden states of all tokens.
func (s *Server) embedAll(c *fiber.Ctx) error {
	var body embedAllRequest
	if err := s.readJSON(c, &body); err != nil {
		return err
	}
	made, err := s.embedTEI(c, &body, &embedding{tokens: true})
	if err != nil {
		return err
	}
	answered := held{made.release}
	defer answered.end()
	texts := make([][][]float32, len(made.rows))
	for i, m := range made.rows {
		texts[i] = rowsOf(m)
	}
	return answered.writeJSON(c, texts)
}

func rowsOf(m kernels.Matrix) [][]float32 {
	rows := make([][]float32, m.Rows)
	for i := range rows {
		rows[i] = m.Row(i)
	}
	return rows
}

func (s *Server) embedTEI(c *fiber.Ctx, body *embedAllRequest, what *embedding) (*embedded, error) {
	what.field, what.prompt = "inputs", body.PromptName
	if len(body.Inputs.list) == 0 {
		return nil, invalid("inputs", "inputs is missing: give the text to embed")
	}
	if err := body.into(what, ""); err != nil {
		return nil, err
	}
	arrived := time.Now()
	to, err := s.selected(c, s.openAINaming(c, body.Model))
	if err != nil {
		return nil, err
	}
	defer to.lease.Release()
	return s.embed(c, to, body.Inputs.list, body.Inputs.field, what, arrived)
}

func (t *teiTexts) field(i int) string {
	if t.one {
		return "inputs"
	}
	return fmt.Sprintf("inputs[%d]", i)
}

// similarityRequest is the body of POST /similarity.
type similarityRequest struct {
	unreads
	Inputs     similarityInputs     `json:"inputs"`
	Parameters similarityParameters `json:"parameters"`
	Model      modelName            `json:"model"`
}

type similarityInputs struct {
	unreads
	Source    *string  `json:"source_sentence"`
	Sentences []string `json:"sentences"`
}

type similarityParameters struct {
	unreads
	teiCut
	PromptName *string `json:"prompt_name"`
}

// similarity answers with the cosines of a text and others.
func (s *Server) similarity(c *fiber.Ctx) error {
	var body similarityRequest
	if err := s.readJSON(c, &body); err != nil {
		return err
	}
	if body.Inputs.Source == nil || len(body.Inputs.Sentences) == 0 {
		return invalid("inputs", "inputs wants source_sentence and sentences: give both")
	}
	if n := len(body.Inputs.Sentences) + 1; n > maxSequences {
		return invalid("inputs.sentences", "inputs.source_sentence and inputs.sentences have %d texts: give at most %d at a time", n, maxSequences)
	}
	what := embedding{field: "inputs.sentences", prompt: body.Parameters.PromptName}
	if err := body.Parameters.into(&what, "parameters."); err != nil {
		return err
	}
	arrived := time.Now()
	to, err := s.selected(c, s.openAINaming(c, body.Model))
	if err != nil {
		return err
	}
	defer to.lease.Release()
	scores, _, err := s.cosines(c, to, pairs{
		first: []string{*body.Inputs.Source}, second: body.Inputs.Sentences,
		names: [2]func(int) string{fieldOf("inputs.source_sentence", 1), fieldOf("inputs.sentences", 2)},
	}, &what, arrived)
	if err != nil {
		return err
	}
	return writeJSON(c, fiber.StatusOK, scores)
}
