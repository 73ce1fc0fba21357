package serve

import (
	"encoding/json"

	"github.com/gofiber/fiber/v2"
)

// tokenizeRequest is TGI's body, with inputs, or vLLM's, with prompt or messages.
type tokenizeRequest struct {
	unreads
	Inputs     *string   `json:"inputs"`
	Prompt     *string   `json:"prompt"`
	Model      modelName `json:"model"`
	AddSpecial *bool     `json:"add_special_tokens"`
	ReturnText *bool     `json:"return_token_strs"`

	Turns             chatTurns                  `json:"messages"`
	Tools             []chatTool                 `json:"tools"`
	GenerationPrompt  *bool                      `json:"add_generation_prompt"`
	ContinueFinal     *bool                      `json:"continue_final_message"`
	TemplateVariables map[string]json.RawMessage `json:"chat_template_kwargs"`
	Template          unimplemented              `json:"chat_template"`

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
	to, err := s.selected(c, s.openAINaming(c, body.Model))
	if err != nil {
		return err
	}
	defer to.lease.Release()
	given := 0
	for _, is := range []bool{body.Inputs != nil, body.Prompt != nil, body.Turns != nil} {
		if is {
			given++
		}
	}
	special := or(body.AddSpecial, true)
	switch {
	case given != 1:
		return invalid("inputs", "give the text as inputs or, in vLLM's way, as prompt or as messages")
	case body.Inputs != nil && body.ReturnText != nil:
		return invalid("return_token_strs", "return_token_strs goes with prompt and with messages, and the answer to inputs has the texts: leave it out")
	case body.Turns == nil && body.ofMessages() != "":
		return invalid(body.ofMessages(), "%s goes with messages: leave it out", body.ofMessages())
	case body.Turns != nil:
		text, err := s.conversation(c, &body, to)
		if err != nil {
			return err
		}
		return s.tokenizePrompt(c, &body, to, "messages", text, or(body.AddSpecial, false))
	case body.Prompt != nil:
		return s.tokenizePrompt(c, &body, to, "prompt", *body.Prompt, special)
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

// ofMessages is a field that only messages are rendered by.
func (r *tokenizeRequest) ofMessages() string {
	switch {
	case r.Tools != nil:
		return "tools"
	case r.GenerationPrompt != nil:
		return "add_generation_prompt"
	case r.ContinueFinal != nil:
		return "continue_final_message"
	case r.TemplateVariables != nil:
		return "chat_template_kwargs"
	}
	return ""
}

// conversation is the prompt of the messages, as a chat renders them.
func (s *Server) conversation(c *fiber.Ctx, body *tokenizeRequest, to selection) (string, error) {
	chat := chatRequest{
		Turns: body.Turns, Tools: body.Tools, GenerationPrompt: body.GenerationPrompt,
		ContinueFinal: body.ContinueFinal, TemplateVariables: body.TemplateVariables,
	}
	if err := chat.check(s); err != nil {
		return "", err
	}
	text, _, err := s.chatPrompt(c, &chat, to)
	return text, err
}

// tokenizePrompt answers in vLLM's way.
func (s *Server) tokenizePrompt(c *fiber.Ctx, body *tokenizeRequest, to selection, field, text string, special bool) error {
	ids, _, err := s.tokens(c, to.text, field, text, special)
	if err != nil {
		return err
	}
	answer := struct {
		Count   int      `json:"count"`
		Context int      `json:"max_model_len"`
		Tokens  []int32  `json:"tokens"`
		Texts   []string `json:"token_strs"`
	}{Count: len(ids), Context: s.context, Tokens: append([]int32{}, ids...)}
	if or(body.ReturnText, false) {
		answer.Texts = make([]string, len(ids))
		for i, id := range ids {
			answer.Texts[i] = tokenText(to.text, id)
		}
	}
	return writeJSON(c, fiber.StatusOK, answer)
}

// tokenizerInfo tells of the base's tokenizer what a client needs that renders
// conversations itself, by the names of tokenizer_config.json.
func (s *Server) tokenizerInfo(c *fiber.Ctx) error {
	info := fiber.Map{"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": s.context}
	for _, name := range []string{"bos_token", "eos_token", "unk_token", "pad_token"} {
		if id, ok := s.text.Role(name); ok {
			info[name] = s.text.Token(id)
		}
	}
	if t := s.templates.base; t != nil {
		info["chat_template"] = t.template().Text(false)
	}
	return writeJSON(c, fiber.StatusOK, info)
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
