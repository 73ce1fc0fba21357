package serve

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/models/pooling"
	"github.com/peft-serve/peft-serve/models/tokenizer"
	"github.com/peft-serve/peft-serve/runtime"
)

// readEmbeddings are the vectors of an answer of /v1/embeddings.
func readEmbeddings(t *testing.T, a answer) (rows [][]float32, tokens int) {
	t.Helper()
	require.Equal(t, 200, a.status, a.body)
	var got struct {
		Object, Model string
		Data          []struct {
			Object    string
			Index     int
			Embedding json.RawMessage
		}
		Usage struct{ Prompt_tokens, Total_tokens int }
	}
	require.NoError(t, json.Unmarshal([]byte(a.body), &got))
	require.Equal(t, "list", got.Object)
	for i, d := range got.Data {
		require.Equal(t, "embedding", d.Object)
		require.Equal(t, i, d.Index)
		var row []float32
		if d.Embedding[0] == '"' {
			var text string
			require.NoError(t, json.Unmarshal(d.Embedding, &text))
			b, err := base64.StdEncoding.DecodeString(text)
			require.NoError(t, err)
			for ; len(b) > 0; b = b[4:] {
				row = append(row, math.Float32frombits(binary.LittleEndian.Uint32(b)))
			}
		} else {
			require.NoError(t, json.Unmarshal(d.Embedding, &row))
		}
		rows = append(rows, row)
	}
	require.Equal(t, got.Usage.Prompt_tokens, got.Usage.Total_tokens)
	return rows, got.Usage.Prompt_tokens
}

// Each of OpenAI's forms of input, and both of the answer's.
func TestEmbeddings(t *testing.T) {
	s := newSite(t, nil)
	for body, want := range map[string]int{
		`{"input":"Hello"}`: 1, `{"input":["Hello","You"],"user":"me"}`: 2, `{"input":[1,2,3]}`: 1, `{"input":[[1,2,3],[4]]}`: 2, `{"input":["a",[4]],"model":"sql"}`: 2,
	} {
		floats, tokens := readEmbeddings(t, s.post(t, "/v1/embeddings", body))
		require.Len(t, floats, want, body)
		require.Positive(t, tokens)
		packed, _ := readEmbeddings(t, s.post(t, "/v1/embeddings", strings.Replace(body, "{", `{"encoding_format":"base64",`, 1)))
		require.Equal(t, floats, packed, body)
		short, _ := readEmbeddings(t, s.post(t, "/v1/embeddings", strings.Replace(body, "{", `{"dimensions":2,`, 1)))
		require.Equal(t, floats[0][:2], short[0], "a base that does not normalise is only cut")
	}
	ids, tokens := readEmbeddings(t, s.post(t, "/v1/embeddings?adapter=sql", `{"input":[[7,2,3],[4]]}`))
	require.Equal(t, [][]float32{{7, 3, 1, 13}, {4, 1, 1, 13}}, ids)
	require.Equal(t, 4, tokens)
	got := s.post(t, "/v1/embeddings", `{"input":"Hello","model":"sql"}`)
	require.Equal(t, "sql", got.header.Get("X-Adapter-Id"))
	require.Equal(t, "digest-of-sql", got.header.Get("X-Adapter-Digest"))
	require.Equal(t, `"sql"`, member(t, got.body, "model"))
	require.Equal(t, `"base-model"`, member(t, s.post(t, "/v1/embeddings", `{"input":"Hello"}`).body, "model"))
	for _, r := range s.engine.requests() {
		require.Equal(t, []pooling.Mode{pooling.Last}, r.Pooling, "the default of a base that generates text")
	}
}

