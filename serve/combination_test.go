package serve

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/adapters/adaptertest"
	"github.com/peft-serve/peft-serve/catalogue"
)

// The golden combination of testdata/goldens/composed.json.
const served = "lora:0.7,lora-embed:-0.5,lora-lm-head:0.4"

// combiningSite serves the parts of the golden combination too.
func combiningSite(t *testing.T, change ...func(*catalogue.Options, *Parts)) *site {
	t.Helper()
	s := realSite(t, change...)
	for _, name := range []string{"lora-embed", "lora-lm-head", "lora-tokens"} {
		layAdapter(t, name, filepath.Join(s.server.config.Adapters, name))
	}
	return s
}

// A combination is what PEFT makes of it, however a request names it.
func TestCombinations(t *testing.T) {
	s := combiningSite(t)
	g := readGolden(t, goldens+"/composed/served.safetensors")
	prompt, err := json.Marshal(g.tokens)
	require.NoError(t, err)
	got := s.post(t, "/v1/completions", fmt.Sprintf(`{"model":%q,"prompt":%s,"echo":true,"logprobs":1,"max_tokens":0}`, served, prompt))
	require.Equal(t, 200, got.status, got.body)
	require.Equal(t, served, got.header.Get("X-Adapter-Id"))
	require.Equal(t, `"`+served+`"`, member(t, got.body, "model"))
	digest := got.header.Get("X-Adapter-Digest")
	require.Len(t, digest, 64)
	var logprobs []*float64
	require.NoError(t, json.Unmarshal([]byte(member(t, got.body, "choices", "0", "logprobs", "token_logprobs")), &logprobs))
	for i := 1; i < len(g.tokens); i++ {
		require.InDelta(t, g.logprob(i-1, g.tokens[i]), *logprobs[i], 1e-4)
	}

	ids := map[string]string{}
	var listed []struct {
		ID    int     `json:"id"`
		Name  string  `json:"name"`
		Path  string  `json:"path"`
		Scale float64 `json:"scale"`
	}
	require.NoError(t, json.Unmarshal([]byte(s.get(t, "/lora-adapters").body), &listed))
	for i, l := range listed {
		require.Equal(t, i, l.ID)
		require.Equal(t, filepath.Join(s.server.config.Adapters, l.Name), l.Path)
		ids[l.Name] = fmt.Sprint(l.ID)
	}
	lora := `[{"id":` + ids["lora-embed"] + `,"scale":-0.5},{"id":` + ids["lora"] + `,"scale":0.7},{"id":` + ids["dora"] + `,"scale":0.0},{"id":` + ids["lora-lm-head"] + `,"scale":0.4}]`
	merged := `{"ids":["lora","lora-embed","lora-lm-head"],"weights":[0.7,-0.5,0.4],"merge_strategy":"linear","density":0.0,"majority_sign_method":"total"}`
	turned := url.QueryEscape("lora-lm-head:+0.4, lora-embed:-.5,lora:7e-1")
	const text = `Hello`
	texts := map[string]bool{}
	for _, c := range []struct{ path, body, header string }{
		{"/v1/completions", `{"model":"` + served + `","prompt":"` + text + `","max_tokens":9,"temperature":0}`, ""},
		{"/v1/completions", `{"prompt":"` + text + `","max_tokens":9,"temperature":0}`, served},
		{"/v1/completions", `{"model":"tiny","lora":` + lora + `,"prompt":"` + text + `","max_tokens":9,"temperature":0}`, ""},
		{"/v1/generate?adapter=" + served, `{"inputs":"` + text + `","parameters":{"max_new_tokens":9}}`, ""},
		{"/v1/generate?adapter=" + turned, `{"inputs":"` + text + `","parameters":{"max_new_tokens":9}}`, ""},
		{"/v1/generate", `{"inputs":"` + text + `","parameters":{"max_new_tokens":9,"adapter_id":"` + served + `"}}`, served},
		{"/generate", `{"inputs":"` + text + `","parameters":{"max_new_tokens":9,"merged_adapters":` + merged + `}}`, ""},
		{"/v2/models/" + served + "/generate", `{"text_input":"` + text + `","parameters":{"max_tokens":9}}`, ""},
	} {
		var headers []string
		if c.header != "" {
			headers = []string{"X-Adapter", c.header}
		}
		got := s.post(t, c.path, c.body, headers...)
		require.Equal(t, 200, got.status, got.body)
		require.Equal(t, digest, got.header.Get("X-Adapter-Digest"), c.path)
		switch {
		case strings.HasPrefix(c.path, "/v2"):
			require.Equal(t, `"`+digest+`"`, member(t, got.body, "model_version"))
			texts[member(t, got.body, "text_output")] = true
		case c.path == "/v1/completions":
			texts[member(t, got.body, "choices", "0", "text")] = true
		default:
			texts[member(t, got.body, "generated_text")] = true
		}
	}
	require.Len(t, texts, 1)
	chat := s.post(t, "/v1/chat/completions", `{"model":"tiny","lora":`+lora+`,"messages":[{"role":"user","content":"Hi"}],"max_tokens":3}`)
	require.Equal(t, digest, chat.header.Get("X-Adapter-Digest"), chat.body)
	require.Eventually(t, func() bool { // what is told follows the answer
		return strings.Contains(s.get(t, "/metrics").body, `peft_requests_total{adapter="(combinations)",outcome="length"} 10`)
	}, time.Minute, time.Millisecond)

	for _, name := range []string{"lora", "lora-embed"} {
		require.Equal(t, "0", member(t, s.get(t, "/v1/adapters/"+name).body, "references"), "nothing is held any more")
	}
}

