package runtime

import (
	"fmt"
	"math"
	"slices"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/runtime/grammar"
)

// A kind is one of the kinds of work that a sequence is run for: scoring its
// prompt, generating a completion, encoding its prompt. A sequence may have
// several. Each says which rows it needs something of, makes that of the row, and
// takes it over when the step is done. The scheduler knows nothing else of them.
type kind interface {
	// wants reports whether something is needed of the row of the token at that
	// place. No two kinds of a sequence want the same row.
	wants(s *sequence, place int) bool
	// whole reports whether rows before the last are still needed, so that no
	// blocks of the prefix cache may stand for them.
	whole() bool
	// head is what a row's hidden state goes through before fill has it.
	head() passage
	// fill makes the output of a row. It runs beside others, and may be run
	// again: it changes nothing but the output, what is kept of the row, and its
	// scratch memory.
	fill(o *output, c *choice, row []float32)
	// take takes an output over, in the order of the rows.
	take(o *output)
	// computed is called when all tokens of the sequence have been computed. It
	// returns how the sequence has ended for this kind, "" if it goes on: then
	// there is one token more to compute, or several.
	computed(e *Engine, s *sequence) (Finish, error)
}

var (
	_ kind = (*scoring)(nil)
	_ kind = (*generation)(nil)
	_ kind = (*encoding)(nil)
	_ kind = (*folding)(nil)
	_ kind = (*classifying)(nil)
)

// passage is what hidden states go through: the base's own head, the one of a task,
// or, where it is zero, nothing.
type passage struct {
	base   bool
	scores *models.Head
}

// kinds are the kinds of work that a request asks for, in the order in which
// they have their say: the sequence ends when the last of them has ended. None
// computes the prompt alone.
func (e *Engine) kinds(s *sequence) (kinds []kind) {
	if s.request.PromptLogprobs >= 0 {
		kinds = append(kinds, newScoring(s.request))
	}
	switch s.request.Encode {
	case EncodeNothing:
	case EncodeFolded:
		kinds = append(kinds, newFolding(s, e.model.Config().Hidden))
	case EncodeScores:
		if s.head.Mean && s.head.Task == models.Classify {
			kinds = append(kinds, newMean(s, e.model.Config().Hidden))
		} else {
			kinds = append(kinds, newClassifying(s))
		}
	default:
		kinds = append(kinds, newEncoding(s, e.model.Config().Hidden))
	}
	if s.generation.most > 0 {
		kinds = append(kinds, &s.generation)
	}
	return kinds
}

// scoring finds the log-probability of each token of a prompt.
type scoring struct {
	tokens []PromptToken
	known  int // of those
	top    int // likeliest tokens beside each
	sent   bool
}

func newScoring(r *Request) *scoring {
	k := &scoring{tokens: make([]PromptToken, len(r.Prompt)), known: 1, top: r.PromptLogprobs}
	k.tokens[0] = PromptToken{Logprob: Logprob{r.Prompt[0], float32(math.NaN())}}
	return k
}

// wants the rows before the tokens that are not known yet.
func (k *scoring) wants(s *sequence, place int) bool {
	next := place + 1 - s.virtual
	return next >= k.known && next < len(k.tokens)
}

func (k *scoring) whole() bool   { return k.known < len(k.tokens) }
func (k *scoring) head() passage { return passage{base: true} }

func (k *scoring) fill(o *output, c *choice, logits []float32) {
	o.score(c, logits, o.s.tokens[o.place+1], k.top)
	o.rank = 1
	for _, l := range logits {
		if l > logits[o.Token] {
			o.rank++
		}
	}
}

func (k *scoring) take(o *output) {
	k.tokens[k.known] = PromptToken{o.Logprob, o.top, o.rank}
	k.known++
}

func (k *scoring) computed(_ *Engine, s *sequence) (Finish, error) {
	if !k.sent {
		k.sent = true
		s.send(Event{Token: NoToken, Prompt: k.tokens})
	}
	return FinishLength, nil
}

