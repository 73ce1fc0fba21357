package serve

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/models/pooling"
)

// The rows of /pooling are those of /embed_all, of length one unless that is not wanted,
// and its embeddings those of /v1/embeddings.
func TestPooling(t *testing.T) {
	s := realSite(t)
	var states [][][]float32
	require.NoError(t, json.Unmarshal([]byte(s.post(t, "/embed_all?adapter=lora", `{"inputs":["Hello","Hello there"]}`).body), &states))
	const both = `"model":"lora","input":["Hello","Hello there"]`
	pooled := func(body string) (rows [][][]float32) {
		got := s.post(t, "/pooling", "{"+both+body+"}")
		require.Equal(t, 200, got.status, got.body)
		require.Equal(t, "lora", got.header.Get("X-Adapter-Id"))
		var answer struct {
			ID, Object, Model string
			Data              []struct {
				Object string
				Index  int
				Data   [][]float32
			}
			Usage inputUsage
		}
		require.NoError(t, json.Unmarshal([]byte(got.body), &answer), got.body)
		require.True(t, strings.HasPrefix(answer.ID, "pool-"))
		require.Equal(t, []string{"list", "lora"}, []string{answer.Object, answer.Model})
		require.Equal(t, len(states[0])+len(states[1]), answer.Usage.Prompt)
		for i, d := range answer.Data {
			require.Equal(t, "pooling", d.Object)
			require.Equal(t, i, d.Index)
			rows = append(rows, d.Data)
		}
		return rows
	}
	require.Equal(t, states, pooled(`,"use_activation":false`))
	var packed string
	require.NoError(t, json.Unmarshal([]byte(member(t, s.post(t, "/pooling", `{`+both+`,"encoding_format":"base64"}`).body, "data", "1", "data")), &packed))
	raw, err := base64.StdEncoding.DecodeString(packed)
	require.NoError(t, err)
	ones := pooled("")
	for _, row := range ones[1] {
		for _, v := range row {
			require.Equal(t, v, math.Float32frombits(binary.LittleEndian.Uint32(raw)))
			raw = raw[4:]
		}
	}
	require.Empty(t, raw)
	for i := range states {
		for j := range states[i] {
			pooling.Normalize(states[i][j])
		}
	}
	require.Equal(t, states, ones)
	embedded, _ := readEmbeddings(t, s.post(t, "/v1/embeddings", `{`+both+`}`))
	for i, want := range embedded {
		var row []float32
		require.NoError(t, json.Unmarshal([]byte(member(t, s.post(t, "/pooling", `{`+both+`,"task":"embed"}`).body, "data", string(rune('0'+i)), "data")), &row))
		require.Equal(t, want, row)
	}
}

// What /pooling cannot do is refused by name.
func TestPoolingRefused(t *testing.T) {
	s := newSite(t, nil)
	for body, message := range map[string]string{
		`{}`:                                      "input is missing",
		`{"input":"a","task":"classify"}`:         "POST /v1/classify classifies",
		`{"input":"a","truncation_side":"up"}`:    "left or right",
		`{"input":"a","dimensions":2}`:            "dimensions",
		`{"input":"a","messages":[]}`:             "messages",
		`{"input":"a","encoding_format":"bytes"}`: "float or base64",
		`{"input":"a","model":"nobody"}`:          "`nobody` does not exist",
	} {
		got := s.post(t, "/pooling", body)
		require.Contains(t, []int{400, 404}, got.status, body+got.body)
		require.Contains(t, got.body, message, body)
	}
	require.Equal(t, 400, s.post(t, "/pooling?adapter=*", `{"input":"a"}`).status)
}
