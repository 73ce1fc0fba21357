package serve

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/gofiber/fiber/v2"
)

// embeddingsRequest is the body of POST /v1/embeddings: OpenAI's, and vLLM's
// truncation.
type embeddingsRequest struct {
	unreads
	Model      modelName `json:"model"`
	Input      prompts   `json:"input"`
	Format     *string   `json:"encoding_format"`
	Dimensions *int      `json:"dimensions"`
	User       ignored   `json:"user"`
	RequestID  ignored   `json:"request_id"`

	PromptName *string       `json:"prompt_name"` // of the base's files
	Truncate   *int          `json:"truncate_prompt_tokens"`
	Priority   unimplemented `json:"priority" only:"0"`
	AddSpecial unimplemented `json:"add_special_tokens" only:"true"`
	Messages   unimplemented `json:"messages"`
	DType      unimplemented `json:"embed_dtype" only:"\"float32\""`
	Endianness unimplemented `json:"endianness" only:"\"native\"|\"little\""`
}

// embeddingsAnswer is the answer to it.
type embeddingsAnswer struct {
	Object string            `json:"object"`
	Data   []embeddingObject `json:"data"`
	Model  string            `json:"model"`
	Usage  inputUsage        `json:"usage"`
}

type embeddingObject struct {
	Object    string `json:"object"`
	Index     int    `json:"index"`
	Embedding any    `json:"embedding"` // numbers, or their bytes in base64
}

// inputUsage is the usage of what is read and not continued.
type inputUsage struct {
	Prompt int `json:"prompt_tokens"`
	Total  int `json:"total_tokens"`
}

func (s *Server) embeddings(c *fiber.Ctx) error {
	var body embeddingsRequest
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
	what := embedding{field: "input", prompt: body.PromptName, dimensions: body.Dimensions}
	if what.truncate, err = s.truncates(body.Truncate); err != nil {
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
	answer := embeddingsAnswer{
		Object: "list", Data: make([]embeddingObject, len(made.rows)), Model: s.head("", "", to.lease).Model,
		Usage: inputUsage{made.tokens, made.tokens},
	}
	for i, m := range made.rows {
		answer.Data[i] = embeddingObject{"embedding", i, floats(m.Row(0), inBase64)}
	}
	return answered.writeJSON(c, answer)
}

// fieldOf names the elements of a field that may have one or several.
func fieldOf(field string, n int) func(int) string {
	return func(i int) string {
		if n == 1 {
			return field
		}
		return fmt.Sprintf("%s[%d]", field, i)
	}
}

// encodingFormat reports whether numbers are wanted in base64.
func encodingFormat(format *string) (inBase64 bool, err error) {
	switch or(format, "float") {
	case "float":
		return false, nil
	case "base64":
		return true, nil
	}
	return false, invalid("encoding_format", "encoding_format is %q: it is float or base64", *format)
}

// floats are numbers as JSON, or in base64 of their bytes, little-endian.
func floats(row []float32, inBase64 bool) any {
	if !inBase64 {
		return row
	}
	b := make([]byte, 0, 4*len(row))
	for _, f := range row {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	return base64.StdEncoding.EncodeToString(b)
}
