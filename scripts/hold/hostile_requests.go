package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/models/chat"
	"github.com/peft-serve/peft-serve/runtime"
	"github.com/peft-serve/peft-serve/scripts/hold/mutant"
	"github.com/peft-serve/peft-serve/serve"
)

// hostileRequests are requests as clients send them, of which each is changed somehow.
// They are refused by an error that names a field, or are answered: then the same
// request gets the same answer again.
type hostileRequests struct {
	sites []*requestSite
	out   io.Writer
	seed  uint64

	refused, answered                    int
	crashed, unnamed, wrong, slow, large int
	worst                                cost
}

// requestSite is a server on a base with adapters of each family, those with heads
// included, and requests that it answers.
type requestSite struct {
	url    string
	bodies []requestSeed
	stop   func() error
}

type requestSeed struct{ path, body string }

// forDecoders and forEncoders are requests that are answered as they are.
var forDecoders = []requestSeed{
	{"/v1/completions", `{"temperature":0,"prompt":"abc","max_tokens":4,"guided_json":{"type":"object","properties":{"a":{"type":"integer","minimum":0,"maximum":9},"b":{"type":"array","items":{"enum":["x","y",null]},"minItems":1,"maxItems":2}},"required":["a","b"],"additionalProperties":false}}`},
	{"/v1/completions", `{"temperature":0,"prompt":"abc","max_tokens":4,"guided_regex":"(ab|c){1,3}[0-9]+\\.?$"}`},
	{"/v1/completions", `{"temperature":0,"prompt":"abc","max_tokens":4,"guided_choice":["yes","no","not now"],"logprobs":2}`},
	{"/v1/completions", `{"temperature":0,"prompt":[5,6,7],"max_tokens":4,"structured_outputs":{"json":{"$defs":{"t":{"type":"object","properties":{"l":{"anyOf":[{"type":"null"},{"$ref":"#/$defs/t"}]}},"required":["l"]}},"$ref":"#/$defs/t"}},"model":"lora"}`},
	{"/v1/completions", `{"temperature":0,"prompt":"abc","max_tokens":4,"model":"lora:0.5,rslora:1.25","stop":["x"],"logit_bias":{"5":1},"echo":true,"n":2}`},
	{"/v1/chat/completions", `{"temperature":0,"messages":[{"role":"system","content":"a"},{"role":"user","content":[{"type":"text","text":"b"}]}],"max_tokens":4,"response_format":{"type":"json_schema","json_schema":{"name":"n","strict":true,"schema":{"type":"object","properties":{"s":{"type":"string","pattern":"^a+$","maxLength":4},"d":{"type":"string","format":"date"}},"required":["s"]}}}}`},
	{"/v1/chat/completions", `{"temperature":0,"messages":[{"role":"user","content":"b"}],"max_tokens":4,"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object","properties":{"a":{"type":"number"}},"required":["a"]},"strict":true}},{"type":"function","function":{"name":"g","parameters":{"type":"object","properties":{"b":{"$ref":"#/$defs/b"}},"$defs":{"b":{"type":"boolean"}}}}}],"tool_choice":"required","parallel_tool_calls":false,"model":"ia3"}`},
	{"/v1/chat/completions", `{"temperature":0,"messages":[{"role":"user","content":"b"},{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},{"role":"tool","tool_call_id":"c1","content":"2"}],"max_tokens":4,"tools":[{"type":"function","function":{"name":"f","parameters":{"$ref":"#/$defs/b","$defs":{"b":{"type":"object"}}}}}],"tool_choice":{"type":"function","function":{"name":"f"}}}`},
	{"/v1/responses", `{"temperature":0,"input":[{"role":"user","content":"a"}],"instructions":"b","max_output_tokens":16,"text":{"format":{"type":"json_schema","name":"n","schema":{"type":"object","properties":{"a":{"type":"boolean"}},"required":["a"],"additionalProperties":false}}}}`},
	{"/generate", `{"inputs":"abc","parameters":{"temperature":0,"max_new_tokens":4,"grammar":{"type":"json","value":{"type":"object","properties":{"x":{"type":"integer"}},"required":["x"]}},"adapter_id":"dora","details":true}}`},
	{"/v2/models/base/generate", `{"text_input":"abc","parameters":{"temperature":0,"max_tokens":4}}`},
	{"/tokenize", `{"inputs":"abc def","add_special_tokens":true}`},
	{"/v1/classify", `{"input":["abc","def"],"model":"seq-cls","top_k":2,"activation":"softmax"}`},
	{"/v1/embeddings", `{"input":[[5,6,7],[8]],"encoding_format":"float"}`},
}

