package serve

import (
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/runtime"
)

// openAIRequest is what /v1/completions and /v1/chat/completions share: the
// fields of OpenAI's API and of vLLM's sampling extensions.
type openAIRequest struct {
	unreads
	Model         modelName          `json:"model"`
	LoRA          []loraScale        `json:"lora"` // llama.cpp's
	N             *int               `json:"n"`
	Stream        *bool              `json:"stream"`
	StreamOptions *openAIStreamShape `json:"stream_options"`

	MaxTokens   *int        `json:"max_tokens"`
	Stop        stopStrings `json:"stop"`
	Seed        *seedNumber `json:"seed"`
	Temperature *float64    `json:"temperature"`
	TopP        *float64    `json:"top_p"`
	Presence    *float64    `json:"presence_penalty"`
	Frequency   *float64    `json:"frequency_penalty"`
	LogitBias   biases      `json:"logit_bias"`

	TopK             *int          `json:"top_k"`
	MinP             *float64      `json:"min_p"`
	Repetition       *float64      `json:"repetition_penalty"`
	StopIDs          []int32       `json:"stop_token_ids"`
	KeepStop         *bool         `json:"include_stop_str_in_output"`
	IgnoreEOS        *bool         `json:"ignore_eos"`
	MinTokens        *int          `json:"min_tokens"`
	Truncate         *int          `json:"truncate_prompt_tokens"`
	PromptLogprobs   *int          `json:"prompt_logprobs"`
	ReturnIDs        *bool         `json:"return_token_ids"`
	SkipSpecial      *bool         `json:"skip_special_tokens"`
	AddSpecial       *bool         `json:"add_special_tokens"`
	User             ignored       `json:"user"`
	RequestID        ignored       `json:"request_id"`
	SafetyIdentifier ignored       `json:"safety_identifier"`
	PromptCacheKey   ignored       `json:"prompt_cache_key"`
	ServiceTier      unimplemented `json:"service_tier" only:"\"auto\"|\"default\""`
	LengthPenalty    unimplemented `json:"length_penalty" only:"1|1.0"`
	BeamSearch       unimplemented `json:"use_beam_search" only:"false"`
	BestOf           unimplemented `json:"best_of" only:"1"`
	TokensAsIDs      unimplemented `json:"return_tokens_as_token_ids" only:"false"`
	SpacesBetween    unimplemented `json:"spaces_between_special_tokens" only:"true"`
	AllowedTokens    unimplemented `json:"allowed_token_ids"`
	BadWords         unimplemented `json:"bad_words" only:"[]"`
	Priority         unimplemented `json:"priority" only:"0"`
	// What the answer is kept to: see structured.go. vLLM's names have two spellings.
	ResponseFormat    typedForm         `json:"response_format"`
	GuidedJSON        schemaField       `json:"guided_json"`
	GuidedRegex       regexField        `json:"guided_regex"`
	GuidedChoice      choiceField       `json:"guided_choice"`
	GuidedGrammar     unimplemented     `json:"guided_grammar"`
	GuidedBackend     ignored           `json:"guided_decoding_backend"`
	GuidedSpace       unimplemented     `json:"guided_whitespace_pattern"`
	StructuredOutputs structuredOutputs `json:"structured_outputs"`
}

type openAIStreamShape struct {
	unreads
	IncludeUsage *bool `json:"include_usage"`
	// Obfuscation is padding against length side channels on OpenAI's wire.
	Obfuscation     unimplemented `json:"include_obfuscation" only:"false"`
	ContinuousUsage *bool         `json:"continuous_usage_stats"`
}

func (r *openAIRequest) streams() bool { return r.Stream != nil && *r.Stream }

func (r *openAIRequest) includesUsage() bool {
	return r.StreamOptions != nil && r.StreamOptions.IncludeUsage != nil && *r.StreamOptions.IncludeUsage
}

// usageSoFar is what an event of a stream tells of its choice, where events are to;
// nil: they are not.
func (r *openAIRequest) usageSoFar(prompt, completion int) *openAIUsage {
	if !r.includesUsage() || !or(r.StreamOptions.ContinuousUsage, false) {
		return nil
	}
	return &openAIUsage{Prompt: prompt, Completion: completion, Total: prompt + completion}
}

// maxChoices is the most answers that one request may ask for with n.
const maxChoices = 128