// What cannot be embedded is refused by name.
func TestEmbeddingsRefused(t *testing.T) {
	s := newSite(t, func(_ *Config, p *Parts) {
		p.Recipe = pooling.Default(true)
		p.Recipe.MaxTokens, p.Recipe.MaxFrom = 20, "max_seq_length"
	})
	long := strings.Repeat("a b ", 40)
	for _, c := range []struct{ path, body, message string }{
		{"/v1/embeddings", `{}`, "input is missing"},
		{"/v1/embeddings", `{"input":[]}`, "empty array"},
		{"/v1/embeddings", `{"input":["a",""]}`, "input[1] is empty: give some text"},
		{"/v1/embeddings", `{"input":[[]]}`, "input has no tokens"},
		{"/v1/embeddings", `{"input":[[1],[999999]]}`, "input[1]: token 999999"},
		{"/v1/embeddings", `{"input":"` + long + `"}`, "this base's longest text is 20 (max_seq_length)"},
		{"/v1/embeddings", `{"input":["a","` + strings.Repeat(long, 100) + `"]}`, "input[1] has 16000 bytes"},
		{"/v1/embeddings", `{"input":[` + strings.Repeat("1,", 20) + `1]}`, "input has 21 tokens: this base's longest text is 20"},
		{"/v1/embeddings", `{"input":"a","dimensions":0}`, "dimensions is 0, outside 1 to 4"},
		{"/v1/embeddings", `{"input":"a","dimensions":5}`, "dimensions is 5, outside 1 to 4"},
		{"/v1/embeddings", `{"input":"a","encoding_format":"int8"}`, `encoding_format is \"int8\"`},
		{"/v1/embeddings", `{"input":"a","prompt_name":"query"}`, `prompt_name \"query\" is none of the prompts that the base's files have: there are none`},
		{"/v1/embeddings", `{"input":"a","truncate_prompt_tokens":5}`, "give -1"},
		{"/v1/embeddings", `{"input":"a","dimension":1}`, "did you mean dimensions?"},
		{"/v1/embeddings", `{"input":"a","model":"nobody"}`, "`nobody` does not exist"},
		{"/v1/embeddings", `{"input":"a","model":"broken"}`, "lora_B.weight is missing"},
		{"/embed", `{"inputs":[1,2]}`, "inputs[0] wants a string or an array of token ids"},
		{"/embed", `{"inputs":"a","truncation_direction":"up"}`, "it is Left or Right"},
		{"/embed", `{"inputs":["` + long + `"]}`, "inputs[0] has"},
		{"/embed", `{"inputs":["a",[1]],"prompt_name":"query"}`, "none of the prompts"},
		{"/similarity", `{"inputs":{"source_sentence":"a"}}`, "give both"},
		{"/similarity", `{"inputs":{"source_sentence":"a","sentences":[` + strings.Repeat(`"a",`, maxSequences-1) + `"a"]}}`, "give at most"},
		{"/v1/embeddings", `{"input":[[1],[2]],"prompt_name":"query"}`, "prompt_name is put before texts, and input[0] is given in tokens"},
		{"/v1/score", `{"text_1":["a","b"],"text_2":["c","d","e"]}`, "text_1 has 2 texts and text_2 has 3"},
		{"/v1/score", `{"text_1":"a","queries":"b","text_2":"c"}`, "mean the same"},
		{"/v1/score", `{"text_1":"a"}`, "text_2 is missing"},
		{"/v1/rerank", `{"documents":["a"]}`, "query is missing"},
		{"/v1/rerank", `{"query":"a","documents":[]}`, "documents is missing"},
		{"/v1/rerank", `{"query":"a","documents":["b"],"texts":["c"]}`, "mean the same"},
		{"/v1/rerank", `{"query":"a","documents":["b"],"truncate":true}`, "truncate goes with texts"},
		{"/v1/rerank", `{"query":"a","texts":["b"],"top_n":1}`, "top_n goes with documents"},
		{"/v1/rerank", `{"query":"a","documents":["b"],"top_n":0}`, "top_n is 0"},
		{"/v1/rerank", `{"query":"a","documents":[{"title":"b"}]}`, "documents[0].title"},
		{"/v1/rerank", `{"query":"a","documents":["b","` + long + `"]}`, "documents[1] has"},
	} {
		got := s.post(t, c.path, c.body)
		require.Contains(t, []int{400, 404, 413, 422}, got.status, c.body)
		require.Contains(t, got.body, c.message, "%s %.99s", c.path, c.body)
	}
	require.Empty(t, s.engine.requests())
	got := s.post(t, "/v1/embeddings", `{"input":"`+long+`"}`)
	require.Equal(t, 400, got.status)
	require.Equal(t, `"context_length_exceeded"`, member(t, got.body, "error", "code"))
	got = s.post(t, "/embed", `{"inputs":"`+long+`"}`)
	require.Equal(t, 413, got.status, "TEI's status")
	require.Equal(t, `"Validation"`, member(t, got.body, "error_type"))
	for body, first := range map[string]bool{
		`{"inputs":"` + long + `","truncate":true}`: true, `{"inputs":"` + long + `","truncate":true,"truncation_direction":"Left"}`: false,
	} {
		require.Equal(t, 200, s.post(t, "/embed", body).status)
		seen := s.engine.requests()
		ids, err := testTokenizer(t).EncodePlain(long)
		require.NoError(t, err)
		before, after := testTokenizer(t).Around(nil)
		room := 20 - len(before) - len(after)
		want := ids[len(ids)-room:]
		if first {
			want = ids[:room]
		}
		prompt := seen[len(seen)-1].Prompt
		require.Len(t, prompt, 20)
		require.Equal(t, want, prompt[len(before):len(before)+room])
	}
}

