package serve

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/adapters/remote"
	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/models/hub"
	"github.com/peft-serve/peft-serve/runtime"
)

// Every error has its dialect's shape, the right status and a message that
// names the thing at fault.
func TestRefusals(t *testing.T) {
	s := newSite(t, nil)
	const openAIShape, tgiShape, vllmShape = `{"error":{"message":"%s","type":"invalid_request_error","param":%s,"code":%s}}`, `{"error":"%s","error_type":"%s"}`, `{"error":{"message":"%s","type":"%s","param":%s,"code":%d}}`
	for _, c := range []struct {
		request string // METHOD PATH BODY
		status  int
		body    string
	}{
		{`POST /v1/completions {"prompt":"a","n":0}`, 400, fmt.Sprintf(openAIShape, "n is 0, outside 1 to 128", `"n"`, "null")},
		{`POST /v1/completions {"model":"nope","prompt":"a"}`, 404,
			fmt.Sprintf(openAIShape, "The model `nope` does not exist: GET /v1/models lists the base and its adapters.", `"model"`, `"model_not_found"`)},
		{`POST /v1/completions {"n":128,"prompt":[` + strings.Repeat(`"a",`, 32) + `"a"]}`, 400,
			fmt.Sprintf(openAIShape, "prompt and n ask for 4224 answers: ask for at most 4096 at a time", `"prompt"`, "null")},
		{`POST /v1/completions {}`, 400, fmt.Sprintf(openAIShape, "prompt is missing: give the text to continue", `"prompt"`, "null")},
		{`POST /v1/completions {"prompt":"a","max_tokens":500}`, 400,
			fmt.Sprintf(openAIShape, "max_tokens is 500 and the prompt has 2 tokens: this model's maximum context length is 128; ask for at most 126", `"max_tokens"`, `"context_length_exceeded"`)},
		{`POST /v1/completions {"prompt":[1,200]}`, 400, fmt.Sprintf(openAIShape, "prompt: token 200 at place 1 is outside the vocabulary of 96", `"prompt"`, "null")},
		{`POST /v1/completions {"prompt":["a",[1,200]]}`, 400, fmt.Sprintf(openAIShape, "prompt[1]: token 200 at place 1 is outside the vocabulary of 96", `"prompt[1]"`, "null")},
		{`POST /v1/completions {"prompt":["a",""],"add_special_tokens":false}`, 400, fmt.Sprintf(openAIShape, "prompt[1] has no tokens: give some text", `"prompt[1]"`, "null")},
		{`POST /v1/completions {"prompt":["a","bcd"],"max_tokens":126}`, 400,
			fmt.Sprintf(openAIShape, "max_tokens is 126 and prompt[1] has 4 tokens: this model's maximum context length is 128; ask for at most 124", `"max_tokens"`, `"context_length_exceeded"`)},
		{`POST /v1/completions {"prompt":"a","top_p":1.5}`, 400, fmt.Sprintf(openAIShape, "top_p is 1.5, outside 0 to 1", `"top_p"`, "null")},
		{`POST /v1/completions {"prompt":"a","temperature":-1}`, 400, fmt.Sprintf(openAIShape, "temperature is -1, outside 0 to 100", `"temperature"`, "null")},
		{`POST /v1/completions {"prompt":"a","logprobs":21}`, 400, fmt.Sprintf(openAIShape, "logprobs is 21, outside 0 to 20", `"logprobs"`, "null")},
		{`POST /v1/completions {"prompt":"a","logit_bias":{"96":1}}`, 400, fmt.Sprintf(openAIShape, "logit_bias names token 96: the vocabulary has 96", `"logit_bias"`, "null")},
		{`POST /v1/completions {"prompt":"a","stream_options":{}}`, 400, fmt.Sprintf(openAIShape, "stream_options is only for stream: true", `"stream_options"`, "null")},
		{`POST /v1/completions {"prompt":"a","stop_token_ids":[96]}`, 400, fmt.Sprintf(openAIShape, "stop_token_ids[0] is 96: the vocabulary has 96", `"stop_token_ids"`, "null")},
		{`POST /v1/completions {"prompt":"a","stop":[""]}`, 400, fmt.Sprintf(openAIShape, "stop is empty: leave it out, or give the text to stop at", `"stop"`, "null")},
		{`POST /v1/chat/completions {"messages":[{"role":"user"}],"stop":["x",""]}`, 400,
			fmt.Sprintf(openAIShape, "stop[1] is empty: leave it out, or give the text to stop at", `"stop"`, "null")},
		{`POST /v1/completions {"prompt":"a","stop":["` + strings.Repeat(`x","`, 64) + `x"]}`, 400, fmt.Sprintf(openAIShape, "stop has 65 strings: give at most 64", `"stop"`, "null")},
		{`POST /generate {"inputs":"a","parameters":{"stop":["` + strings.Repeat("x", 1025) + `"]}}`, 422,
			fmt.Sprintf(tgiShape, "parameters.stop[0] has 1025 bytes: give at most 1024", "validation")},
		{`POST /v2/models/base-model/generate {"text_input":"a","parameters":{"stop":[""]}}`, 422, `{"error":"parameters.stop is empty: leave it out, or give the text to stop at"}`},
		{`POST /v1/completions {"prompt":"a","stop_token_ids":[` + strings.Repeat(`1,`, 1024) + `1]}`, 400,
			fmt.Sprintf(openAIShape, "stop_token_ids has 1025 tokens: give at most 1024", `"stop_token_ids"`, "null")},
		{`POST /v1/completions?adaptor=sql {"prompt":"a"}`, 400,
			fmt.Sprintf(openAIShape, "adaptor is not a query parameter of this request: there is only adapter", `"adaptor"`, "null")},
		{`POST /v1/chat/completions {"messages":[]}`, 400, fmt.Sprintf(openAIShape, "messages is missing: give at least one", `"messages"`, "null")},
		{`POST /v1/chat/completions {"messages":[{"role":"user"}],"top_logprobs":2}`, 400, fmt.Sprintf(openAIShape, "top_logprobs needs logprobs: true", `"top_logprobs"`, "null")},
		{`POST /v1/chat/completions {"messages":[{"role":"user"}],"max_tokens":2,"max_completion_tokens":3}`, 400,
			fmt.Sprintf(openAIShape, "max_tokens is 2 and max_completion_tokens 3: give one", `"max_tokens"`, "null")},
		{`POST /v1/chat/completions {"messages":[{"role":"user"}],"chat_template_kwargs":{"thinking":true,"messages":[]}}`, 400,
			fmt.Sprintf(openAIShape, "chat_template_kwargs.messages is what the server gives the chat template itself: leave it out", `"chat_template_kwargs"`, "null")},
		{`POST /v1/generate {"inputs":"a","parameters":{"top_k":-1}}`, 400, fmt.Sprintf(openAIShape, "parameters.top_k is -1, below 0", `"parameters.top_k"`, "null")},
		{`POST /generate {"inputs":"a","parameters":{"top_k":-1}}`, 422, fmt.Sprintf(tgiShape, "parameters.top_k is -1, below 0", "validation")},
		{`POST /generate {"inputs":"a","parameters":{"adapter_id":"nope"}}`, 404,
			fmt.Sprintf(tgiShape, "The model `nope` does not exist: GET /v1/models lists the base and its adapters.", "validation")},
		{`POST /generate {"parameters":{}}`, 422, fmt.Sprintf(tgiShape, "inputs is missing: give the text to continue", "validation")},
		{`POST /generate {"inputs":"a","parameters":{"watermark":true}}`, 422, fmt.Sprintf(tgiShape, "parameters.watermark is not implemented: leave it out or send false", "validation")},
		{`POST /generate_stream {"inputs":"a","parameters":{"details":true,"decoder_input_details":true}}`, 422,
			fmt.Sprintf(tgiShape, "parameters.decoder_input_details is not for streams", "validation")},
		{`POST /tokenize {}`, 422, fmt.Sprintf(tgiShape, "give the text as inputs or, in vLLM's way, as prompt or as messages", "validation")},
		{`POST /tokenize {"prompt":"a","model":"nope"}`, 404,
			fmt.Sprintf(tgiShape, "The model `nope` does not exist: GET /v1/models lists the base and its adapters.", "validation")},
		{`POST /detokenize {"tokens":[1],"model":"nope"}`, 404,
			fmt.Sprintf(tgiShape, "The model `nope` does not exist: GET /v1/models lists the base and its adapters.", "validation")},
		{`POST /detokenize {}`, 422, fmt.Sprintf(tgiShape, "tokens is missing: give the ids to make text of", "validation")},
		{`POST /detokenize {"tokens":[99]}`, 422, fmt.Sprintf(tgiShape, "tokens[0] is 99: the vocabulary has 96", "validation")},
		{`POST /v1/load_lora_adapter {"lora_name":"x"}`, 400, fmt.Sprintf(vllmShape, "Both 'lora_name' and 'lora_path' must be provided.", "InvalidUserInput", "null", 400)},
		{`POST /v1/load_lora_adapter {"lora_name":"sql","lora_path":"/x"}`, 400,
			fmt.Sprintf(vllmShape, "The lora adapter 'sql' has already been loaded. If you want to load the adapter in place, set 'load_inplace' to True.", "InvalidUserInput", `"lora_name"`, 400)},
		{`POST /v1/unload_lora_adapter {"lora_name":"nope"}`, 404, fmt.Sprintf(vllmShape, "The lora adapter 'nope' cannot be found.", "NotFoundError", `"lora_name"`, 404)},
		{`POST /v1/unload_lora_adapter {"lora_name":""}`, 400, fmt.Sprintf(vllmShape, "'lora_name' needs to be provided to unload a LoRA adapter.", "InvalidUserInput", `"lora_name"`, 400)},
		{`GET /v1/adapters/nope`, 404, fmt.Sprintf(openAIShape, `adapter \"nope\" is not known here: GET /v1/adapters lists them`, `"name"`, `"adapter_not_found"`)},
		{`POST /v1/adapters/broken/pin`, 422, fmt.Sprintf(openAIShape, `adapter \"broken\" cannot be served: lora_B.weight is missing`, "null", `"adapter_refused"`)},
		{`GET /v1/models/nope`, 404, fmt.Sprintf(openAIShape, "The model `nope` does not exist: GET /v1/models lists the base and its adapters.", `"model"`, `"model_not_found"`)},
		{`GET /v1/nothing`, 404, fmt.Sprintf(openAIShape, "there is no /v1/nothing here: GET /openapi.json describes the routes", "null", `"no_route"`)},
		{`GET /nothing`, 404, fmt.Sprintf(tgiShape, "there is no /nothing here: GET /openapi.json describes the routes", "validation")},
		{`FOO /v1/models`, 501, fmt.Sprintf(openAIShape, "FOO is no method of HTTP: GET /openapi.json describes the routes", "null", `"no_method"`)},
		{`FOO /generate {"inputs":"a"}`, 501, fmt.Sprintf(tgiShape, "FOO is no method of HTTP: GET /openapi.json describes the routes", "generation")},
		{`QUERY /v1/models`, 405, fmt.Sprintf(openAIShape, "/v1/models does not take QUERY: use GET, HEAD", "null", `"no_method"`)},
		{`PROPFIND /generate`, 405, fmt.Sprintf(tgiShape, "/generate does not take PROPFIND: use POST", "validation")},
		{`DELETE /v1/models`, 405, fmt.Sprintf(openAIShape, "/v1/models does not take DELETE: use GET, HEAD", "null", `"no_method"`)},
	} {
		method, rest, _ := strings.Cut(c.request, " ")
		path, body, _ := strings.Cut(rest, " ")
		got := s.send(t, method, path, body)
		require.Equal(t, c.body, got.body, c.request)
		require.Equal(t, c.status, got.status, c.request)
		require.Equal(t, "application/json", got.header.Get("Content-Type"), c.request)
	}
	require.Empty(t, s.engine.requests(), "what is refused never reaches the engine")
}

