package runtime

import (
	"errors"
	"time"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models/pooling"
	"github.com/peft-serve/peft-serve/runtime/grammar"
)

// Request asks the engine for one continuation, or for hidden states.
type Request struct {
	Prompt []int32 // at least one token
	// Lease is on the version of an adapter that answers, whose tokenizer the
	// prompt was made with; nil: the base. The engine adds itself to its holders
	// until the sequence ends. It may be one that is not ready yet.
	Lease *catalogue.Lease
	// Tasks are leases on adapters that answer the prompt each for itself, in the place
	// of Lease, and as if each had a request of its own: see Event.Task. They are of one
	// tokenizer; nil: there is Lease alone.
	Tasks []*catalogue.Lease
	// Tenant is who the request is made for and shares the engine with other
	// tenants by weight; nil: the tenant of all that name none. It must not change
	// any more.
	Tenant *Tenant
	// Group divides the share of the tenant, equally among its groups; it has no
	// part in what other tenants get. Empty: the adapter, or those of the
	// combination.
	Group string
	// Scope keeps prompts apart in the prefix cache: only requests of one scope
	// find what others computed, so that nobody learns by the time an answer takes
	// what another scope has asked. Empty: the scope of all that name none.
	Scope string

	// Encode asks for hidden states of the prompt, and for nothing else: MaxTokens is
	// then 0 and PromptLogprobs below 0.
	Encode Encoding
	// Pooling are the modes of EncodeFolded, whose rows are put one after the other.
	// The first PoolFrom tokens of the prompt are passed over.
	Pooling  []pooling.Mode
	PoolFrom int
	// Types are the types of the prompt's tokens, of a base that has some; nil: all 0.
	Types []int32

	// Again says that requests of the same text follow: what texts have in common is
	// kept for them by an encoder, as long as there is room, though none waits yet.
	Again bool

	// MaxTokens is the most completion tokens: 0 computes the prompt alone,
	// below 0 asks for as many as the context holds. A prompt and MaxTokens
	// that do not fit the context together are refused.
	MaxTokens int
	Sampling  Sampling
	Stop      []string // strings that end the text
	StopIDs   []int32  // tokens that end it, beside the model's and the adapter's own
	KeepStop  bool     // what ends it, of Stop and StopIDs, stays in the text and is not cut
	IgnoreEOS bool
	// MinTokens is how many completion tokens there are before anything but
	// MaxTokens may end it: until then no token that would end it is chosen, and no
	// stop string is looked for.
	MinTokens int
	// Special shows special tokens in the text; Shown these, in any case.
	Special bool
	Shown   []int32
	// Constraint keeps the answer within a grammar, over the vocabulary of the
	// adapter's rows: each token is drawn among those that the grammar allows, as it
	// would be if the others were impossible. It ends where the grammar allows it,
	// by an end token, or is cut by MaxTokens. nil: the answer is free.
	Constraint *grammar.Constraint

	// Logprobs and PromptLogprobs ask for the log-probability of each
	// completion and prompt token, and for that many of the likeliest tokens
	// beside it. Below 0: none.
	Logprobs       int
	PromptLogprobs int

	// Arrived is when the client asked: what Usage tells counts from it. Zero:
	// at Submit.
	Arrived time.Time
}

// Encoding is what a request wants of the hidden states after the last block.
type Encoding uint8

const (
	EncodeNothing Encoding = iota
	EncodeTokens           // those of every token of the prompt
	EncodePooled           // what the base's pooler makes of the first
	EncodeFolded           // the row that Pooling makes of those of all tokens
	EncodeScores           // what the adapter's head of a task makes of them, or else the base's
)

// Sampling turns logits into a token. The zero Sampling is greedy.
type Sampling struct {
	Temperature float32 // 0: greedy
	TopK        int     // 0: all
	TopP        float32 // 0 or 1: all
	MinP        float32 // 0: off
	// Repetition divides (or, where negative, multiplies) the logits of
	// tokens seen in prompt or completion; 0 or 1: off (Keskar et al., 2019).
	Repetition float32
	Presence   float32 // subtracted once from tokens of the completion
	Frequency  float32 // subtracted for each occurrence in the completion
	Bias       map[int32]float32
	Seed       uint64
}

// Logprob is a token with the logarithm of its probability under the model,
// before any sampling parameter.
type Logprob struct {
	Token   int32
	Logprob float32
}

// Finish tells why a sequence ended; the zero value: it goes on.
type Finish string

const (
	FinishLength Finish = "length"
	FinishEOS    Finish = "eos"
	FinishStop   Finish = "stop" // a stop string or stop token
)

// NoToken stands in events that carry no token.
const NoToken int32 = -1

// Event is one step of a Stream: a completion token, or (Prompt set, once,
// before the first token) the prompt's log-probabilities. Where MaxTokens is 0
// the last event carries no token.
type Event struct {
	// Task is the number in Request.Tasks of who has this event. Err is why it has no
	// answer, on its last event: that ends none of the others. Without Tasks it is always
	// nil: Next returns the error.
	Task int
	Err  error

	Token   int32 // NoToken: none
	Logprob float32
	Top     []Logprob // the likeliest, descending
	// Text is what this event adds to the text: whole runes, and nothing that
	// may still turn out to be a stop string.
	Text string

	Prompt []PromptToken // set on one event, which carries no token

	// Encoded is what Encode asked for, on the last event: a row for each token, or
	// one row. It is the receiver's.
	Encoded kernels.Matrix

	Finish Finish // on the last event
	Usage  *Usage // on the last event
}

// PromptToken is the log-probability of one prompt token given those before
// it; the first token has none (NaN).
type PromptToken struct {
	Logprob
	Top  []Logprob
	Rank int // among all tokens, from 1; of equals the same. The first token has none: 0
}

// Usage is the account of a finished request.
type Usage struct {
	PromptTokens     int
	CachedTokens     int // of the prompt, taken from the prefix cache
	CompletionTokens int
	Seed             uint64
	AdapterDigest    string        // empty for the base
	Adapters         []string      // by name, those of a combination sorted; the base's are none
	Versioned        bool          // the adapter may have several versions: Lease.Versioned
	Queued           time.Duration // waiting for a slot, loading of the adapter included
	FirstToken       time.Duration // from the request's arrival to the first token
	Total            time.Duration
}

// Errors that Submit or a Stream report; test with errors.Is. A lease that
// failed gives its own error.
var (
	ErrQueueFull = errors.New("the waiting queue is full")
	ErrClosed    = errors.New("the engine is shutting down")
	ErrPrompt    = errors.New("the prompt cannot be run")        // empty, too long, or a token outside the vocabulary
	ErrSampling  = errors.New("a sampling parameter is invalid") // the message names it
	ErrGrammar   = errors.New("the answer cannot go on within its grammar")
	ErrNotFinite = errors.New("the model computed a value that is not finite")
	ErrPanic     = errors.New("the sequence failed inside the engine")
)