// A base whose files cannot be followed says so, and serves the rest.
func TestEmbeddingsOfFilesThatCannotBeFollowed(t *testing.T) {
	s := newSite(t, func(_ *Config, p *Parts) {
		p.RecipeFault = errors.New("modules.json: module WordWeights is not implemented")
	})
	got := s.post(t, "/v1/embeddings", `{"input":"a"}`)
	require.Equal(t, 400, got.status)
	require.Contains(t, got.body, "WordWeights is not implemented: start the server with --pooling")
	require.Equal(t, 200, s.post(t, "/v1/completions", `{"prompt":"a"}`).status)
}

// Scores and rankings in each of the shapes that clients read.
func TestScoresAndRankings(t *testing.T) {
	s := newSite(t, nil)
	got := s.post(t, "/v1/score", `{"text_1":"Hello","text_2":["Hello","You there"]}`)
	require.Equal(t, 200, got.status, got.body)
	require.Equal(t, `"list"`, member(t, got.body, "object"))
	require.Equal(t, `"score"`, member(t, got.body, "data", "1", "object"))
	require.Equal(t, "1", member(t, got.body, "data", "1", "index"))
	require.Equal(t, "1", member(t, got.body, "data", "0", "score")[:1], "a text is as near to itself as can be")
	paired := s.post(t, "/score", `{"queries":["Hello","Hello"],"documents":["Hello","You there"]}`)
	require.Equal(t, memberOf(t, got.body, "data"), memberOf(t, paired.body, "data"))

	for _, path := range []string{"/v1/rerank", "/v2/rerank", "/rerank"} {
		got = s.post(t, path, `{"query":"Hello","documents":["You there",{"text":"Hello"},"Yo"],"top_n":2,"model":"sql"}`)
		require.Equal(t, 200, got.status, got.body)
		require.Equal(t, `"sql"`, member(t, got.body, "model"))
		require.Equal(t, "1", member(t, got.body, "results", "0", "index"))
		require.Equal(t, `"Hello"`, member(t, got.body, "results", "0", "document", "text"))
		require.NotContains(t, got.body, `"relevance_score":null`)
		require.Equal(t, 2, strings.Count(got.body, "relevance_score"))
		require.NotContains(t, s.post(t, path, `{"query":"Hello","documents":["a"],"return_documents":false}`).body, `"document"`)
		got = s.post(t, path, `{"query":"Hello","texts":["You there","Hello"],"return_text":true,"raw_scores":true,"truncate":true}`)
		require.Equal(t, 200, got.status, got.body)
		require.Equal(t, "1", member(t, got.body, "0", "index"))
		require.Equal(t, `"Hello"`, member(t, got.body, "0", "text"))
	}
	got = s.post(t, "/similarity", `{"inputs":{"source_sentence":"Hello","sentences":["Hello","You"]},"parameters":{"truncate":true}}`)
	var scores []float64
	require.NoError(t, json.Unmarshal([]byte(got.body), &scores))
	require.Len(t, scores, 2)
	require.InDelta(t, 1, scores[0], 1e-12)
}