// Where the cache holds less than the model's context, the limit is the cache's.
func TestCacheLimitsTheContext(t *testing.T) {
	s := newSite(t, func(_ *Config, p *Parts) { p.Base.Context = 8192 })
	const limit = "this model's maximum context length is 128 here, for which --kv-cache has room (its own is 8192)"
	require.Contains(t, s.post(t, "/v1/completions", `{"prompt":"a","max_tokens":500}`).body, limit+"; ask for at most 126")
	require.Contains(t, s.post(t, "/v1/completions", `{"prompt":"`+strings.Repeat("a", 200)+`"}`).body, "prompt has 201 tokens: "+limit+", the answer included")
}

// What the engine or a load reports becomes each dialect's status; what a stream
// meets once the engine has taken it is an event.
func TestEngineErrors(t *testing.T) {
	const early, late, loads = "of Submit", "of the stream", "of the lease"
	for _, c := range []struct {
		err                 error
		openAI, tgi         int
		openAIBody, tgiBody string
		load                bool // from the catalogue
	}{
		{runtime.ErrQueueFull, 429, 429, `"code":"queue_full"`, `"error_type":"overloaded"`, false},
		{&runtime.LimitError{Tenant: "team", Limit: "waiting", Most: 4}, 429, 429, `"code":"tenant_limit"`, `tenant \"team\" has the most requests that its limit \"waiting\" allows, 4: try again later`, false},
		{runtime.ErrClosed, 503, 503, `"code":"draining"`, `"error_type":"overloaded"`, false},
		{fmt.Errorf("%w: 3 tokens too many", runtime.ErrPrompt), 400, 422, "3 tokens too many", `"error_type":"validation"`, false},
		{fmt.Errorf("%w: \"x\"", catalogue.ErrUnknown), 404, 404, "model_not_found", `"error_type":"validation"`, true},
		{runtime.ErrNotFinite, 500, 424, `"type":"server_error"`, `"error_type":"generation"`, false},
		{fmt.Errorf("%w: full", catalogue.ErrBudget), 503, 503, "--adapter-budget", `"error_type":"overloaded"`, true},
		{fmt.Errorf("owner/name: %w", hub.ErrNotFound), 404, 404, `adapter \"sql\" cannot be served: owner/name: not found on the hub`, `"error_type":"validation"`, true},
		{hub.ErrUnauthorized, 403, 403, `"code":"hub_refused"`, `"error_type":"validation"`, true},
		{hub.ErrUnreachable, 503, 503, `"code":"hub_unreachable"`, `"error_type":"overloaded"`, true},
		{fmt.Errorf("oci://r.example/a:v1: %w", remote.ErrNotFound), 404, 404, `adapter \"sql\" cannot be served: oci://r.example/a:v1: there is no such adapter`, `"error_type":"validation"`, true},
		{remote.ErrUnauthorized, 403, 403, `"code":"source_refused"`, `"error_type":"validation"`, true},
		{remote.ErrUnreachable, 503, 503, `"code":"source_unreachable"`, `"error_type":"overloaded"`, true},
		{remote.ErrCorrupt, 422, 422, `"code":"adapter_refused"`, `"error_type":"validation"`, true},
		{fmt.Errorf("adapter_config.json: %w", io.EOF), 422, 422, `adapter \"sql\" cannot be served: adapter_config.json: EOF`, `"error_type":"validation"`, true},
		{errBroken, 422, 422, `adapter \"sql\" cannot be served: lora_B.weight is missing`, `"error_type":"validation"`, true},
	} {
		for _, stream := range []string{"false", "true"} {
			for _, from := range []string{early, late, loads} {
				s := newSite(t, nil)
				switch {
				case c.load != (from == loads):
					continue
				case from == early:
					s.engine.refuse = c.err
				case from == late:
					s.engine.script = func(*runtime.Request) (string, runtime.Finish, error) { return "", "", c.err }
				default:
					s.catalogue.refuse = c.err
				}
				openAI, tgi := c.openAI, c.tgi
				if stream == "true" && from == late { // the headers were sent
					openAI, tgi = 200, 200
				}
				got := s.post(t, "/v1/completions", `{"model":"sql","prompt":"a","stream":`+stream+`}`)
				require.Equal(t, openAI, got.status, "%s %s", c.err, got.body)
				require.Contains(t, got.body, c.openAIBody)
				require.Equal(t, openAI == 429 || openAI == 503, got.header.Get("Retry-After") != "", c.err)
				got = s.post(t, "/generate", `{"inputs":"a","stream":`+stream+`,"parameters":{"adapter_id":"sql"}}`)
				require.Equal(t, tgi, got.status, "%s %s", c.err, got.body)
				require.Contains(t, got.body, c.tgiBody)
			}
		}
	}
}

