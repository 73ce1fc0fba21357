package serve

import (
	"slices"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/models/pooling"
)

// poolingRequest is the body of POST /pooling, vLLM's.
type poolingRequest struct {
	unreads
	Model     modelName `json:"model"`
	Input     prompts   `json:"input"`
	Task      *string   `json:"task"`
	Format    *string   `json:"encoding_format"`
	Activated *bool     `json:"use_activation"`
	User      ignored   `json:"user"`
	RequestID ignored   `json:"request_id"`

	Truncate   *int          `json:"truncate_prompt_tokens"`
	Side       *string       `json:"truncation_side"`
	Dimensions unimplemented `json:"dimensions"`
	Priority   unimplemented `json:"priority" only:"0"`
	AddSpecial unimplemented `json:"add_special_tokens" only:"true"`
	Messages   unimplemented `json:"messages"`
	DType      unimplemented `json:"embed_dtype" only:"\"float32\""`
	Endianness unimplemented `json:"endianness" only:"\"native\"|\"little\""`
}

// poolingAnswer is the answer to it.
type poolingAnswer struct {
	openAIHead
	Data  []poolingObject `json:"data"`
	Usage inputUsage      `json:"usage"`
}

type poolingObject struct {
	Index  int    `json:"index"`
	Object string `json:"object"`
	Data   any    `json:"data"` // numbers, a row a token or one of a text, or the bytes of all in base64
}

// The values of task. vLLM has those of heads too, which /v1/classify answers.
const (
	tokenEmbed = "token_embed"
	textEmbed  = "embed"
)

// wants reads what is asked of the texts.
func (r *poolingRequest) wants(s *Server) (what embedding, err error) {
	what = embedding{field: "input", raw: !or(r.Activated, true)}
	switch task := or(r.Task, tokenEmbed); task {
	case tokenEmbed:
		what.tokens = true
	case textEmbed:
	default:
		return what, invalid("task", "task is %q: it is token_embed or embed here; POST %s classifies", task, classifyPath)
	}
	if what.truncate, err = s.truncates(r.Truncate); err != nil {
		return what, err
	}
	switch side := or(r.Side, "right"); side {
	case "right":
	case "left":
		what.left = true
	default:
		return what, invalid("truncation_side", "truncation_side is %q: it is left or right", side)
	}
	return what, nil
}

// pooling answers with the hidden states of all tokens, each made a vector of length
// one, or with embeddings.
func (s *Server) pooling(c *fiber.Ctx) error {
	var body poolingRequest
	if err := s.readJSON(c, &body); err != nil {
		return err
	}
	if len(body.Input) == 0 {
		return invalid("input", "input is missing: give the text to embed")
	}
	inBase64, err := encodingFormat(body.Format)
	if err != nil {
		return err
	}
	what, err := body.wants(s)
	if err != nil {
		return err
	}
	arrived := time.Now()
	to, err := s.selected(c, s.openAINaming(c, body.Model))
	if err != nil {
		return err
	}
	defer to.lease.Release()
	made, err := s.embed(c, to, body.Input, fieldOf("input", len(body.Input)), &what, arrived)
	if err != nil {
		return err
	}
	answered := held{made.release}
	defer answered.end()
	answer := poolingAnswer{openAIHead: s.head("pool-", "list", to.lease), Data: make([]poolingObject, len(made.rows)), Usage: inputUsage{made.tokens, made.tokens}}
	for i, m := range made.rows {
		rows := rowsOf(m)
		if what.tokens && !what.raw {
			for _, row := range rows {
				pooling.Normalize(row)
			}
		}
		answer.Data[i] = poolingObject{i, "pooling", rows}
		switch {
		case inBase64:
			answer.Data[i].Data = floats(slices.Concat(rows...), true)
		case !what.tokens:
			answer.Data[i].Data = rows[0]
		}
	}
	return answered.writeJSON(c, answer)
}