func memberOf(t *testing.T, body, key string) string {
	t.Helper()
	var object map[string]json.RawMessage
	require.NoError(t, json.Unmarshal([]byte(body), &object))
	return string(object[key])
}

// A base that generates text embeds too: the hidden state of the last token, with the
// adapter of each request, in bits the same alone and beside others, and whether the
// prefix cache knew the text.
func TestEmbeddingsOfADecoder(t *testing.T) {
	s := realSite(t)
	texts := []string{"Hello", "Hello there, you", "a", "The end of a longer text than the others, of several steps"}
	quoted, err := json.Marshal(texts)
	require.NoError(t, err)
	for _, adapter := range []string{"tiny", "lora", "dora", "prefix"} {
		together, _ := readEmbeddings(t, s.post(t, "/v1/embeddings", `{"model":"`+adapter+`","input":`+string(quoted)+`}`))
		for i, text := range texts {
			alone, _ := readEmbeddings(t, s.post(t, "/v1/embeddings", `{"model":"`+adapter+`","input":"`+text+`"}`))
			require.Equal(t, together[i], alone[0], adapter)
			var all [][][]float32
			got := s.post(t, "/embed_all?adapter="+strings.Replace(adapter, "tiny", "", 1), `{"inputs":"`+text+`"}`)
			require.NoError(t, json.Unmarshal([]byte(got.body), &all), got.body)
			require.Equal(t, all[0][len(all[0])-1], alone[0], adapter)
		}
		if adapter != "tiny" {
			base, _ := readEmbeddings(t, s.post(t, "/v1/embeddings", `{"input":`+string(quoted)+`}`))
			require.NotEqual(t, base, together)
		}
	}
	for _, modes := range []string{"mean", "max", "cls", "weightedmean,lasttoken"} { // in steps of 16 tokens
		s.server.recipe.Modes, err = pooling.Parse(modes)
		require.NoError(t, err)
		for _, text := range texts {
			got, _ := readEmbeddings(t, s.post(t, "/v1/embeddings", `{"input":"`+text+`"}`))
			var all [][][]float32
			require.NoError(t, json.Unmarshal([]byte(s.post(t, "/embed_all", `{"inputs":"`+text+`"}`).body), &all))
			pool := pooling.New(s.server.recipe.Modes, len(all[0][0]), 0)
			for _, row := range all[0] {
				pool.Add(row)
			}
			want := make([]float32, pool.Width())
			pool.Write(want)
			require.Equal(t, want, got[0], modes)
		}
	}
}

// A text is cut to what the context holds beside an adapter's virtual tokens.
func TestCutBesideVirtualTokens(t *testing.T) {
	s := realSite(t)
	long := strings.Repeat("a b ", 400)
	for _, body := range []string{`{"inputs":"` + long + `","truncate":true}`, `{"inputs":"` + long + `","truncate":true,"truncation_direction":"Left"}`} {
		got := s.post(t, "/embed?adapter=prefix", body)
		require.Equal(t, 200, got.status, got.body)
	}
	got := s.post(t, "/embed?adapter=prefix", `{"inputs":"`+long+`"}`)
	require.Equal(t, 413, got.status, got.body)
}

// A base that does not encode says so.
func TestEmbeddingsOfABaseThatDoesNotEncode(t *testing.T) {
	s := newSite(t, func(_ *Config, p *Parts) {
		p.Base.Architecture = &models.Architecture{Class: "OtherForCausalLM", Tasks: []models.Task{models.Generate}}
	})
	require.Contains(t, s.post(t, "/v1/embeddings", `{"input":"a"}`).body, "OtherForCausalLM is not a model that encodes texts into hidden states")
}

