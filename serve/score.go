package serve

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/gofiber/fiber/v2"
)

// pairs are texts that are compared: the only first one with each of the second,
// or each of the first with the second one of its place.
type pairs struct {
	first, second []string
	names         [2]func(i int) string
	before        [2]*string // prompts; nil: the base's own
}

// cosines compares the embeddings of pairs as the base's files say: by the cosine,
// if they say nothing.
func (s *Server) cosines(c *fiber.Ctx, to selection, p pairs, what *embedding, arrived time.Time) (scores []float64, tokens int, err error) {
	texts := make([]prompt, 0, len(p.first)+len(p.second))
	for _, t := range slices.Concat(p.first, p.second) {
		texts = append(texts, prompt{text: t})
	}
	name := func(i int) string {
		if i < len(p.first) {
			return p.names[0](i)
		}
		return p.names[1](i - len(p.first))
	}
	what.before = func(i int) *string {
		if i < len(p.first) {
			return p.before[0]
		}
		return p.before[1]
	}
	made, err := s.embed(c, to, texts, name, what, arrived)
	if err != nil {
		return nil, 0, err
	}
	defer made.release() // scores are few
	scores = make([]float64, len(p.second))
	for i := range scores {
		first := 0
		if len(p.first) > 1 {
			first = i
		}
		scores[i] = s.recipe.Compare(made.rows[first].Row(0), made.rows[len(p.first)+i].Row(0))
	}
	return scores, made.tokens, nil
}

// scoreRequest is the body of POST /v1/score, which is vLLM's.
type scoreRequest struct {
	unreads
	Model     modelName     `json:"model"`
	First     textOrList    `json:"text_1"`
	Second    textOrList    `json:"text_2"`
	Queries   textOrList    `json:"queries"` // the same, by vLLM's newer names
	Documents textOrList    `json:"documents"`
	Truncate  *int          `json:"truncate_prompt_tokens"`
	User      ignored       `json:"user"`
	RequestID ignored       `json:"request_id"`
	Priority  unimplemented `json:"priority" only:"0"`
}

type scoreAnswer struct {
	openAIHead
	Data  []scoreObject `json:"data"`
	Usage inputUsage    `json:"usage"`
}

type scoreObject struct {
	Index  int     `json:"index"`
	Object string  `json:"object"`
	Score  float64 `json:"score"`
}

func (s *Server) score(c *fiber.Ctx) error {
	var body scoreRequest
	if err := s.readJSON(c, &body); err != nil {
		return err
	}
	first, err := oneOf("text_1", body.First, "queries", body.Queries)
	if err != nil {
		return err
	}
	second, err := oneOf("text_2", body.Second, "documents", body.Documents)
	if err != nil {
		return err
	}
	p := pairs{first: first.list, second: second.list, names: [2]func(int) string{fieldOf(first.name, len(first.list)), fieldOf(second.name, len(second.list))}}
	switch n, m := len(p.first), len(p.second); {
	case n != 1 && n != m:
		return invalid(first.name, "%s has %d texts and %s has %d: give one, or as many of both", first.name, n, second.name, m)
	case n+m > maxSequences:
		return invalid(second.name, "%s and %s have %d texts: give at most %d at a time", first.name, second.name, n+m, maxSequences)
	}
	what := embedding{field: second.name}
	if what.truncate, err = s.truncates(body.Truncate); err != nil {
		return err
	}
	arrived := time.Now()
	to, err := s.selected(c, s.openAINaming(c, body.Model))
	if err != nil {
		return err
	}
	defer to.lease.Release()
	scores, tokens, err := s.compare(c, to, p, &what, false, arrived)
	if err != nil {
		return err
	}
	answer := scoreAnswer{openAIHead: s.head("score-", "list", to.lease), Data: make([]scoreObject, len(scores)), Usage: inputUsage{tokens, tokens}}
	for i, score := range scores {
		answer.Data[i] = scoreObject{i, "score", score}
	}
	return writeJSON(c, fiber.StatusOK, answer)
}

// namedTexts are texts by the field that they are in.
type namedTexts struct {
	name string
	list []string
}

// oneOf are the texts of one of two fields.
func oneOf(name string, texts []string, other string, others []string) (namedTexts, error) {
	switch {
	case len(texts) > 0 && len(others) > 0:
		return namedTexts{}, invalid(other, "%s and %s mean the same: give one of them", name, other)
	case len(texts) > 0:
		return namedTexts{name, texts}, nil
	case len(others) > 0:
		return namedTexts{other, others}, nil
	}
	return namedTexts{}, invalid(name, "%s is missing: give a text or a list of texts", name)
}

// document is a text, or an object that has it, as Cohere and Jina take both.
type document string

func (d *document) decodeField(path string, raw json.RawMessage) error {
	if classOf(raw) != '{' {
		if classOf(raw) != '"' {
			return wrongType(path, raw, "a string, or an object with a text")
		}
		return decodeInto(path, raw, (*string)(d))
	}
	var object struct {
		Text *string `json:"text"`
	}
	if err := decodeInto(path, raw, &object); err != nil {
		return err
	}
	if object.Text == nil {
		return &fieldError{path, "has no text"}
	}
	*d = document(*object.Text)
	return nil
}