var forEncoders = []requestSeed{
	{"/v1/classify", `{"input":["the cat",["the cat","sat"]],"model":"seq-cls","top_k":2,"activation":"softmax","truncate":true,"truncation_direction":"Left"}`},
	{"/v1/classify", `{"inputs":"the cat sat","model":"token-cls","aggregation_strategy":"simple","ignore_labels":["O"]}`},
	{"/v1/classify", `{"text":["the cat"],"text_pair":["sat"],"model":"many-cls","function_to_apply":"sigmoid"}`},
	{"/v1/classify", `{"input":[[2,5,6,3],[2,7,3]],"model":"many-cls","top_k":77}`},
	{"/v1/classify?adapter=*-cls,lora", `{"input":["the cat","sat"],"top_k":1}`},
	{"/v2/models/seq-cls/infer", `{"id":"7","inputs":[{"name":"text","datatype":"BYTES","shape":[2],"data":["the cat","sat"]},{"name":"text_pair","datatype":"BYTES","shape":[2],"data":["a","b"]}],"outputs":[{"name":"label"}]}`},
	{"/classify", `{"model":"seq-cls","input":["the cat","sat"],"use_activation":true}`},
	{"/predict", `{"inputs":[["the cat"],["sat","mat"]],"raw_scores":true,"truncate":true,"model":"seq-cls"}`},
	{"/v1/embeddings", `{"input":"the cat","encoding_format":"base64","dimensions":3,"model":"lora"}`},
	{"/v1/embeddings", `{"input":[[2,5,6,3],[2,7,3]],"encoding_format":"float","user":"u","truncate_prompt_tokens":-1}`},
	{"/v1/embeddings", `{"input":["the cat","sat","on the mat"],"model":"ia3"}`},
	{"/pooling", `{"input":["the cat",[2,5,3]],"task":"token_embed","use_activation":false,"encoding_format":"base64","truncate_prompt_tokens":-1,"truncation_side":"left","model":"lora"}`},
	{"/pooling", `{"input":["the cat","sat"],"task":"embed","user":"u"}`},
	{"/embed", `{"inputs":["the cat","sat"],"normalize":false,"truncate":true,"truncation_direction":"Right","dimensions":2}`},
	{"/embed_all", `{"inputs":["the cat",[2,5,3]],"truncate":false,"model":"dora"}`},
	{"/similarity", `{"inputs":{"source_sentence":"the cat","sentences":["a cat","the mat"]},"parameters":{"truncate":true}}`},
	{"/v1/score", `{"text_1":"the cat","text_2":["a cat","the mat"],"truncate_prompt_tokens":-1}`},
	{"/v1/rerank", `{"query":"the cat","documents":["a cat",{"text":"the mat"}],"top_n":1,"return_documents":true}`},
	{"/rerank", `{"query":"the cat","texts":["a cat","the mat"],"raw_scores":false,"return_text":true,"truncate":true}`},
	{"/tokenize", `{"inputs":"the cat","add_special_tokens":true}`},
}

// requestKeys are fields of requests, some of other routes than those that have them.
var requestKeys = strings.Fields(`prompt messages inputs input text text_pair model adapter_id parameters max_tokens max_new_tokens n best_of stream stop
	logprobs top_logprobs prompt_logprobs temperature top_p top_k min_p seed logit_bias echo suffix guided_json guided_regex guided_choice guided_grammar
	response_format structured_outputs grammar schema json_schema type value tools tool_choice parallel_tool_calls function name arguments tool_calls role content
	$ref $defs properties items prefixItems anyOf oneOf allOf not enum const pattern patternProperties format minimum multipleOf minItems uniqueItems
	encoding_format dimensions truncate truncation_direction truncate_prompt_tokens normalize prompt_name activation aggregation_strategy raw_scores
	query documents texts top_n return_documents source_sentence sentences text_1 text_2 lora merged_adapters ids weights`)

// shortTemplate leaves room in the context of the tiny base.
const shortTemplate = `{% for m in messages %}{{ m.role[0] }}{{ m.content }}{% for c in m.tool_calls or [] %}{{ c.function.name }}{% endfor %};{% endfor %}{% for t in tools or [] %}{{ t.function.name }}{% endfor %}>`