// check reports a field that is out of range.
func (r *openAIRequest) check() error {
	between := func(name string, v *float64, low, high float64) error {
		if v != nil && !(*v >= low && *v <= high) {
			return invalid(name, "%s is %g, outside %g to %g", name, *v, low, high)
		}
		return nil
	}
	switch {
	case r.N != nil && (*r.N < 1 || *r.N > maxChoices):
		return invalid("n", "n is %d, outside 1 to %d", *r.N, maxChoices)
	case r.MaxTokens != nil && *r.MaxTokens < 0:
		return invalid("max_tokens", "max_tokens is %d, below 0", *r.MaxTokens)
	case r.MinTokens != nil && *r.MinTokens < 0:
		return invalid("min_tokens", "min_tokens is %d, below 0", *r.MinTokens)
	case r.Truncate != nil && (*r.Truncate < -1 || *r.Truncate == 0):
		return invalid("truncate_prompt_tokens", "truncate_prompt_tokens is %d: give how many of the last tokens to keep, or -1 for what the context holds", *r.Truncate)
	case r.PromptLogprobs != nil && r.streams():
		return invalid("prompt_logprobs", "prompt_logprobs is not for streams")
	case r.StreamOptions != nil && !r.streams():
		return invalid("stream_options", "stream_options is only for stream: true")
	case r.TopP != nil && !(*r.TopP >= 0 && *r.TopP <= 1):
		return invalid("top_p", "top_p is %g, outside 0 to 1", *r.TopP)
	case r.TopK != nil && *r.TopK < -1:
		return invalid("top_k", "top_k is %d: give a number of tokens, or -1 or 0 for all", *r.TopK)
	case r.Repetition != nil && !(*r.Repetition > 0):
		return invalid("repetition_penalty", "repetition_penalty is %g: it has to be above 0; 1 is off", *r.Repetition)
	case len(r.StopIDs) > maxStopIDs:
		return invalid("stop_token_ids", "stop_token_ids has %d tokens: give at most %d", len(r.StopIDs), maxStopIDs)
	}
	for _, fault := range []error{
		checkStops("stop", r.Stop),
		between("temperature", r.Temperature, 0, 100),
		between("min_p", r.MinP, 0, 1),
		between("presence_penalty", r.Presence, -2, 2),
		between("frequency_penalty", r.Frequency, -2, 2),
	} {
		if fault != nil {
			return fault
		}
	}
	return nil
}

// checkPromptLogprobs reports more or fewer of them than there may be.
func (r *openAIRequest) checkPromptLogprobs(most int) error {
	if n := or(r.PromptLogprobs, 0); n < 0 || n > most {
		return invalid("prompt_logprobs", "prompt_logprobs is %d, outside 0 to %d", n, most)
	}
	return nil
}

// kept is how many of the last tokens of a prompt are kept, in a context that is
// to hold that many of an answer, too; 0: all.
func (r *openAIRequest) kept(context, answer int) int {
	switch keep := or(r.Truncate, 0); {
	case keep < 0:
		return max(context-max(answer, 1), 1)
	default:
		return keep
	}
}

// checkLength reports an answer that would have to be longer than it may be.
func (r *openAIRequest) checkLength(request *runtime.Request) error {
	if request.MaxTokens >= 0 && request.MinTokens > request.MaxTokens {
		return invalid("min_tokens", "min_tokens is %d, and the answer has at most %d tokens", request.MinTokens, request.MaxTokens)
	}
	return nil
}

// checkTokens reports a token that the vocabulary does not have.
func (r *openAIRequest) checkTokens(vocabulary int) error {
	for id := range r.LogitBias {
		if int(id) >= vocabulary {
			return invalid("logit_bias", "logit_bias names token %d: the vocabulary has %d", id, vocabulary)
		}
	}
	for i, id := range r.StopIDs {
		if id < 0 || int(id) >= vocabulary {
			return invalid("stop_token_ids", "stop_token_ids[%d] is %d: the vocabulary has %d", i, id, vocabulary)
		}
	}
	return nil
}