// One adapter of weight 1 is that adapter, and one of scale 0 is none.
func TestTrivialCombinations(t *testing.T) {
	s := combiningSite(t)
	digest := func(path, body string) string {
		t.Helper()
		got := s.post(t, path, body)
		require.Equal(t, 200, got.status, got.body)
		return got.header.Get("X-Adapter-Digest")
	}
	own := digest("/v1/completions", `{"model":"lora","prompt":"a","max_tokens":1}`)
	require.Equal(t, own, digest("/v1/completions", `{"model":"lora:1","prompt":"a","max_tokens":1}`))
	require.Equal(t, own, digest("/generate", `{"inputs":"a","parameters":{"max_new_tokens":1,"merged_adapters":{"ids":["lora"]}}}`))
	require.NotEqual(t, own, digest("/v1/completions", `{"model":"lora:0.5","prompt":"a","max_tokens":1}`))
	require.NotEqual(t, own, digest("/v1/completions", `{"model":"lora:0","prompt":"a","max_tokens":1}`))
	require.NotEmpty(t, digest("/v1/completions", `{"model":"prefix:1.0","prompt":"a","max_tokens":1}`), "any family")
	require.Empty(t, digest("/v1/completions", `{"model":"tiny","lora":[],"prompt":"a","max_tokens":1}`))
	require.Empty(t, digest("/v1/completions", `{"lora":[{"id":1,"scale":0}],"prompt":"a","max_tokens":1}`))
	require.Equal(t, own, digest("/v1/completions", `{"model":"lora","lora":[{"id":1,"scale":0}],"prompt":"a","max_tokens":1}`))
}