// serveRequests starts the two servers. Each has adapters that are made for its base.
func serveRequests(root, dir string) (h *hostileRequests, err error) {
	h = &hostileRequests{}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.close())
		}
	}()
	decoder := filepath.Join(dir, "decoder")
	if err := layBase(root, decoder); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(decoder, "chat_template.jinja"), []byte(shortTemplate), 0o644); err != nil {
		return nil, err
	}
	for _, one := range []struct {
		base   string
		bodies []requestSeed
	}{{decoder, forDecoders}, {filepath.Join(root, goldens, "sentences", "tiny"), forEncoders}} {
		made, err := os.MkdirTemp(dir, "made-")
		if err != nil {
			return nil, err
		}
		site, err := newRequestSite(one.base, made)
		if err != nil {
			return nil, err
		}
		site.bodies = one.bodies
		h.sites = append(h.sites, site)
	}
	return h, nil
}

func (h *hostileRequests) close() (err error) {
	for _, s := range h.sites {
		err = errors.Join(err, s.stop())
	}
	return err
}

// newRequestSite serves a base with adapters that are made in a folder.
func newRequestSite(dir, made string) (_ *requestSite, err error) {
	if err := makeAdapters(dir, made); err != nil {
		return nil, err
	}
	b, err := openBase(dir)
	if err != nil {
		return nil, err
	}
	engine, stop, err := startEngine(b, 1, runtime.Options{CacheBytes: 16 << 20})
	if err != nil {
		return nil, err
	}
	known, err := catalogue.New(b.load, catalogue.Options{Dir: made, Size: b.size, Compose: catalogue.ComposeFor(b.model), Log: silent})
	if err != nil {
		return nil, err
	}
	recipe, err := b.recipe(dir)
	if err != nil {
		return nil, err
	}
	template, err := chat.Load(dir)
	if err != nil && !errors.Is(err, chat.ErrNoTemplate) {
		return nil, err
	}
	server, err := serve.New(serve.Parts{
		Engine: serve.RuntimeEngine(engine), Catalogue: known, Base: b.model.Config(), Recipe: recipe,
		Tokenizer: b.text, Chat: template, Metrics: serve.NewMetrics("base"),
	}, serve.Config{Name: "base", Source: dir, AccessLog: -1})
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	return &requestSite{url: "http://" + listener.Addr().String(), stop: func() error {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		err := errors.Join(server.Shutdown(ctx), <-served)
		stop()
		return errors.Join(err, known.Close(), b.source.Close())
	}}, nil
}

// run sends n of them, or the one of that number alone.
func (h *hostileRequests) run(ctx context.Context, n, only int) error {
	client := newClient()
	defer client.CloseIdleConnections()
	for _, s := range h.sites { // what is answered as it is
		for _, seed := range s.bodies {
			if r, err := sendIn(ctx, client, http.MethodPost, s.url+seed.path, []byte(seed.body)); err != nil || r.status != http.StatusOK {
				return fmt.Errorf("%s %s: %d %s (%w)", seed.path, seed.body, r.status, r.text, err)
			}
		}
	}
	for i := range n {
		if only >= 0 && i != only {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		draw := rand.New(rand.NewPCG(h.seed, 1<<32+uint64(i)))
		s := h.sites[i%len(h.sites)]
		seed := s.bodies[draw.IntN(len(s.bodies))]
		body, did := mutateRequest(draw, seed.body)
		before := spent()
		h.judge(ctx, client, i, s.url+seed.path, seed, body, did, only >= 0)
		h.bound(i, seed, body, did, spent().less(before))
	}
	fmt.Fprintf(h.out, "%d hostile requests: refused %d, answered %d, crashed %d, unnamed %d, slow %d, large %d, wrong %d; one took at most %s of processors, %d MB\n",
		h.refused+h.answered+h.crashed, h.refused, h.answered, h.crashed, h.unnamed, h.slow, h.large, h.wrong, h.worst.time.Round(time.Millisecond), h.worst.memory>>20)
	if h.crashed+h.unnamed+h.slow+h.large+h.wrong > 0 {
		return errors.New("not all requests were refused by name or answered")
	}
	return nil
}

// mutateRequest changes a body once or twice, some as text.
func mutateRequest(draw *rand.Rand, body string) (b []byte, did []string) {
	b = []byte(body)
	for range 1 + draw.IntN(8)/6 {
		to, what, err := mutant.JSON(draw, b, requestKeys)
		if err != nil || draw.IntN(20) == 0 {
			to, what = mutant.Bytes(draw, b)
		}
		b, did = to, append(did, what)
	}
	return b, did
}

// judge sends a request, twice if it is answered.
func (h *hostileRequests) judge(ctx context.Context, client *http.Client, i int, url string, seed requestSeed, body []byte, did []string, tell bool) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	got, err := sendIn(ctx, client, http.MethodPost, url, body)
	report := func(what string) {
		fmt.Fprintf(h.out, "%s: -seed %d -only-request %d: %s: %s: %d %.400s (%v)\n", what, h.seed, i, seed.path, strings.Join(did, "; "), got.status, got.text, err)
	}
	switch {
	case err != nil || got.status >= http.StatusInternalServerError || failedInside(got.status, got.text):
		h.crashed++
		report("crashed")
	case got.status >= http.StatusBadRequest:
		h.refused++
		if !namesField(got.text, body, []byte(seed.body)) {
			h.unnamed++
			report("unnamed")
		}
	default:
		h.answered++
		if !settled(seed, body) {
			break
		}
		again, err := sendIn(ctx, client, http.MethodPost, url, body)
		if err != nil || again.status != got.status || !bytes.Equal(fleeting.ReplaceAll(again.text, nil), fleeting.ReplaceAll(got.text, nil)) {
			h.wrong++
			report("another answer to the same request")
		}
	}
	if tell {
		report(string(body))
	}
}