// rerankRequest is the body of the routes that order documents by a query: that of
// Cohere, Jina and vLLM, with documents, or of text-embeddings-inference, with texts.
type rerankRequest struct {
	unreads
	Model     modelName  `json:"model"`
	Query     *string    `json:"query"`
	Documents []document `json:"documents"`
	TopN      *int       `json:"top_n"`
	Return    *bool      `json:"return_documents"`
	Truncated *int       `json:"truncate_prompt_tokens"`

	Texts      []string `json:"texts"`
	ReturnText *bool    `json:"return_text"`
	RawScores  *bool    `json:"raw_scores"` // of a cross-encoder; scores of embeddings have no other form
	teiCut

	User      ignored       `json:"user"`
	RequestID ignored       `json:"request_id"`
	Priority  unimplemented `json:"priority" only:"0"`
	PerDoc    unimplemented `json:"max_tokens_per_doc"`
	Chunks    unimplemented `json:"max_chunks_per_doc"`
	Fields    unimplemented `json:"rank_fields"`
}

// rerankAnswer is Jina's and vLLM's; Cohere's clients find in it what they read.
type rerankAnswer struct {
	ID      string         `json:"id"`
	Model   string         `json:"model"`
	Usage   inputUsage     `json:"usage"`
	Results []rerankResult `json:"results"`
}

type rerankResult struct {
	Index    int             `json:"index"`
	Document *rerankDocument `json:"document,omitempty"`
	Score    float64         `json:"relevance_score"`
}

type rerankDocument struct {
	Text string `json:"text"`
}

// teiRank is an element of TEI's answer.
type teiRank struct {
	Index int     `json:"index"`
	Text  *string `json:"text,omitempty"`
	Score float64 `json:"score"`
}

// rerank orders documents by how near they are to a query.
func (s *Server) rerank(c *fiber.Ctx) error {
	var body rerankRequest
	if err := s.readJSON(c, &body); err != nil {
		return err
	}
	field, err := body.check()
	if err != nil {
		return err
	}
	texts := body.Texts
	for _, d := range body.Documents {
		texts = append(texts, string(d))
	}
	what := embedding{field: field}
	if what.truncate, err = s.truncates(body.Truncated); err != nil {
		return err
	}
	if body.Truncated == nil {
		if err := body.into(&what, ""); err != nil {
			return err
		}
	}
	arrived := time.Now()
	to, err := s.selected(c, s.openAINaming(c, body.Model))
	if err != nil {
		return err
	}
	defer to.lease.Release()
	scores, tokens, err := s.compare(c, to, pairs{
		first: []string{*body.Query}, second: texts,
		names:  [2]func(int) string{fieldOf("query", 1), func(i int) string { return fmt.Sprintf("%s[%d]", field, i) }},
		before: [2]*string{s.recipe.PromptFor("query"), s.recipe.PromptFor("document", "passage", "corpus")},
	}, &what, or(body.RawScores, false), arrived)
	if err != nil {
		return err
	}
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(scores[b], scores[a]) })
	if body.Texts != nil {
		ranks := make([]teiRank, len(order))
		for i, at := range order {
			if ranks[i] = (teiRank{Index: at, Score: scores[at]}); or(body.ReturnText, false) {
				ranks[i].Text = &texts[at]
			}
		}
		return writeJSON(c, fiber.StatusOK, ranks)
	}
	order = order[:min(or(body.TopN, len(order)), len(order))]
	head := s.head("rerank-", "", to.lease)
	answer := rerankAnswer{ID: head.ID, Model: head.Model, Usage: inputUsage{tokens, tokens}, Results: make([]rerankResult, len(order))}
	for i, at := range order {
		if answer.Results[i] = (rerankResult{Index: at, Score: scores[at]}); or(body.Return, true) {
			answer.Results[i].Document = &rerankDocument{texts[at]}
		}
	}
	return writeJSON(c, fiber.StatusOK, answer)
}

// check reports what is wrong with a body by itself, and the field of its texts.
func (r *rerankRequest) check() (field string, err error) {
	const maxDocuments = maxSequences - 1
	n := len(r.Documents) + len(r.Texts)
	field = "documents"
	if r.Texts != nil {
		field = "texts"
	}
	of := func(name, of string, given, wrong bool) error {
		if given && wrong {
			return invalid(name, "%s goes with %s: leave it out", name, of)
		}
		return nil
	}
	tei := r.Texts != nil
	switch {
	case r.Query == nil:
		return "", invalid("query", "query is missing: give the text to order by")
	case r.Documents != nil && r.Texts != nil:
		return "", invalid("texts", "documents and texts mean the same: give one of them")
	case n == 0:
		return "", invalid(field, "%s is missing: give a list of texts", field)
	case n > maxDocuments:
		return "", invalid(field, "%s has %d texts: give at most %d at a time", field, n, maxDocuments)
	case r.TopN != nil && *r.TopN < 1:
		return "", invalid("top_n", "top_n is %d, below 1", *r.TopN)
	}
	for _, fault := range []error{
		of("top_n", "documents", r.TopN != nil, tei), of("return_documents", "documents", r.Return != nil, tei),
		of("truncate_prompt_tokens", "documents", r.Truncated != nil, tei), of("return_text", "texts", r.ReturnText != nil, !tei),
		of("raw_scores", "texts", r.RawScores != nil, !tei), of("truncate", "texts", r.Truncate != nil, !tei),
		of("truncation_direction", "texts", r.Direction != nil, !tei),
	} {
		if fault != nil {
			return "", fault
		}
	}
	return field, nil
}

// truncates reads vLLM's truncate_prompt_tokens: -1 cuts texts to what the base takes.
func (s *Server) truncates(most *int) (bool, error) {
	if most == nil {
		return false, nil
	}
	if longest := s.longestText(selection{}); *most != -1 && *most != longest {
		return false, invalid("truncate_prompt_tokens", "truncate_prompt_tokens is %d: give -1 for the longest text that the base takes, %d, or leave it out", *most, longest)
	}
	return true, nil
}