// What is refused names the field and the adapter at fault, and holds nothing.
func TestCombinationsRefused(t *testing.T) {
	s := combiningSite(t)
	broken := adaptertest.Overflowing(t, filepath.Join(goldens, "adapters", "lora"))
	require.NoError(t, os.Rename(broken, filepath.Join(s.server.config.Adapters, "overflows")))
	for _, c := range []struct {
		model  string
		status int
		says   string
	}{
		{"lora:0.5,nobody:0.5", 404, "`nobody` does not exist"},
		{"nobody:0.5", 404, "`nobody` does not exist"},
		{"lora:0.5,a b:0.5", 404, "`a b` does not exist"},
		{"lora:half", 404, "`lora:half` does not exist"},
		{"lora,lora-embed", 400, `\"lora\" has no weight: write NAME:WEIGHT`},
		{"lora:0.5,", 400, `\"\" has no weight`},
		{"lora:0.5,lora-embed:nan", 400, `\"lora-embed:nan\" has no weight`},
		{"lora:0.5,lora-embed:0x1p2", 400, `\"lora-embed:0x1p2\" has no weight`},
		{"lora:0.5,lora-embed:1e999", 400, `the weight of \"lora-embed\" is +Inf`},
		{"lora:-101", 400, `the weight of \"lora\" is -101`},
		{"lora:0.5,lora:0.5", 400, `names \"lora\" twice`},
		{"lora:0.5,tiny:0.5", 400, `\"tiny\" is the base`},
		{strings.Repeat("lora:0.5,", 17) + "lora:1", 400, "a combination of 18 adapters: name at most 16"},
		{"lora:0.5,dora:0.5", 400, `adapter \"dora\" (dora) multiplies the output of model.layers.0.self_attn.o_proj`},
		{"prefix:0.5", 400, `adapter \"prefix\" (prefix-tuning) stands before the first token`},
		{"lora:0.5,lora-tokens:0.5", 400, `adapter \"lora-tokens\" (lora) has rows of its own in model.embed_tokens`},
		{"lora:0.5,overflows:1", 400, `not finite: give smaller weights`},
	} {
		body := fmt.Sprintf(`{"model":%q,"prompt":"Hello","max_tokens":2}`, c.model)
		got := s.post(t, "/v1/completions", body)
		require.Equal(t, c.status, got.status, c.model+": "+got.body)
		require.Contains(t, got.body, c.says)
	}
	for _, c := range []struct{ path, body, says string }{
		{"/v1/generate", `{"inputs":"a","parameters":{"merged_adapters":{"ids":["lora"],"merge_strategy":"ties"}}}`, `parameters.merged_adapters.merge_strategy is \"ties\", which is not implemented: make one adapter of them by PEFT's add_weighted_adapter and upload that`},
		{"/v1/generate", `{"inputs":"a","parameters":{"merged_adapters":{"ids":["lora"],"merge_strategy":"cat"}}}`, `parameters.merged_adapters.merge_strategy is \"cat\": send linear`},
		{"/v1/generate", `{"inputs":"a","parameters":{"merged_adapters":{"weights":[1]}}}`, "parameters.merged_adapters.ids is missing"},
		{"/v1/generate", `{"inputs":"a","parameters":{"merged_adapters":{"ids":["lora"],"weights":[1,2]}}}`, "parameters.merged_adapters.weights has 2 numbers for 1 ids"},
		{"/v1/generate", `{"inputs":"a","parameters":{"merged_adapters":{"ids":["lora"],"density":2}}}`, "parameters.merged_adapters.density is 2"},
		{"/v1/generate", `{"inputs":"a","parameters":{"merged_adapters":{"ids":["lora"],"majority_sign_method":"all"}}}`, `parameters.merged_adapters.majority_sign_method is \"all\"`},
		{"/v1/generate", `{"inputs":"a","parameters":{"merged_adapters":{"ids":["lora"],"weight":[1]}}}`, "parameters.merged_adapters.weight is not a field of this request; did you mean weights?"},
		{"/v1/generate", `{"inputs":"a","parameters":{"adapter_id":"lora","merged_adapters":{"ids":["lora","lora-embed"]}}}`, `parameters.adapter_id names adapter \"lora\" and parameters.merged_adapters names \"lora:1,lora-embed:1\"`},
		{"/v1/generate", `{"inputs":"a","parameters":{"merged_adapters":{"ids":["a"` + strings.Repeat(`,"a"`, 16) + `]}}}`, "it has 17 adapters: name at most 16"},
		{"/v1/completions", `{"prompt":"a","lora":[{"scale":1}]}`, "lora[0].id is missing"},
		{"/v1/completions", `{"prompt":"a","lora":[{"id":0}]}`, "lora[0].scale is missing"},
		{"/v1/completions", `{"prompt":"a","lora":[{"id":0,"scale":0},{"id":0,"scale":1}]}`, "lora[1].id is 0 for the second time"},
		{"/v1/completions", `{"prompt":"a","lora":[{"id":99,"scale":1}]}`, "lora[0].id is 99, and no adapter has that number: GET /lora-adapters"},
		{"/v1/completions", `{"prompt":"a","lora":[{"id":-1,"scale":0}]}`, "lora[0].id is -1"},
		{"/v1/completions", `{"prompt":"a","model":"lora","lora":[{"id":1,"scale":0.5}]}`, `model names adapter \"lora\" and lora names`},
	} {
		got := s.post(t, c.path, c.body)
		require.Equal(t, http.StatusBadRequest, got.status, got.body)
		require.Contains(t, got.body, c.says)
	}
	for _, name := range []string{"lora", "dora", "overflows"} {
		require.Equal(t, "0", member(t, s.get(t, "/v1/adapters/"+name).body, "references"), name)
	}
	require.Equal(t, `"resident"`, member(t, s.get(t, "/v1/adapters/overflows").body, "state"), "a combination withdraws no part")
}