// encoderSite serves an encoder in a folder by the real engine, as the folder says.
func encoderSite(t *testing.T, dir string) *site {
	t.Helper()
	model, source, err := models.Open(dir, models.Options{})
	require.NoError(t, err)
	text, err := tokenizer.Load(dir)
	require.NoError(t, err)
	recipe, err := pooling.Load(dir)
	require.NoError(t, err)
	if recipe != nil {
		require.NoError(t, recipe.Check(model.Config().Hidden))
	}
	pool := kernels.NewPool(2)
	metrics := NewMetrics("encoder")
	engine, err := runtime.New(model, func(skip bool) runtime.Decoder { return text.NewDecoder(skip) }, pool, runtime.Options{Observer: metrics})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, engine.Close(context.Background()))
		pool.Close()
		require.NoError(t, source.Close())
	})
	return newSite(t, func(c *Config, p *Parts) {
		c.Name = "encoder"
		*p = Parts{Engine: RuntimeEngine(engine), Base: model.Config(), Tokenizer: text, Metrics: metrics, Recipe: recipe}
	})
}

func near(t *testing.T, want, got []float32, what string) {
	t.Helper()
	for i := range want {
		require.InDelta(t, want[i], got[i], 1e-5, "%s, value %d", what, i)
	}
}

// Every module that a folder may name, its prompts and its longest text: from the
// text to the embedding as sentence-transformers has it.
func TestEmbeddingsOfSentenceTransformers(t *testing.T) {
	const dir = "../testdata/goldens/sentences/tiny"
	var golden struct {
		Cases []struct {
			Text, Prompt string
			Truncated    bool
			Want         []float32
		}
		Similarity [][]float64
	}
	readGoldenJSON(t, dir+"/golden.json", &golden)
	s := encoderSite(t, dir)
	var together []string
	for _, c := range golden.Cases {
		body := map[string]any{"input": c.Text}
		if c.Prompt != "" {
			body["prompt_name"] = c.Prompt
		}
		if c.Truncated {
			got := s.post(t, "/v1/embeddings", asJSON(t, body))
			require.Equal(t, 400, got.status)
			require.Contains(t, got.body, "this base's longest text is 20 (model_max_length in its tokenizer_config.json)")
			body["truncate_prompt_tokens"] = -1
		} else if c.Prompt == "document" {
			together = append(together, c.Text)
		}
		got, _ := readEmbeddings(t, s.post(t, "/v1/embeddings", asJSON(t, body)))
		require.Len(t, got[0], 5)
		near(t, c.Want, got[0], c.Text)
	}
	all, _ := readEmbeddings(t, s.post(t, "/v1/embeddings", asJSON(t, map[string]any{"input": together})))
	for i, text := range together {
		alone, _ := readEmbeddings(t, s.post(t, "/v1/embeddings", asJSON(t, map[string]any{"input": text})))
		require.Equal(t, alone[0], all[i], "the same bits beside others")
	}
	short, _ := readEmbeddings(t, s.post(t, "/v1/embeddings", asJSON(t, map[string]any{"input": together[0], "dimensions": 2})))
	require.InDelta(t, 1, pooling.Dot(short[0], short[0]), 1e-6, "normalised again")
	require.InDelta(t, all[0][0]/all[0][1], short[0][0]/short[0][1], 1e-5)

	var scores []float64
	got := s.post(t, "/similarity", asJSON(t, map[string]any{"inputs": map[string]any{"source_sentence": together[0], "sentences": together}}))
	require.NoError(t, json.Unmarshal([]byte(got.body), &scores), got.body)
	require.InDeltaSlice(t, golden.Similarity[0], scores, 1e-5)
	require.Contains(t, s.post(t, "/v1/embeddings", `{"input":"a","prompt_name":"code"}`).body, "have: document, query")
	seen := s.post(t, "/v1/rerank", asJSON(t, map[string]any{"query": together[1], "documents": together}))
	query, _ := readEmbeddings(t, s.post(t, "/v1/embeddings", asJSON(t, map[string]any{"input": together[1], "prompt_name": "query"})))
	for i := range together { // by the prompt of each side
		at, err := strconv.Atoi(member(t, seen.body, "results", strconv.Itoa(i), "index"))
		require.NoError(t, err)
		score, err := strconv.ParseFloat(member(t, seen.body, "results", strconv.Itoa(i), "relevance_score"), 64)
		require.NoError(t, err)
		require.InDelta(t, pooling.Dot(query[0], all[at]), score, 1e-6)
	}
	var raw [][]float32
	require.NoError(t, json.Unmarshal([]byte(s.post(t, "/embed", asJSON(t, map[string]any{"inputs": together[0], "normalize": false})).body), &raw))
	require.NotEqual(t, all[0], raw[0])
	pooling.Normalize(raw[0])
	near(t, all[0], raw[0], "not normalised")
}

