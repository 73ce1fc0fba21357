package serve

import "github.com/gofiber/fiber/v2"

// tokenizeRequest is TGI's body, with inputs, or vLLM's, with prompt.
type tokenizeRequest struct {
	Inputs     *string `json:"inputs"`
	Prompt     *string `json:"prompt"`
	Model      string  `json:"model"`
	AddSpecial *bool   `json:"add_special_tokens"`
	Parameters ignored `json:"parameters"` // TGI sends a whole generate body
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
	text, err := s.wordsFor(c, body.Model)
	if err != nil {
		return err
	}
	special := or(body.AddSpecial, true)
	switch {
	case (body.Inputs == nil) == (body.Prompt == nil):
		return invalid("inputs", "give the text as inputs or, in vLLM's way, as prompt")
	case body.Prompt != nil:
		ids, _, err := s.tokens(c, text, "prompt", *body.Prompt, special)
		if err != nil {
			return err
		}
		return writeJSON(c, fiber.StatusOK, struct {
			Count   int     `json:"count"`
			Context int     `json:"max_model_len"`
			Tokens  []int32 `json:"tokens"`
		}{len(ids), s.context, append([]int32{}, ids...)})
	}
	ids, spans, err := s.tokens(c, text, "inputs", *body.Inputs, special)
	if err != nil {
		return err
	}
	tokens, decoder := make([]tgiSimpleToken, len(ids)), text.NewDecoder(true)
	for i, at := range inCharacters(*body.Inputs, spans) {
		token := decoder.Push(ids[i])
		if text.IsSpecial(ids[i]) {
			token = tokenText(text, ids[i])
		}
		tokens[i] = tgiSimpleToken{ids[i], token, at.Start, at.End}
	}
	return writeJSON(c, fiber.StatusOK, tokens)
}

// detokenizeRequest is vLLM's body.
type detokenizeRequest struct {
	Model  string  `json:"model"`
	Tokens []int32 `json:"tokens"`
}

func (s *Server) detokenize(c *fiber.Ctx) error {
	var body detokenizeRequest
	if err := s.readJSON(c, &body); err != nil {
		return err
	}
	text, err := s.wordsFor(c, body.Model)
	if err != nil {
		return err
	}
	if body.Tokens == nil {
		return invalid("tokens", "tokens is missing: give the ids to make text of")
	}
	for i, id := range body.Tokens {
		if id < 0 || int(id) >= s.vocabulary {
			return invalid("tokens", "tokens[%d] is %d: the vocabulary has %d", i, id, s.vocabulary)
		}
	}
	return writeJSON(c, fiber.StatusOK, struct {
		Prompt string `json:"prompt"`
	}{text.Decode(body.Tokens, false)})
}

// wordsFor is the tokenizer of the adapter that a request selects.
func (s *Server) wordsFor(c *fiber.Ctx, model string) (words, error) {
	adapter, err := s.adapterFor(c, s.openAINaming(model))
	if err != nil {
		return words{}, err
	}
	return s.words(c, adapter)
}
