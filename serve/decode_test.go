package serve

import (
	"math"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
)

func nan32() float32 { return float32(math.NaN()) }

func TestDecodeNamesTheField(t *testing.T) {
	for body, want := range map[string]string{
		``:                                       "the request body is empty: send a JSON object",
		`[]`:                                     "the request body wants to be an object, not an array",
		`{"prompt":"a"`:                          "the request body is not valid JSON: it ends too early",
		`{"prompt":"a"} {}`:                      "the request body is not valid JSON: something follows the object at byte 14",
		`{"promt":"a"}`:                          "promt is not a field of this request; did you mean prompt?",
		`{"prompt":"a","prompt":"b"}`:            "prompt is given twice",
		"{\"prompt\":\"a\xff\"}":                 "the request body is not valid UTF-8 at byte 12",
		`{"prompt":"a\\\ud800"}`:                 "prompt is not a valid string: it escapes half of a character",
		`{"prompt":["\udc00\ud83d"]}`:            "prompt[0] is not a valid string: it escapes half of a character",
		`{"stop":"\ud83d\u0041"}`:                "stop is not a valid string: it escapes half of a character",
		`{"prompt":7}`:                           "prompt wants a string, an array of strings, an array of token ids, or an array of such arrays, not a number",
		`{"prompt":[]}`:                          "prompt is an empty array: give at least one prompt",
		`{"prompt":["a",3]}`:                     "prompt[1] wants a string or an array of token ids, not a number",
		`{"prompt":[1,"a"]}`:                     "prompt[1] wants a whole number, not a string",
		`{"prompt":[[1],[2,3.5]]}`:               "prompt[1][1] wants a whole number, not 3.5",
		`{"prompt":[4294967296]}`:                "prompt[0] is out of range: 4294967296",
		`{"temperature":"hot"}`:                  "temperature wants a number, not a string",
		`{"n":1.5}`:                              "n wants a whole number, not 1.5",
		`{"stream":"yes"}`:                       "stream wants true or false, not a string",
		`{"stop":[1]}`:                           "stop[0] wants a string, not a number",
		`{"stop":{}}`:                            "stop wants a string or an array of strings, not an object",
		`{"":1}`:                                 `"" is not a field of this request`,
		`{"stream_options":{"":1}}`:              `stream_options."" is not a field of this request`,
		`{"stream_options":{"usage":true}}`:      "stream_options.usage is not a field of this request",
		`{"logit_bias":{"a":1}}`:                 "logit_bias.a is not a token id",
		`{"logit_bias":{"b":1,"2":1,"a":1}}`:     "logit_bias.a is not a token id, nor is b",
		`{"logit_bias":{"028":1}}`:               "logit_bias.028 is not a token id",
		`{"logit_bias":{"+28":1}}`:               "logit_bias.+28 is not a token id",
		`{"logit_bias":{"-0":1}}`:                "logit_bias.-0 is not a token id",
		`{"logit_bias":{"28":1,"28":1}}`:         "logit_bias.28 is given twice",
		`{"logit_bias":{"3":101}}`:               "logit_bias.3 is outside -100 to 100",
		`{"suffix":"x"}`:                         `suffix is not implemented: leave it out or send ""`,
		`{"best_of":2}`:                          "best_of is not implemented: leave it out or send 1",
		`{"guided_grammar":"x"}`:                 "guided_grammar is not implemented: leave it out",
		`{"structured_outputs":{"grammar":"x"}}`: "structured_outputs.grammar is not implemented: leave it out",
	} {
		var r completionsRequest
		err := decode([]byte(body), &r)
		if unread := unreadIn(reflect.ValueOf(&r)); err == nil && len(unread) > 0 {
			err = unknownField(unread[0])
		}
		require.EqualError(t, err, want, body)
	}
}

func TestDecodeTakesDefaults(t *testing.T) {
	var r completionsRequest
	require.NoError(t, decode([]byte(` {"prompt":["a",[1,2]],"n":2.0,"suffix":null,"best_of":1,"user":{"x":1},
		"response_format": {"type": "text"},"stop":"x","logit_bias":{"5":-1},"seed":-1,"temperature":1e-1} `), &r))
	require.Equal(t, prompts{{text: "a"}, {tokens: []int32{1, 2}}}, r.Prompt)
	require.Equal(t, 2, *r.N)
	r.Prompt = nil
	require.NoError(t, decode([]byte(`{"prompt":"\ud83d\ude00 \\ud800 \ufffd \n�"}`), &r))
	require.Equal(t, prompts{{text: `😀 \ud800 � ` + "\n�"}}, r.Prompt)
	require.Equal(t, stopStrings{"x"}, r.Stop)
	require.Equal(t, biases{5: -1}, r.LogitBias)
	require.EqualValues(t, -1, *r.Seed)
	require.InDelta(t, 0.1, *r.Temperature, 1e-9)
}