// generation continues a sequence token by token.
type generation struct {
	sampler sampler
	text    *text   // nil: events carry none
	ends    []int32 // the model's end tokens and the adapter's
	most    int     // completion tokens
	done    int     // of those
	next    output  // the token that follows

	matcher *grammar.Matcher // nil: the completion is free
}

// wants the last row.
func (k *generation) wants(s *sequence, place int) bool {
	return place == len(s.tokens)-1 && k.done < k.most
}

func (k *generation) whole() bool   { return false }
func (k *generation) head() passage { return passage{base: true} }

func (k *generation) fill(o *output, c *choice, logits []float32) {
	possible := logits
	if k.matcher != nil {
		allowed, count := k.matcher.Mask()
		if count == 0 {
			o.err = k.stuck()
			return
		}
		possible = c.mask(logits, allowed)
	}
	o.score(c, logits, k.sampler.choose(c, possible, k.done), o.s.request.Logprobs)
}

func (k *generation) take(o *output) { k.next = *o }

// computed adds the sampled token to the sequence, and those after it that the
// grammar leaves no choice about, as far as the next step has rows to spare.
func (k *generation) computed(e *Engine, s *sequence) (finish Finish, err error) {
	o := k.next
	k.next = output{}
	finish, err = k.add(e, s, Event{Token: o.Token, Logprob: o.Logprob.Logprob, Top: o.top})
	for finish == "" && err == nil && k.matcher != nil && s.request.Logprobs < 0 && e.spare > 0 {
		token, only := k.matcher.Only()
		if !only {
			break
		}
		e.spare--
		finish, err = k.add(e, s, Event{Token: token})
	}
	return finish, err
}

// stuck is why the grammar cannot go on.
func (k *generation) stuck() error {
	if err := k.matcher.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrGrammar, err)
	}
	return ErrGrammar
}

// add adds the event's token, and sends the event unless it is the last.
func (k *generation) add(e *Engine, s *sequence, event Event) (finish Finish, err error) {
	if k.matcher != nil && !k.matcher.Accept(event.Token) {
		return "", k.stuck()
	}
	k.done++
	s.tokens = append(s.tokens, event.Token)
	k.sampler.accept(event.Token)
	e.generated(s, k.done == 1)

	stopped := false
	switch {
	case !s.request.IgnoreEOS && slices.Contains(k.ends, event.Token):
		finish = FinishEOS
	case slices.Contains(s.request.StopIDs, event.Token):
		finish = FinishStop
		if s.request.KeepStop {
			event.Text, stopped = k.text.push(event.Token, true)
		}
	default:
		event.Text, stopped = k.text.push(event.Token, k.done > k.sampler.least)
		switch {
		case k.matcher != nil && k.matcher.Over():
			finish = FinishStop
		case k.done == k.most:
			finish = FinishLength
		}
	}
	if finish != "" && !stopped {
		var rest string
		rest, stopped = k.text.end()
		event.Text += rest
	}
	if stopped {
		finish = FinishStop
	}
	if finish != "" {
		s.last = event
		return finish, nil
	}
	s.send(event)
	return "", nil
}

// output is a row that something is needed of, and what was made of it.
type output struct {
	s     *sequence
	kind  kind
	place int // of the row's token in the sequence
	err   error
	kept  []float32 // memory for its row, of those that are folded
	Logprob
	top  []Logprob
	rank int // of a token of the prompt
}

// fill makes the output of its row: the logits, the scores, or the hidden state.
func (o *output) fill(c *choice, row []float32) {
	defer func() {
		if r := recover(); r != nil {
			o.err = fmt.Errorf("%w: %v", ErrPanic, r)
		}
	}()
	if !kernels.Finite(row) {
		o.err = ErrNotFinite
		return
	}
	o.kind.fill(o, c, row)
}

// score sets the token that follows the row and, where they are asked for, its
// log-probability and those of the likeliest beside it.
func (o *output) score(c *choice, logits []float32, token int32, top int) {
	o.Token = token
	if top >= 0 {
		norm := float64(kernels.LogSumExp(logits))
		o.Logprob.Logprob = float32(float64(logits[token]) - norm)
		o.top = c.likeliest(logits, top, norm)
	}
}