// An adapter with a colon in its name is named as before; where a list could mean
// either, it is refused.
func TestNamesLikeCombinations(t *testing.T) {
	s := newSite(t, nil)
	s.catalogue.Add("sql:2", "/adapters/sql:2")
	digest := func(model string) string {
		got := s.post(t, "/v1/completions", fmt.Sprintf(`{"model":%q,"prompt":"a"}`, model))
		require.Equal(t, 200, got.status, got.body)
		return got.header.Get("X-Adapter-Digest")
	}
	require.Equal(t, "digest-of-sql:2", digest("sql:2"))
	require.Equal(t, "3·digest-of-sql", digest("sql:3"))
	require.Equal(t, "0.5·digest-of-sql:2", digest("sql:2:0.5"))
	require.Equal(t, "1·digest-of-sql:2 0.5·digest-of-cold", digest("sql:2:1,cold:0.5"))
	got := s.post(t, "/v1/completions", `{"model":"sql:2,cold:0.5","prompt":"a"}`)
	require.Equal(t, 400, got.status)
	require.Contains(t, got.body, `\"sql:2\" is the name of an adapter, and \"sql\" with a weight: write sql:2:1 for the first`)
}

// Numbers of adapters stay when others come and go.
func TestNumbersStay(t *testing.T) {
	s := newSite(t, nil)
	ask := func(body string) answer {
		return s.post(t, "/v1/completions", `{"prompt":"a","lora":[{"id":`+body+`,"scale":0.5}]}`)
	}
	require.Equal(t, "broken,cold,sql", strings.Join(numbered(t, s), ","))
	s.catalogue.Add("another", "/adapters/another")
	require.Equal(t, "sql:0.5", ask("2").header.Get("X-Adapter-Id"))
	require.Equal(t, "another:0.5", ask("3").header.Get("X-Adapter-Id"))
	require.NoError(t, s.catalogue.Remove(t.Context(), "cold", nil))
	require.Equal(t, "broken,,sql,another", strings.Join(numbered(t, s), ","))
	require.Equal(t, 404, ask("1").status)
	require.Equal(t, "sql:0.5", ask("2").header.Get("X-Adapter-Id"))
}

// numbered are the names of /lora-adapters by number.
func numbered(t *testing.T, s *site) (names []string) {
	t.Helper()
	var listed []struct {
		ID   int    `json:"id"`
		Name string `json:"name"`
	}
	require.NoError(t, json.Unmarshal([]byte(s.get(t, "/lora-adapters").body), &listed))
	for _, l := range listed {
		for len(names) <= l.ID {
			names = append(names, "")
		}
		names[l.ID] = l.Name
	}
	return names
}

