package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/runtime"
	"github.com/peft-serve/peft-serve/runtime/grammar"
)

// inside are answers to a request over which the server failed, as its routes write
// them, and others that are none.
var inside = []struct {
	status int
	text   string
	failed bool
}{
	{http.StatusInternalServerError, `{"error":{"message":"x","type":"server_error","param":null,"code":null}}`, true},
	{http.StatusFailedDependency, `{"error":"x","error_type":"generation"}`, true},
	{http.StatusOK, "data: {\"error\":{\"message\":\"" + runtime.ErrPanic.Error() + "\"}}\n\n", true},
	{http.StatusOK, `{"results":[{"error":{"message":"` + catalogue.ErrPanic.Error() + `"}}]}`, true},
	{http.StatusOK, `data:{"error":"the server failed inside: boom","error_type":"generation"}`, true},
	{http.StatusOK, `{"generated_text":"abc"}`, false},
	{http.StatusTooManyRequests, `{"error":"try again later","error_type":"overloaded"}`, false},
}

// A server that fails inside is caught at it, however the route writes it: by the soak
// and by hostile requests.
func TestFailedInside(t *testing.T) {
	for _, c := range inside {
		site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(c.status)
			_, _ = w.Write([]byte(c.text))
		}))
		s := &soaking{server: &server{url: site.URL}}
		s.do(t.Context(), http.DefaultClient, http.MethodPost, "/generate", nil)
		if s.failed.Load() == 1 != c.failed {
			t.Errorf("the soak counts %d failures of %d %s", s.failed.Load(), c.status, c.text)
		}
		h := &hostileRequests{out: new(strings.Builder)}
		h.judge(t.Context(), http.DefaultClient, 0, site.URL, requestSeed{"/generate", `{}`}, []byte(`{}`), nil, false)
		if h.crashed == 1 != c.failed {
			t.Errorf("hostile counts %d crashes of %d %s", h.crashed, c.status, c.text)
		}
		site.Close()
	}
}

// The same request is asked twice wherever its answer leaves nothing to chance.
func TestSettled(t *testing.T) {
	for _, seed := range append(append([]requestSeed{}, forDecoders...), forEncoders...) {
		if !settled(seed, []byte(seed.body)) {
			t.Errorf("%s %s is not asked twice", seed.path, seed.body)
		}
		if warm := strings.Replace(seed.body, `"temperature":0,`, `"temperature":1,`, 1); warm != seed.body && settled(seed, []byte(warm)) {
			t.Errorf("%s %s is asked twice", seed.path, warm)
		}
	}
	// Those that generate text say that they leave nothing to chance.
	for _, seed := range forDecoders {
		if strings.Contains(seed.body, `max_`) && !strings.Contains(seed.body, `"temperature":0,`) {
			t.Errorf("%s %s may be answered by chance", seed.path, seed.body)
		}
	}
}

func TestNamesField(t *testing.T) {
	const body = `{"prompt":"abc","parameters":{"max_new_tokens":-1},"tools":[{"b \"c\"":1,"odd":[{"a":1,"":2}]`
	const seed = `{"query":"abc"}`
	for text, want := range map[string]bool{
		`{"error":{"message":"something is wrong","type":"invalid_request_error","param":null,"code":null}}`:                    false,
		`{"error":{"message":"something is wrong","type":"invalid_request_error","param":"seed","code":null}}`:                  true,
		`{"error":{"message":"something is wrong","type":"invalid_request_error","param":"","code":"prompt_parameters_tools"}}`: false,
		`{"error":{"message":"prompt is missing"}}`:                                                                             true,
		`{"error":"the prompts are too many","error_type":"validation"}`:                                                        false,
		`{"error":"a promptly given answer: the prompt","error_type":""}`:                                                       true,
		`{"error":"parameters.max_new_tokens is -1, below 0"}`:                                                                  true,
		`{"error":"there is no odd: leave it out"}`:                                                                             true,
		`{"error":"an even answer to a request"}`:                                                                               false, // for all that it has a key a
		`{"error":"b \"c\" is no field"}`:                                                                                       true,
		`{"error":"inputs is missing"}`:                                                                                         false, // a field of others, and a word
		`{"error":"\"\" is no field"}`:                                                                                          true,
		`{"error":"query is missing"}`:                                                                                          true,
		`{"error":"the request body is not valid UTF-8 at byte 7"}`:                                                             true,
		"{\"error\":\"The model `x` does not exist\"}":                                                                          true,
		`{"error":"text_1 is missing"}`:                                                                                         true,
		`{"error":"my_text_1 is missing"}`:                                                                                      false,
		`{"error":"$ref leads nowhere"}`:                                                                                        true,
		`{"error":"not JSON: unexpected end"}`:                                                                                  true,
		`{"error":"the body is empty"}`:                                                                                         true,
		`{"prompt":"prompt"}`:                                                                                                   false,
		`prompt`:                                                                                                                false,
		`{"error":{"message":"the type of it is odder","type":"prompt odd"}}`:                                                   false,
	} {
		if namesField([]byte(text), []byte(body), []byte(seed)) != want {
			t.Errorf("%s: want %v", text, want)
		}
	}
}

// After a use of a server no connection of the attacks stays behind: they would be
// counted as what the server holds at rest.
func TestAttacksLeave(t *testing.T) {
	if testing.Short() {
		t.Skip("it packs a bomb")
	}
	var (
		mu   sync.Mutex
		open = map[net.Conn]bool{}
	)
	site := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	site.Config.ConnState = func(c net.Conn, state http.ConnState) {
		mu.Lock()
		defer mu.Unlock()
		if open[c] = true; state == http.StateClosed {
			delete(open, c)
		}
	}
	site.Start()
	defer site.Close()
	s := &soaking{server: &server{url: site.URL, ended: make(chan struct{})}}
	if err := s.use(t.Context(), time.Second); err != nil {
		t.Fatal(err)
	}
	for limit := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		mu.Lock()
		n := len(open)
		mu.Unlock()
		if n == 0 {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("%d connections stay open", n)
		}
	}
}

// What is asked before a server is measured fills its cache of grammars, so that it is
// as full each time.
func TestRestingGrammarsFillTheCache(t *testing.T) {
	bytes := 0
	for i := range restingGrammars {
		g, err := grammar.Regex(restingGrammar(i))
		if err != nil {
			t.Fatal(err)
		}
		bytes += g.Bytes()
	}
	if bytes <= grammarCache {
		t.Errorf("they take %d bytes of %d", bytes, grammarCache)
	}
}