// form is what the answer is to be kept to, of more than the fields here, too; nil:
// nothing.
func (r *openAIRequest) form(more ...form) (*form, error) {
	f, err := oneForm(append(more, r.ResponseFormat.form, r.GuidedJSON.form, r.GuidedRegex.form, r.GuidedChoice.form, r.StructuredOutputs.form)...)
	if f != nil && or(r.IgnoreEOS, false) {
		return nil, invalid("ignore_eos", "ignore_eos goes on after the end, and an answer that is kept to %s ends where it says: leave it out", f.field)
	}
	if f != nil && or(r.MinTokens, 0) > 0 {
		return nil, invalid("min_tokens", "min_tokens forbids the end, and an answer that is kept to %s ends where it says: leave it out", f.field)
	}
	return f, err
}

// openAIRequest is what every choice of r asks for, without a prompt.
func (s *Server) openAIRequest(c *fiber.Ctx, r *openAIRequest, to selection) runtime.Request {
	otherwise := to.sampling.Over(s.config.Sampling)
	sampling := runtime.Sampling{
		Temperature: float32(or(r.Temperature, or(otherwise.Temperature, 1))),
		TopP:        nucleusOf(or(r.TopP, or(otherwise.TopP, 1))),
		TopK:        max(or(r.TopK, or(otherwise.TopK, 0)), 0),
		MinP:        float32(or(r.MinP, or(otherwise.MinP, 0))),
		Repetition:  float32(or(r.Repetition, or(otherwise.Repetition, 1))),
		Presence:    float32(or(r.Presence, 0)),
		Frequency:   float32(or(r.Frequency, 0)),
		Bias:        r.LogitBias,
		Seed:        seedOf(r.Seed),
	}
	prompt := -1
	if r.PromptLogprobs != nil {
		prompt = *r.PromptLogprobs
	}
	return runtime.Request{
		MinTokens: or(r.MinTokens, 0),
		Lease:     to.lease, Tenant: to.who.tenant, Group: group(c), Scope: to.who.scope, Sampling: sampling,
		Stop: r.Stop, StopIDs: r.StopIDs, KeepStop: or(r.KeepStop, false), IgnoreEOS: or(r.IgnoreEOS, false),
		Special: !or(r.SkipSpecial, true), Logprobs: -1, PromptLogprobs: prompt,
	}
}

// repeat makes n requests of one, with seeds counting up.
func repeat(r runtime.Request, n int) []*runtime.Request {
	choices := make([]*runtime.Request, n)
	for i := range choices {
		each := r
		each.Sampling.Seed += uint64(i)
		choices[i] = &each
	}
	return choices
}

func or[T any](v *T, otherwise T) T {
	if v == nil {
		return otherwise
	}
	return *v
}

// openAIUsage is the usage object of an answer.
type openAIUsage struct {
	Prompt     int                `json:"prompt_tokens"`
	Completion int                `json:"completion_tokens"`
	Total      int                `json:"total_tokens"`
	Details    *openAIUsageDetail `json:"prompt_tokens_details,omitempty"` // nil: of an answer on its way
}

type openAIUsageDetail struct {
	Cached int `json:"cached_tokens"`
}

// add counts a finished choice. The n choices of one prompt count it once.
func (u *openAIUsage) add(choice runtime.Usage, firstOfPrompt bool) {
	if u.Details == nil {
		u.Details = new(openAIUsageDetail)
	}
	if firstOfPrompt {
		u.Prompt += choice.PromptTokens
		u.Details.Cached += choice.CachedTokens
	}
	u.Completion += choice.CompletionTokens
	u.Total = u.Prompt + u.Completion
}

// finishReason is OpenAI's name for how a choice ended.
func finishReason(f runtime.Finish) *string {
	reason := "stop"
	switch f {
	case "":
		return nil
	case runtime.FinishLength:
		reason = "length"
	}
	return &reason
}

// openAIHead begins every answer and chunk.
type openAIHead struct {
	ID          string `json:"id"`
	Object      string `json:"object"`
	Created     int64  `json:"created"`
	Model       string `json:"model"`
	Fingerprint string `json:"system_fingerprint,omitempty"` // of texts: the server's version, which some clients want
}

func (s *Server) head(prefix, object string, lease *catalogue.Lease) openAIHead {
	model := lease.Name()
	if model == "" {
		model = s.config.Name
	}
	return openAIHead{ID: prefix + newID(), Object: object, Created: time.Now().Unix(), Model: model}
}

// textHead begins the answers that are texts.
func (s *Server) textHead(prefix, object string, lease *catalogue.Lease) openAIHead {
	head := s.head(prefix, object, lease)
	head.Fingerprint = "peft-serve-" + s.config.Version
	return head
}
