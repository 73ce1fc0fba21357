package serve

import (
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/models/tokenizer"
	"github.com/peft-serve/peft-serve/runtime"
)

func newHeads(t *testing.T, change func(*Config, *Parts)) *site {
	s := newSite(t, func(c *Config, p *Parts) {
		if change != nil {
			change(c, p)
		}
	})
	s.catalogue.mu.Lock()
	defer s.catalogue.mu.Unlock()
	s.catalogue.entries["ner"] = &catalogue.Entry{Name: "ner", URI: "/adapters/ner", State: catalogue.Known}
	return s
}

// Each form of texts is classified by the head of the adapter that is named.
func TestClassify(t *testing.T) {
	s := newHeads(t, nil)
	for body, want := range map[string]int{
		`{"model":"sql","input":"Hello"}`: 1, `{"model":"sql","inputs":["Hello","You"],"user":"me"}`: 2, `{"model":"sql","text":"a","text_pair":"b"}`: 1,
		`{"model":"sql","input":[1,2,3]}`: 1, `{"model":"sql","input":[[1,2,3],["a","b"],["a"],"c"]}`: 4, `{"model":"sql","text":["a","b"],"text_pair":["c","d"]}`: 2,
	} {
		got := s.post(t, "/v1/classify", body)
		require.Equal(t, 200, got.status, got.body)
		var answer classifyAnswer
		require.NoError(t, json.Unmarshal([]byte(got.body), &answer))
		require.Len(t, answer.Data, want, body)
		require.Equal(t, models.SingleLabel, answer.Problem)
		require.Equal(t, "sql", answer.Model)
		require.Equal(t, "digest-of-sql", got.header.Get("X-Adapter-Digest"))
		for i, d := range answer.Data {
			require.Equal(t, i, d.Index)
			require.Equal(t, 3, d.Classes)
			require.Len(t, d.Probs, 3)
			require.InDelta(t, 1, d.Probs[0]+d.Probs[1]+d.Probs[2], 1e-12)
			require.Equal(t, *d.Label, d.Scores[0].Label)
			require.InDelta(t, math.Exp(2)/(math.Exp(2)+2), d.Scores[0].Score, 1e-12)
			require.GreaterOrEqual(t, d.Scores[1].Score, d.Scores[2].Score)
		}
	}
	for _, r := range s.engine.requests() {
		require.Equal(t, runtime.EncodeScores, r.Encode)
		require.Zero(t, r.MaxTokens)
	}
	one := s.post(t, "/v1/classify?adapter=sql", `{"input":[7,8],"top_k":1,"activation":"none"}`).body
	require.JSONEq(t, `[0,0,2]`, member(t, one, "data", "0", "probs"))
	require.JSONEq(t, `[{"label":"good","score":2}]`, member(t, one, "data", "0", "scores"))
	require.Equal(t, `"SEQ_CLS"`, member(t, one, "task"))
	require.JSONEq(t, `{"prompt_tokens":2,"total_tokens":2}`, member(t, one, "usage"))
	for _, body := range []string{`"function_to_apply":"none"`, `"raw_scores":true`, `"use_activation":false`} {
		require.JSONEq(t, `[0,0,2]`, member(t, s.post(t, "/classify?adapter=sql", `{"input":[7,8],`+body+`}`).body, "data", "0", "probs"))
	}
	sigmoids := member(t, s.post(t, "/v1/classify?adapter=sql", `{"input":[7,8],"activation":"sigmoid"}`).body, "data", "0", "probs")
	require.True(t, strings.HasPrefix(sigmoids, `[0.5,0.5,0.880797077977`), sigmoids)
}

