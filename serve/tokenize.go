package serve

import "github.com/gofiber/fiber/v2"

// tokenizeRequest is TGI's body, with inputs, or vLLM's, with prompt.
type tokenizeRequest struct {
	unreads
	Inputs     *string   `json:"inputs"`
	Prompt     *string   `json:"prompt"`
	Model      modelName `json:"model"`
	AddSpecial *bool     `json:"add_special_tokens"`
	Parameters ignored   `json:"parameters"` // TGI sends a whole generate body
}

type tgiSimpleToken struct {
	ID    int32  `json:"id"`
	Text  string `json:"text"`
	Start int    `json:"start"`
	Stop  int    `json:"stop"`
}

// tokenize answers as the server whose body it was sent: TGI's list of tokens,
// with the characters they begin and end at, or vLLM's object.
func (s *Server) tokenize(c *fiber.Ctx) error {
	var body tokenizeRequest
	if err := s.readJSON(c, &body); err != nil {
		return err
	}
	to, err := s.selected(c, s.openAINaming(c, body.Model))
	if err != nil {
		return err
	}
	defer to.lease.Release()
	special := or(body.AddSpecial, true)
	switch {
	case (body.Inputs == nil) == (body.Prompt == nil):
		return invalid("inputs", "give the text as inputs or, in vLLM's way, as prompt")
	case body.Prompt != nil:
		ids, _, err := s.tokens(c, to.text, "prompt", *body.Prompt, special)
		if err != nil {
			return err
		}
		return writeJSON(c, fiber.StatusOK, struct {
			Count   int     `json:"count"`
			Context int     `json:"max_model_len"`
			Tokens  []int32 `json:"tokens"`
		}{len(ids), s.context, append([]int32{}, ids...)})
	}
	ids, spans, err := s.tokens(c, to.text, "inputs", *body.Inputs, special)
	if err != nil {
		return err
	}
	tokens, decoder := make([]tgiSimpleToken, len(ids)), to.text.NewDecoder(true)
	for i, at := range inCharacters(*body.Inputs, spans) {
		token := decoder.Push(ids[i])
		if to.text.IsSpecial(ids[i]) {
			token = tokenText(to.text, ids[i])
		}
		tokens[i] = tgiSimpleToken{ids[i], token, at.Start, at.End}
	}
	return writeJSON(c, fiber.StatusOK, tokens)
}

// detokenizeRequest is vLLM's body.
type detokenizeRequest struct {
	unreads
	Model  modelName `json:"model"`
	Tokens []int32   `json:"tokens"`
}

func (s *Server) detokenize(c *fiber.Ctx) error {
	var body detokenizeRequest
	if err := s.readJSON(c, &body); err != nil {
		return err
	}
	to, err := s.selected(c, s.openAINaming(c, body.Model))
	if err != nil {
		return err
	}
	defer to.lease.Release()
	if body.Tokens == nil {
		return invalid("tokens", "tokens is missing: give the ids to make text of")
	}
	for i, id := range body.Tokens {
		if id < 0 || int(id) >= to.vocabulary {
			return invalid("tokens", "tokens[%d] is %d: the vocabulary has %d", i, id, to.vocabulary)
		}
	}
	return writeJSON(c, fiber.StatusOK, struct {
		Prompt string `json:"prompt"`
	}{to.text.Decode(body.Tokens, false)})
}