// What goes wrong after the first token is an event of the stream.
func TestErrorInMidStream(t *testing.T) {
	s := newSite(t, nil)
	s.engine.script = func(*runtime.Request) (string, runtime.Finish, error) { return "ab", "", runtime.ErrNotFinite }
	got := s.post(t, "/v1/completions", `{"prompt":"a","stream":true}`)
	events := got.events()
	require.Equal(t, http.StatusOK, got.status)
	require.Len(t, events, 4)
	require.Equal(t, `{"error":{"message":"the model computed a value that is not finite","type":"server_error","param":null,"code":null}}`, events[2])
	require.Equal(t, "[DONE]", events[3])

	got = s.post(t, "/generate_stream", `{"inputs":"a"}`)
	events = got.events()
	require.Len(t, events, 3)
	require.Equal(t, `{"error":"the model computed a value that is not finite","error_type":"generation"}`, events[2])
}

// What is no request of HTTP is a 400 in every dialect.
func TestMalformedHead(t *testing.T) {
	s := newSite(t, nil)
	for _, head := range []string{"POST /generate HTTP/1.1\r\n\r\n", "POST /generate HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", "nonsense\r\n\r\n"} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		require.NoError(t, err)
		_, err = conn.Write([]byte(head))
		require.NoError(t, err)
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusBadRequest, response.StatusCode, head)
		require.NoError(t, response.Body.Close())
		require.NoError(t, conn.Close())
	}
}

func TestCompressedBody(t *testing.T) {
	s := newSite(t, nil)
	got := s.post(t, "/v1/completions", string(gzipOf(t, []byte(`{"prompt":"a"}`))), "Content-Encoding", "gzip")
	require.Equal(t, http.StatusUnsupportedMediaType, got.status)
	require.Contains(t, got.body, "the request body is compressed (Content-Encoding: gzip): send it plain")
	require.Equal(t, http.StatusOK, s.post(t, "/v1/completions", `{"prompt":"a"}`, "Content-Encoding", "identity").status)
}

func TestBodyLimit(t *testing.T) {
	s := newSite(t, func(c *Config, _ *Parts) { c.Limits.BodyLimit = 100_000 })
	long := `{"prompt":"` + strings.Repeat("a", 200_000) + `"}`
	got := s.post(t, "/v1/completions", long)
	require.Equal(t, http.StatusRequestEntityTooLarge, got.status)
	require.Contains(t, got.body, "larger than the 100000 bytes this server takes: send less, or raise --body-limit")
	require.Equal(t, http.StatusBadRequest, s.post(t, "/v1/completions", long[:80_000]).status, "a body above the first buffer is read whole")
}