// The prefix cache tells combinations apart, and finds one again.
func TestCombinationsInThePrefixCache(t *testing.T) {
	s := combiningSite(t)
	prompt := strings.Repeat("Hello you ", 6)
	ask := func(model string) (cached, text string) {
		t.Helper()
		got := s.post(t, "/v1/completions", fmt.Sprintf(`{"model":%q,"prompt":%q,"max_tokens":4,"temperature":0}`, model, prompt))
		require.Equal(t, 200, got.status, got.body)
		return member(t, got.body, "usage", "prompt_tokens_details", "cached_tokens"), member(t, got.body, "choices", "0", "text")
	}
	cached, text := ask("lora:0.5,lora-embed:0.5")
	require.Equal(t, "0", cached)
	for _, other := range []string{"lora:0.5,lora-embed:0.25", "lora:0.5", "lora", "lora-embed", "tiny"} {
		cached, _ := ask(other)
		require.Equal(t, "0", cached, other)
	}
	cached, again := ask("lora-embed:0.5,lora:0.5")
	require.NotEqual(t, "0", cached)
	require.Equal(t, text, again)
}

// A swap of one part in the middle of a request shows in the next one alone.
func TestSwapOfAPart(t *testing.T) {
	i := &interrupted{}
	s := combiningSite(t, i.into)
	upload := func(weights string) {
		t.Helper()
		got := s.send(t, http.MethodPut, "/v1/adapters/x", packed(t, filepath.Join(goldens, "adapters", weights)))
		require.Less(t, got.status, 300, got.body)
	}
	ask := func() string {
		t.Helper()
		got := s.post(t, "/v1/completions", `{"model":"x:0.5,lora:0.5","prompt":"Hello","max_tokens":6,"temperature":0}`)
		require.Equal(t, 200, got.status, got.body)
		return got.header.Get("X-Adapter-Digest") + member(t, got.body, "choices", "0", "text")
	}
	upload("lora-embed")
	after := ask()
	upload("lora-lm-head")
	before := ask()
	require.NotEqual(t, before, after)
	i.prepared = func() { i.prepared = nil; upload("lora-embed") }
	require.Equal(t, before, ask())
	require.Nil(t, i.prepared, "it came to that")
	require.Equal(t, after, ask())
}

// Text is made and read as all parts would have it, or the combination is refused.
func TestTextOfCombinations(t *testing.T) {
	s := combiningSite(t)
	lay := func(name string, files map[string]string) {
		t.Helper()
		dir := filepath.Join(s.server.config.Adapters, name)
		layAdapter(t, "lora-embed", dir)
		for file, text := range files {
			require.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644))
		}
	}
	ask := func(model string) answer {
		return s.post(t, "/v1/generate?adapter="+model, `{"inputs":"Hey You","parameters":{"max_new_tokens":8,"details":true}}`)
	}
	own := swapped(t, "H", "Y")
	lay("own", map[string]string{"tokenizer.json": own})
	lay("twin", map[string]string{"tokenizer.json": own})
	require.Equal(t, 200, ask("own:0.5,twin:0.5").status)
	got := ask("own:0.5,lora:0.5")
	require.Equal(t, 400, got.status)
	require.Contains(t, got.body, "have different tokenizers")

	whole := ask("lora:1,lora-embed:0.5")
	require.Equal(t, `"length"`, member(t, whole.body, "details", "finish_reason"))
	token := member(t, whole.body, "details", "tokens", "2", "id")
	lay("ends", map[string]string{"generation_config.json": `{"eos_token_id": ` + token + `}`})
	ended := ask("lora:1,ends:0.5")
	require.Equal(t, whole.header.Get("X-Adapter-Digest"), ended.header.Get("X-Adapter-Digest"), "the same parts but for their texts")
	require.Equal(t, `"eos_token"`, member(t, ended.body, "details", "finish_reason"))

	lay("says", map[string]string{"chat_template.jinja": "{{ messages[0].content }}!"})
	lay("asks", map[string]string{"chat_template.jinja": "{{ messages[0].content }}?"})
	tokens := func(model string) string { return member(t, s.chat(t, model).body, "usage", "prompt_tokens") }
	require.Equal(t, tokens("says"), tokens("lora:0.5,says:0.5"))
	require.NotEqual(t, tokens("lora"), tokens("lora:0.5,says:0.5"))
	got = s.chat(t, "says:0.5,asks:0.5")
	require.Equal(t, 400, got.status)
	require.Contains(t, got.body, "bring different chat templates")
}
