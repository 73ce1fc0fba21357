package serve

import (
	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/runtime"
)

// generateRequest is the body of the native route, of TGI's and of LoRAX's.
type generateRequest struct {
	unreads
	Inputs     *string            `json:"inputs"`
	Parameters generateParameters `json:"parameters"`
	Stream     *bool              `json:"stream"`
}

type generateParameters struct {
	unreads
	AdapterID     *string         `json:"adapter_id"`
	Merged        *mergedAdapters `json:"merged_adapters"`
	MaxNewTokens  *int            `json:"max_new_tokens"`
	DoSample      *bool           `json:"do_sample"`
	Temperature   *float64        `json:"temperature"`
	TopK          *int            `json:"top_k"`
	TopP          *float64        `json:"top_p"`
	Repetition    *float64        `json:"repetition_penalty"`
	Frequency     *float64        `json:"frequency_penalty"`
	Seed          *seedNumber     `json:"seed"`
	Stop          []string        `json:"stop"`
	IgnoreEOS     *bool           `json:"ignore_eos_token"`
	ReturnFull    *bool           `json:"return_full_text"`
	Details       *bool           `json:"details"`
	PromptDetails *bool           `json:"decoder_input_details"`
	Truncate      *int            `json:"truncate"`

	// What the answer is kept to: TGI's field, and LoRAX's two.
	Grammar        typedForm   `json:"grammar"`
	ResponseFormat typedForm   `json:"response_format"`
	Schema         schemaField `json:"schema"`

	BestOf        unimplemented `json:"best_of" only:"1"`
	TypicalP      unimplemented `json:"typical_p" only:"1|1.0"`
	Watermark     unimplemented `json:"watermark" only:"false"`
	TopNTokens    unimplemented `json:"top_n_tokens" only:"0"`
	Alternatives  unimplemented `json:"return_k_alternatives" only:"0"`
	AdapterSource unimplemented `json:"adapter_source" only:"\"local\""`
	APIToken      unimplemented `json:"api_token" only:"\"\""`
	ChatTemplate  unimplemented `json:"apply_chat_template" only:"false"`
}

// defaultNewTokens is TGI's max_new_tokens.
const defaultNewTokens = 100

// check reports what is wrong with a body by itself.
func (r *generateRequest) check() error {
	if err := r.Parameters.check(); err != nil {
		return err
	}
	switch {
	case r.Inputs == nil:
		return invalid("inputs", "inputs is missing: give the text to continue")
	case or(r.Stream, false) && or(r.Parameters.PromptDetails, false):
		return invalid("parameters.decoder_input_details", "parameters.decoder_input_details is not for streams")
	}
	return nil
}

// form is what the answer is to be kept to; nil: nothing.
func (p *generateParameters) form() (*form, error) {
	f, err := oneForm(p.Grammar.form, p.ResponseFormat.form, p.Schema.form)
	if f != nil && or(p.IgnoreEOS, false) {
		return nil, invalid("parameters.ignore_eos_token", "parameters.ignore_eos_token goes on after the end, and an answer that is kept to %s ends where it says: leave it out", f.field)
	}
	return f, err
}

// generateRequest is the runtime's request for body.
func (s *Server) generateRequest(c *fiber.Ctx, body *generateRequest, to selection) (*runtime.Request, error) {
	p := &body.Parameters
	prompt, err := s.encodeLast(c, to.text, "inputs", *body.Inputs, true, or(p.Truncate, 0))
	if err != nil {
		return nil, err
	}
	r := &runtime.Request{
		Lease: to.lease, Tenant: to.who.tenant, Group: group(c), Scope: to.who.scope, Prompt: prompt,
		Sampling: p.sampling(), Stop: p.Stop, IgnoreEOS: or(p.IgnoreEOS, false),
		Logprobs: -1, PromptLogprobs: -1,
	}
	if or(p.Details, false) || or(body.Stream, false) {
		r.Logprobs = 0
	}
	if or(p.PromptDetails, false) {
		r.PromptLogprobs = 0
	}
	if err := s.setLength(to, r, p.MaxNewTokens, defaultNewTokens, "parameters.max_new_tokens"); err != nil {
		return nil, err
	}
	return r, s.fits(to, r, "inputs", "parameters.max_new_tokens")
}

// sampling is greedy unless the request asks for, or implies, a random choice.
func (p *generateParameters) sampling() runtime.Sampling {
	r := runtime.Sampling{
		Temperature: float32(or(p.Temperature, 1)), TopK: or(p.TopK, 0), TopP: nucleusOf(or(p.TopP, 1)),
		Repetition: float32(or(p.Repetition, 1)), Frequency: float32(or(p.Frequency, 0)), Seed: seedOf(p.Seed),
	}
	if !or(p.DoSample, false) && r.Temperature == 1 && r.TopK == 0 && r.TopP == 1 {
		r.Temperature = 0
	}
	return r
}

func (p *generateParameters) check() error {
	bad := func(name, format string, args ...any) error {
		return invalid("parameters."+name, "parameters."+name+" "+format, args...)
	}
	switch {
	case p.MaxNewTokens != nil && *p.MaxNewTokens < 0:
		return bad("max_new_tokens", "is %d, below 0", *p.MaxNewTokens)
	case p.Temperature != nil && !(*p.Temperature >= 0 && *p.Temperature <= 100):
		return bad("temperature", "is %g, outside 0 to 100", *p.Temperature)
	case p.Truncate != nil && *p.Truncate < 1:
		return bad("truncate", "is %d: give how many of the last tokens to keep", *p.Truncate)
	case p.TopK != nil && *p.TopK < 0:
		return bad("top_k", "is %d, below 0", *p.TopK)
	case p.TopP != nil && !(*p.TopP >= 0 && *p.TopP <= 1):
		return bad("top_p", "is %g, outside 0 to 1", *p.TopP)
	case p.Repetition != nil && !(*p.Repetition > 0):
		return bad("repetition_penalty", "is %g: it has to be above 0; 1 is off", *p.Repetition)
	case p.Frequency != nil && !(*p.Frequency >= -2 && *p.Frequency <= 2):
		return bad("frequency_penalty", "is %g, outside -2 to 2", *p.Frequency)
	case or(p.PromptDetails, false) && !or(p.Details, false):
		return bad("decoder_input_details", "needs details: true")
	}
	return checkStops("parameters.stop", p.Stop)
}