// MiniLM's embeddings end to end, as sentence-transformers makes them.
func TestEmbeddingsOfMiniLM(t *testing.T) {
	var golden struct {
		Folder string
		Texts  []struct {
			Text      string
			Tokens    int
			Embedding []float32
			Sum       float64
		}
		Similar []float64
	}
	readGoldenJSON(t, "../testdata/goldens/real/encoders/sentences.json", &golden)
	s := encoderSite(t, modeltest.Real(t, golden.Folder))
	var texts []string
	for _, c := range golden.Texts {
		texts = append(texts, c.Text)
		got := s.post(t, "/v1/embeddings", asJSON(t, map[string]any{"input": c.Text}))
		if c.Tokens > 256 {
			require.Equal(t, 400, got.status)
			require.Contains(t, got.body, "input has 402 tokens: this base's longest text is 256 (max_seq_length in its sentence_bert_config.json)")
			got = s.post(t, "/v1/embeddings", asJSON(t, map[string]any{"input": c.Text, "truncate_prompt_tokens": -1}))
		}
		row, tokens := readEmbeddings(t, got)
		require.Equal(t, min(c.Tokens, 256), tokens)
		require.Len(t, row[0], 384)
		near(t, c.Embedding, row[0], c.Text)
		sum := 0.0
		for _, v := range row[0] {
			sum += float64(v)
		}
		require.InDelta(t, c.Sum, sum, 1e-4)
	}
	var scores []float64
	got := s.post(t, "/similarity", asJSON(t, map[string]any{"inputs": map[string]any{"source_sentence": texts[0], "sentences": texts}, "parameters": map[string]any{"truncate": true}}))
	require.NoError(t, json.Unmarshal([]byte(got.body), &scores), got.body)
	require.InDeltaSlice(t, golden.Similar, scores, 1e-5)
}

func readGoldenJSON(t *testing.T, path string, v any) {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, v))
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return string(b)
}

// The memory of an answer is set aside until its client has read it, or has left.
func TestAnswersAreHeldUntilTheyAreWritten(t *testing.T) {
	account := memoryWith(t, 1<<30)
	s := newSite(t, func(_ *Config, p *Parts) { p.Memory = account })
	used := func() (n int64) {
		for _, l := range account.Lines()[1:] {
			n += l.Used
		}
		return n
	}
	for path, body := range map[string]string{
		"/embed_all": `{"inputs":"Hello"}`, "/embed": `{"inputs":["Hello"]}`, "/v1/embeddings": `{"input":"Hello"}`,
		"/v1/classify": `{"input":"Hello","model":"sql"}`, "/classify": `{"inputs":["Hello"],"model":"sql"}`, "/predict": `{"inputs":"Hello","model":"sql"}`,
		"/v1/classify?adapter=*": `{"input":"Hello"}`, "/v2/models/sql/infer": `{"inputs":[{"name":"text","datatype":"BYTES","shape":[1],"data":["Hello"]}]}`,
	} {
		for name, over := range map[string]func(*fasthttp.Response) error{
			"written": func(r *fasthttp.Response) error { return r.BodyWriteTo(io.Discard) },
			"read":    func(r *fasthttp.Response) error { require.NotEmpty(t, r.Body()); return nil },
			"left":    func(r *fasthttp.Response) error { r.Reset(); return nil },
		} {
			response := s.server.ask("a", "b", path, []byte(body))
			require.Equal(t, 200, response.StatusCode(), path)
			require.Positive(t, used(), "%s: the answer has not been %s yet", path, name)
			require.NoError(t, over(response))
			require.Zero(t, used(), "%s: the answer has been %s", path, name)
		}
	}
}