func TestDecodeMessages(t *testing.T) {
	for body, want := range map[string]string{
		`{"messages":[null]}`: "messages[0] wants an object, not null",
		`{"messages":[{"role":"user","content":"y"},{"content":"x"}]}`:                   "messages[1].role is missing: give system, developer, user, assistant or tool",
		`{"messages":[{"role":"king","content":"x"}]}`:                                   `messages[0].role is "king": give system, developer, user, assistant or tool`,
		`{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{}}]}]}`: `messages[0].content[0].type is "image_url": only text is implemented`,
		`{"messages":[{"role":"user","content":[{"type":"text"}]}]}`:                     "messages[0].content[0].text is missing",
		`{"messages":[{"role":"user","name":7}]}`:                                        "messages[0].name wants a string, not a number",
		`{"messages":[{"role":"user","content":"x"},{"role":"user"}]}`:                   "messages[1].content is missing: give a text, or tool_calls",
		`{"messages":[{"role":"user","content":null}]}`:                                  "messages[0].content is missing: give a text, or tool_calls",
		`{"messages":[{"role":"assistant","content":null,"tool_calls":[]}]}`:             "messages[0].content is missing: give a text, or tool_calls",
		`{"messages":[{"role":"user","content":[]}]}`:                                    "messages[0].content is an empty array: give at least one part",
		`{"messages":[{"role":"user","mood":1,"mood":2}]}`:                               "messages[0].mood is given twice",
		`{"documents":["a"]}`:                        "documents[0] wants an object, not a string",
		`{"messages":[{"role":"user","content":5}]}`: "messages[0].content wants a string or an array of text parts, not a number",
		`{"messages":[{"role":"assistant","tool_calls":[{"type":"function","function":{}}]}]}`: `messages[0] cannot be used: tool call "" names no function`,
		`{"tools":[{"type":"retrieval"}]}`:              `tools[0].type is "retrieval": only function is implemented`,
		`{"tools":[{"type":"function","function":{}}]}`: "tools[0].function.name is missing",
		`{"chat_template_kwargs":{"a":1,"a":2}}`:        "chat_template_kwargs.a is given twice",
	} {
		var r chatRequest
		err := decode([]byte(body), &r)
		if err == nil {
			_, err = r.Turns.read()
		}
		require.EqualError(t, err, want, body)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"prompt":["a",[1,2]],"stop":["x"],"logit_bias":{"1":2}}`))
	f.Add([]byte(`{"messages":[{"role":"user","content":[{"type":"text","text":"x"}]}],"tools":[{"type":"function","function":{"name":"f"}}]}`))
	f.Add([]byte(`{"input":[[1,2],"a"],"inputs":["a",[1]],"documents":["a",{"text":"b"}],"texts":["a"],"text_1":"a","text_2":["b"],"dimensions":2}`))
	f.Add([]byte(`{"input":["a",["b","c"],[1,2]],"inputs":[["a","b"]],"text":[1],"text_pair":["a"],"top_k":1,"ignore_labels":["O"]}`))
	f.Add([]byte(`{"input":[{"role":"user","content":[{"type":"input_text","text":"a"}]}],"text":{"format":{"type":"json_schema","name":"a","schema":{}}},"tools":[{"type":"function","name":"f"}],"tool_choice":{"type":"function","name":"f"}}`))
	f.Add([]byte(`{"inputs":[{"name":"text","datatype":"BYTES","shape":[2,1],"data":[["a"],"b"]}],"outputs":[{"name":"label"}]}`))
	f.Add([]byte(`{"a":{"b":[`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, v := range []any{&completionsRequest{}, &chatRequest{}, &responsesRequest{}, &messageItem{}, &callItem{}, &outputItem{}, &reasoningItem{}, &generateRequest{}, &loadRequest{}, &embeddingsRequest{}, &embedRequest{}, &scoreRequest{}, &rerankRequest{}, &similarityRequest{}, &classifyRequest{}, &predictRequest{}, &inferRequest{}} {
			_ = decode(body, v)
		}
	})
}

// Every request's fields have one type each: a field that two embedded structs
// share would be decoded into neither.
func TestFieldsAreUnique(t *testing.T) {
	for _, v := range []any{completionsRequest{}, chatRequest{}, responsesRequest{}, messageItem{}, reasoningItem{}, callItem{}, outputItem{}, generateRequest{}, generateParameters{}, loadRequest{}, tokenizeRequest{}, embeddingsRequest{}, embedRequest{}, scoreRequest{}, rerankRequest{}, classifyRequest{}, predictRequest{}, inferRequest{}, inferInput{}} {
		seen := map[string]bool{}
		for _, f := range fieldsOf(reflect.TypeOf(v)) {
			require.False(t, seen[f.name], "%T.%s", v, f.name)
			seen[f.name] = true
		}
	}
}
