package serve

import (
	"encoding/json"
	"reflect"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

type description struct {
	OpenAPI string `json:"openapi"`
	Paths   map[string]map[string]struct {
		OperationID string                     `json:"operationId"`
		Responses   map[string]json.RawMessage `json:"responses"`
	} `json:"paths"`
	Components struct {
		Schemas map[string]struct {
			Properties map[string]json.RawMessage `json:"properties"`
		} `json:"schemas"`
	} `json:"components"`
}

func readDescription(t *testing.T) description {
	t.Helper()
	s := newSite(t, nil)
	var d description
	body := s.get(t, "/openapi.json").body
	// parameters stand beside the methods of a path
	var loose map[string]any
	require.NoError(t, json.Unmarshal([]byte(body), &loose))
	for _, methods := range loose["paths"].(map[string]any) {
		delete(methods.(map[string]any), "parameters")
	}
	b, err := json.Marshal(loose)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &d))
	return d
}

// The description and the routes are the same, both ways.
func TestOpenAPIDescribesTheRoutes(t *testing.T) {
	d := readDescription(t)
	require.Equal(t, "3.1.0", d.OpenAPI)
	var described, registered []string
	ids := map[string]bool{}
	for path, methods := range d.Paths {
		for method, operation := range methods {
			described = append(described, strings.ToUpper(method)+" "+path)
			require.False(t, ids[operation.OperationID], operation.OperationID)
			ids[operation.OperationID] = true
			require.NotEmpty(t, operation.Responses, path)
		}
	}
	parameter := regexp.MustCompile(`:(\w+)`)
	for _, r := range new(Server).routes() {
		path := parameter.ReplaceAllString(strings.ReplaceAll(r.path, "*", "{id}"), "{$1}")
		registered = append(registered, r.method+" "+path)
	}
	sort.Strings(described)
	sort.Strings(registered)
	require.Equal(t, registered, described)
}

// Every answer that is an error is described where it may come.
func TestOpenAPIDescribesTheErrors(t *testing.T) {
	d := readDescription(t)
	parameter := regexp.MustCompile(`:(\w+)`)
	for _, r := range new(Server).routes() {
		path := parameter.ReplaceAllString(strings.ReplaceAll(r.path, "*", "{id}"), "{$1}")
		described := d.Paths[path][strings.ToLower(r.method)].Responses
		want := []string{"408", "413", "415", "421", "503"}
		if r.needs != open {
			want = append(want, "401")
		}
		want = append(want, "403")
		if r.method == "POST" && !strings.Contains(path, "pin") {
			want = append(want, "429") // there is no memory for its body
		}
		if _, generates := described["504"]; generates && !r.adapters {
			want = append(want, "429", strconv.Itoa(r.dialect.status(&failure{status: 500})))
		}
		for _, status := range want {
			require.Contains(t, described, status, r.method+" "+path)
		}
	}
}

// The bodies have the fields that the decoder takes.
func TestOpenAPIDescribesTheFields(t *testing.T) {
	d := readDescription(t)
	for name, v := range map[string]any{
		"Completions": completionsRequest{}, "ChatCompletions": chatRequest{}, "Responses": responsesRequest{}, "StreamOptions": openAIStreamShape{},
		"Generate": generateRequest{}, "GenerateParameters": generateParameters{}, "Tokenize": tokenizeRequest{},
		"Detokenize": detokenizeRequest{}, "LoadAdapter": loadRequest{}, "UnloadAdapter": unloadRequest{},
		"MergedAdapters": mergedAdapters{}, "LoraScale": loraScale{},
		"StructuredOutputs": structuredShape{}, "Form": formShape{},
		"Embeddings": embeddingsRequest{}, "Pooling": poolingRequest{}, "Score": scoreRequest{}, "Rerank": rerankRequest{}, "Embed": embedRequest{}, "EmbedAll": embedAllRequest{}, "Classify": classifyRequest{}, "Predict": predictRequest{},
		"Similarity": similarityRequest{}, "SimilarityInputs": similarityInputs{}, "SimilarityParameters": similarityParameters{},
		"Inference": inferenceRequest{}, "InferenceParameters": inferenceParameters{},
	} {
		var described, taken []string
		for field := range d.Components.Schemas[name].Properties {
			described = append(described, field)
		}
		for _, f := range fieldsOf(reflect.TypeOf(v)) {
			if !f.unimplemented {
				taken = append(taken, f.name)
			}
		}
		sort.Strings(described)
		sort.Strings(taken)
		require.Equal(t, taken, described, name)
	}
	var adapter []string
	for field := range d.Components.Schemas["Adapter"].Properties {
		adapter = append(adapter, field)
	}
	require.Len(t, adapter, reflect.TypeFor[adapterView]().NumField())
}

// References lead somewhere.
func TestOpenAPIReferences(t *testing.T) {
	text, err := openAPIJSON()
	require.NoError(t, err)
	var d any
	require.NoError(t, json.Unmarshal(text, &d))
	for _, match := range regexp.MustCompile(`"\$ref": "#/([^"]+)"`).FindAllStringSubmatch(string(text), -1) {
		at := d
		for _, key := range strings.Split(match[1], "/") {
			at = at.(map[string]any)[key]
			require.NotNil(t, at, match[1])
		}
	}
}

// The answers of classification by tensors have the fields that are described.
func TestOpenAPIDescribesInferredClasses(t *testing.T) {
	d := readDescription(t)
	require.Contains(t, string(d.Paths["/v2/models/{name}/infer"]["post"].Responses["200"]), "/inferredClasses")
	for name, v := range map[string]reflect.Type{"InferredClasses": reflect.TypeFor[inferAnswer](), "InferredTensor": reflect.TypeFor[inferTensor]()} {
		var described, written []string
		for field := range d.Components.Schemas[name].Properties {
			described = append(described, field)
		}
		for i := range v.NumField() {
			field, _, _ := strings.Cut(v.Field(i).Tag.Get("json"), ",")
			written = append(written, field)
		}
		require.ElementsMatch(t, written, described, name)
	}
}
