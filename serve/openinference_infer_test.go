package serve

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/models"
)

// Texts and pairs are classified as tensors of the protocol.
func TestOpenInferenceInfer(t *testing.T) {
	s := newHeads(t, nil)
	got := s.post(t, "/v2/models/sql/infer", `{"id":"7","inputs":[{"name":"text","datatype":"BYTES","shape":[2,1],"data":[["Hello"],"You there"]}]}`)
	require.Equal(t, 200, got.status, got.body)
	require.Equal(t, `"7"`, member(t, got.body, "id"))
	require.Equal(t, `"sql"`, member(t, got.body, "model_name"))
	require.Equal(t, `"digest-of-sql"`, member(t, got.body, "model_version"))
	require.JSONEq(t, `{"name":"classes","datatype":"BYTES","shape":[3],"data":["bad","so so","good"]}`, member(t, got.body, "outputs", "2"))
	require.Equal(t, `[2,3]`, member(t, got.body, "outputs", "1", "shape"))
	one := s.post(t, "/v1/classify?adapter=sql", `{"input":["Hello","You there"]}`).body
	label := member(t, got.body, "outputs", "0", "data")
	require.JSONEq(t, "["+member(t, one, "data", "0", "label")+","+member(t, one, "data", "1", "label")+"]", label)

	got = s.post(t, "/v2/models/sql/infer", `{"inputs":[{"name":"text_pair","datatype":"BYTES","shape":[1],"data":["b"]},{"name":"text","datatype":"BYTES","shape":[1],"data":["a"]}],"outputs":[{"name":"label"}]}`)
	require.Equal(t, 200, got.status, got.body)
	require.Equal(t, `"label"`, member(t, got.body, "outputs", "0", "name"))
	got = s.post(t, "/v2/models/ner/infer", `{"inputs":[{"name":"text","datatype":"BYTES","shape":[1],"data":["Anna lives in Ulm"]}]}`)
	require.Equal(t, 200, got.status, got.body)
	require.Equal(t, `"entities"`, member(t, got.body, "outputs", "0", "name"))
}

// What cannot be classified is refused by name.
func TestOpenInferenceInferRefused(t *testing.T) {
	s := newHeads(t, nil)
	tensor := func(rest string) string { return `{"inputs":[{"name":"text","datatype":"BYTES",` + rest + `}]}` }
	for body, message := range map[string]string{
		`{}`:                                     "inputs has no tensor text",
		tensor(`"shape":[2],"data":["a"]`):       "there are 1 texts: it is [1] or [1, 1]",
		tensor(`"shape":[],"data":["a"]`):        "inputs[0].shape is []",
		tensor(`"shape":[-1],"data":["a"]`):      "inputs[0].shape is [-1]",
		tensor(`"shape":[99999],"data":["a"]`):   "at most 4096",
		tensor(`"shape":[0],"data":[]`):          "inputs[0].data has no text",
		tensor(`"shape":[1],"data":[1]`):         "wants a string",
		tensor(`"shape":[1],"data":[""]`):        "inputs[0].data[0] is empty",
		tensor(`"shape":[1],"data":"a"`):         "an array of strings",
		tensor(`"shape":[1],"data":["a"],"x":1`): "x is not a field",
		`{"inputs":[{"name":"text","datatype":"FP32","shape":[1],"data":["a"]}]}`:                                                                       "texts are BYTES",
		`{"inputs":[{"name":"image","datatype":"BYTES","shape":[1],"data":["a"]}]}`:                                                                     "inputs[0].name is",
		`{"inputs":[{"name":"text_pair","datatype":"BYTES","shape":[1],"data":["a"]}]}`:                                                                 "inputs has no tensor text",
		`{"inputs":[{"name":"text","datatype":"BYTES","shape":[1],"data":["a"]},{"name":"text_pair","datatype":"BYTES","shape":[2],"data":["a","b"]}]}`: "give as many of both",
		`{"inputs":[{"name":"text","datatype":"BYTES","shape":[1],"data":["a"]}],"outputs":[{"name":"entities"}]}`:                                      "which the model does not answer with",
	} {
		got := s.post(t, "/v2/models/sql/infer", body)
		require.Equal(t, http.StatusUnprocessableEntity, got.status, body+got.body)
		require.Contains(t, got.body, message, body)
	}
	text := tensor(`"shape":[1],"data":["a"]`)
	require.Contains(t, s.post(t, "/v2/models/base-model/infer", text).body, "the base has no head")
	require.Equal(t, 404, s.post(t, "/v2/models/nobody/infer", text).status)
}

// A base that classifies describes what it takes and answers with.
func TestOpenInferenceOfAClassifyingBase(t *testing.T) {
	s := newHeads(t, func(_ *Config, p *Parts) {
		p.Base.Architecture = &models.Architecture{Class: "BertForSequenceClassification", Tasks: []models.Task{models.Encode, models.Classify}}
		p.Base.Classes = &models.Classes{Task: models.Classify, Names: []string{"no", "yes"}}
		p.Chat = nil
	})
	got := s.get(t, "/v2/models/base-model").body
	require.JSONEq(t, `[{"name":"text","datatype":"BYTES","shape":[-1]},{"name":"text_pair","datatype":"BYTES","shape":[-1]}]`, member(t, got, "inputs"))
	require.JSONEq(t, `[{"name":"label","datatype":"BYTES","shape":[-1]},{"name":"scores","datatype":"FP64","shape":[-1,2]},{"name":"classes","datatype":"BYTES","shape":[2]}]`, member(t, got, "outputs"))
	require.JSONEq(t, `[]`, member(t, s.get(t, "/v2").body, "extensions"))
}