// The shapes of other servers.
func TestClassifyAsOthersDo(t *testing.T) {
	s := newHeads(t, nil)
	const pair, three = `[{"label":"good","score":2},{"label":"bad","score":0},{"label":"so so","score":0}]`, `"raw_scores":true`
	n := func(body string) string { // of as many tokens as make "good" the best
		require.Equal(t, 2, len(s.engine.requests()[len(s.engine.requests())-1].Prompt)%3)
		return body
	}
	list := s.post(t, "/classify", `{"inputs":[7,8],"model":"sql",`+three+`}`)
	require.JSONEq(t, pair, n(list.body))
	require.JSONEq(t, "["+pair+"]", s.post(t, "/classify", `{"inputs":[[7,8]],"model":"sql",`+three+`}`).body)
	for body, batch := range map[string]bool{`"Hi"`: false, `["Hi"]`: false, `["Hi","you"]`: false, `[["Hi"],["Hi","you"]]`: true} {
		got := s.post(t, "/predict?adapter=sql", `{"inputs":`+body+`,"truncate":false}`)
		require.Equal(t, 200, got.status, got.body)
		require.Equal(t, batch, strings.HasPrefix(got.body, "[["), got.body)
	}
}

// A head of tokens answers with entities.
func TestClassifyTokens(t *testing.T) {
	s := newHeads(t, nil)
	text := "Anna lives in Ulm"
	for _, body := range []string{`"aggregation_strategy":"none","ignore_labels":[]`, `"aggregation_strategy":"none"`, `"ignore_labels":["PER"]`, `"top_k":2`} {
		got := s.post(t, "/v1/classify?adapter=ner", `{"input":"`+text+`",`+body+`}`)
		require.Equal(t, 200, got.status, got.body)
		var answer classifyAnswer
		require.NoError(t, json.Unmarshal([]byte(got.body), &answer))
		require.Nil(t, answer.Data[0].Label)
		require.NotNil(t, answer.Data[0].Entities)
		for _, e := range *answer.Data[0].Entities {
			if !strings.Contains(body, "ignore") {
				require.NotContains(t, []string{e.Entity, e.Group}, "O")
			}
			require.True(t, e.Start <= e.End && e.End <= len(text), got.body)
			require.Equal(t, strings.Contains(body, "none"), e.Group == "", got.body)
		}
	}
	got := s.post(t, "/classify", `{"inputs":["`+text+`"],"model":"ner"}`)
	require.True(t, strings.HasPrefix(got.body, "[["), got.body)
	require.Equal(t, 200, s.post(t, "/predict?adapter=ner", `{"inputs":"`+text+`"}`).status)
}

// What cannot be classified is refused by name.
func TestClassifyRefused(t *testing.T) {
	s := newHeads(t, nil)
	long := strings.Repeat("a b ", 100)
	for _, c := range []struct{ path, body, message string }{
		{"/v1/classify", `{"input":"a"}`, "the base has no head: name an adapter that brings one"},
		{"/v1/classify", `{"input":"a","model":"cold"}`, `adapter \"cold\" has no head, and the base has none`},
		{"/v1/classify", `{"model":"sql"}`, "input is missing"},
		{"/v1/classify", `{"model":"sql","input":[]}`, "empty array"},
		{"/v1/classify", `{"model":"sql","input":["a",""]}`, "input[1] is empty"},
		{"/v1/classify", `{"model":"sql","input":[[1],[9999999]]}`, "input[1]: token 9999999"},
		{"/v1/classify", `{"model":"sql","input":[["a","b","c"]]}`, "input[0] has 3 texts"},
		{"/v1/classify", `{"model":"sql","input":[["a",1]]}`, "input[0][1] wants a string"},
		{"/v1/classify", `{"model":"sql","input":"a","inputs":"b"}`, "mean the same"},
		{"/v1/classify", `{"model":"sql","input":["a"],"text_pair":["b","c"]}`, "text_pair has 2 texts and input has 1"},
		{"/v1/classify", `{"model":"sql","input":[["a","b"]],"text_pair":"c"}`, "is a pair or tokens"},
		{"/v1/classify", `{"model":"sql","input":"a","activation":"relu"}`, "softmax, sigmoid or none"},
		{"/v1/classify", `{"model":"sql","input":"a","activation":"softmax","raw_scores":true}`, "give one of them"},
		{"/v1/classify", `{"model":"sql","input":"a","top_k":0}`, "top_k is 0"},
		{"/v1/classify", `{"model":"ner","input":"a","aggregation_strategy":"max"}`, "simple or none"},
		{"/v1/classify", `{"model":"ner","input":[["a","b"]]}`, "classifies the tokens of one text"},
		{"/v1/classify", `{"model":"ner","input":[1,2]}`, "give the text"},
		{"/v1/classify", `{"model":"sql","input":"` + long + `"}`, "maximum context length is 128"},
		{"/v1/classify", `{"model":"sql","input":"a","truncate_prompt_tokens":7}`, "give -1"},
		{"/v1/classify", `{"model":"nobody","input":"a"}`, "`nobody` does not exist"},
		{"/v1/classify", `{"model":"sql","input":"a","label":1}`, "label is not a field"},
		{"/predict", `{"inputs":"a"}`, "the base has no head"},
		{"/predict", `{"inputs":["a","b","c"],"model":"sql"}`, "has 3 texts"},
		{"/predict", `{"inputs":[1],"model":"sql"}`, "wants a string"},
		{"/predict", `{"model":"sql"}`, "inputs is missing"},
	} {
		got := s.post(t, c.path, c.body)
		require.Contains(t, []int{400, 404, 413, 422}, got.status, c.body+got.body)
		require.Contains(t, got.body, c.message, c.body)
	}
	require.Equal(t, 200, s.post(t, "/v1/classify", `{"model":"sql","input":"`+long+`","truncate":true}`).status)
	require.Equal(t, 200, s.post(t, "/v1/classify", `{"model":"ner","input":"`+long+`","truncate":true,"truncation_direction":"Left"}`).status)
	requests := s.engine.requests()
	require.Len(t, requests[len(requests)-1].Prompt, 128)
}