// fleeting is what differs from one answer to the next.
var fleeting = regexp.MustCompile(`"[a-z]+[-_][0-9a-zA-Z]{16,}"|"(created|total_time|[a-z_]*duration[a-z_]*)": *"?[0-9.e-]+"?`)

// settled tells a request whose answer leaves nothing to chance: one for rows, or one
// that has kept its temperature of 0.
func settled(seed requestSeed, body []byte) bool {
	const greedy = `"temperature":0,`
	times := strings.Count(seed.body, greedy)
	return bytes.Count(body, []byte(greedy)) == times && bytes.Count(body, []byte("temperature")) == times
}

// namesField reports whether an error has a field at fault, or its message names a
// field of the request or of what it was made of, or one of any request that is no word
// of English; or says that it is no JSON, or, in OpenAI's words, what adapter is not
// there.
func namesField(text, body, seed []byte) bool {
	message, param := saidIn(text)
	for _, whole := range []string{"JSON", "the body", "the request body", "The model `"} {
		if strings.Contains(message, whole) {
			return true
		}
	}
	named := func(key string) bool { return hasWord(message, key) }
	return param != "" || slices.ContainsFunc(keysOf(body), named) || slices.ContainsFunc(keysOf(seed), named) ||
		slices.ContainsFunc(requestKeys, func(key string) bool { return strings.ContainsAny(key, "_$") && named(key) })
}

// saidIn is what an error says, as OpenAI's servers write it or as a text, and the
// field that it has at fault.
func saidIn(text []byte) (message, param string) {
	var said struct{ Error json.RawMessage }
	if json.Unmarshal(text, &said) != nil {
		return "", ""
	}
	var object struct{ Message, Param string }
	if json.Unmarshal(said.Error, &object) == nil {
		return object.Message, object.Param
	}
	if json.Unmarshal(said.Error, &message) != nil {
		return "", ""
	}
	return message, ""
}

// inJSON are its texts, those of keys with their colons.
var inJSON = regexp.MustCompile(`("(?:[^"\\]|\\.)*")(\s*:)?`)

// keysOf are the keys of what may be JSON, at any depth.
func keysOf(body []byte) (keys []string) {
	for _, at := range inJSON.FindAllSubmatch(body, -1) {
		var key string
		switch {
		case len(at[2]) == 0 || json.Unmarshal(at[1], &key) != nil, key == "a": // which is a word of most messages
		case key == "":
			keys = append(keys, `""`)
		default:
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// hasWord reports whether a text has a word that is not a part of a longer one.
func hasWord(text, word string) bool {
	part := func(i int) bool { return i >= 0 && i < len(text) && strings.IndexByte(wordBytes, text[i]) >= 0 }
	for at := 0; ; at++ {
		i := strings.Index(text[at:], word)
		if i < 0 {
			return false
		}
		if at += i; !part(at-1) && !part(at+len(word)) {
			return true
		}
	}
}

const wordBytes = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_$"

// bound counts what takes too long, or too much.
func (h *hostileRequests) bound(i int, seed requestSeed, body []byte, did []string, c cost) {
	h.worst.time, h.worst.memory = max(h.worst.time, c.time), max(h.worst.memory, c.memory)
	what := ""
	if c.time > mostTime {
		h.slow++
		what = fmt.Sprint("slow, ", c.time)
	}
	if c.memory > mostMemory+perByte*len(body) {
		h.large++
		what += fmt.Sprintf(" %d MB for %d bytes", c.memory>>20, len(body))
	}
	if what != "" {
		fmt.Fprintf(h.out, "%s: -seed %d -only-request %d: %s: %s\n", what, h.seed, i, seed.path, strings.Join(did, "; "))
	}
}