// The head of a base answers for itself and for adapters that bring none, and the
// problem says what its scores mean.
func TestClassifyByTheBase(t *testing.T) {
	for problem, want := range map[models.Problem]string{"": "[0.8807970779778823]", models.MultiLabel: "[0.8807970779778823]", models.Regression: "[2]", models.SingleLabel: "[1]"} {
		s := newHeads(t, func(_ *Config, p *Parts) {
			p.Base.Classes = &models.Classes{Task: models.Classify, Names: []string{"LABEL_0"}, Problem: problem}
		})
		require.Equal(t, want, member(t, s.post(t, "/v1/classify", `{"input":[1]}`).body, "data", "0", "probs"), string(problem))
		require.Equal(t, want, member(t, s.post(t, "/v1/classify?adapter=cold", `{"input":[1]}`).body, "data", "0", "probs"), string(problem))
	}
}

// Entities are those of transformers' pipeline: words, places and groups.
func TestEntitiesAgainstTransformers(t *testing.T) {
	raw, err := os.ReadFile(modeltest.Goldens(t, "entities.json"))
	require.NoError(t, err)
	var golden struct {
		Names []string
		Cases []struct {
			Text         string
			IDs          []int32
			Scores       [][]float32
			None, Simple []entity
		}
	}
	require.NoError(t, json.Unmarshal(raw, &golden))
	text, err := tokenizer.Load(modeltest.Goldens(t, "sentences", "tiny"))
	require.NoError(t, err)
	classes := &models.Classes{Task: models.Tag, Names: golden.Names}
	s := newHeads(t, nil).server
	found := 0
	for _, c := range golden.Cases {
		got, r := classified{classifiable: classifiable{field: "input", text: c.Text}}, &runtime.Request{}
		require.NoError(t, s.classifiedTokens(nil, selection{text: text}, classes, &got, &classification{}, r))
		require.Equal(t, c.IDs, r.Prompt, c.Text)
		for _, scores := range c.Scores {
			got.scores = append(got.scores, activationOf(classes, "")(scores))
		}
		for _, simple := range []bool{false, true} {
			want := c.None
			if simple {
				want = c.Simple
			}
			all := entities(text, classes, &got, simple, []string{"O"})
			require.Len(t, all, len(want), c.Text)
			for i, e := range all {
				require.InDelta(t, want[i].Score, e.Score, 1e-9)
				want[i].Score, e.Score, e.id = 0, 0, 0
				require.Equal(t, want[i], e, "%q, simple %t", c.Text, simple)
				found++
			}
		}
	}
	require.Greater(t, found, 30)
}
