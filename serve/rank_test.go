package serve

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// A cross-encoder's scores, of pairs that fit and of those that are cut, as
// sentence-transformers has them; in bits the same alone and beside others.
func TestScoresOfACrossEncoder(t *testing.T) {
	const dir = "../testdata/goldens/sentences/ranker"
	var golden []struct {
		Pair       [2]string
		Score, Raw float64
	}
	readGoldenJSON(t, dir+"/golden.json", &golden)
	s := encoderSite(t, dir)
	for _, c := range golden {
		var first, second []string
		for _, other := range golden { // all pairs that have its first text
			if other.Pair[0] == c.Pair[0] {
				first, second = append(first, other.Pair[0]), append(second, other.Pair[1])
			}
		}
		many := s.post(t, "/v1/score", asJSON(t, map[string]any{"text_1": first, "text_2": second, "truncate_prompt_tokens": -1}))
		require.Equal(t, 200, many.status, many.body)
		var answer, alone scoreAnswer
		require.NoError(t, json.Unmarshal([]byte(many.body), &answer))
		one := s.post(t, "/v1/score", asJSON(t, map[string]any{"text_1": c.Pair[0], "text_2": c.Pair[1], "truncate_prompt_tokens": -1}))
		require.NoError(t, json.Unmarshal([]byte(one.body), &alone), one.body)
		require.InDelta(t, c.Score, alone.Data[0].Score, 1e-5)
		for i, text := range second {
			if text == c.Pair[1] {
				require.Equal(t, alone.Data[0].Score, answer.Data[i].Score)
			}
		}
		for raw, want := range map[bool]float64{false: c.Score, true: c.Raw} {
			var ranks []teiRank
			got := s.post(t, "/rerank", asJSON(t, map[string]any{"query": c.Pair[0], "texts": []string{c.Pair[1]}, "truncate": true, "raw_scores": raw}))
			require.NoError(t, json.Unmarshal([]byte(got.body), &ranks), got.body)
			require.InDelta(t, want, ranks[0].Score, 1e-5)
		}
	}
	long := s.post(t, "/v1/rerank", asJSON(t, map[string]any{"query": golden[3].Pair[0], "documents": []string{"a dog", golden[3].Pair[1]}}))
	require.Equal(t, 400, long.status)
	require.Contains(t, long.body, "documents[1] has")
	require.Greater(t, math.Abs(golden[0].Raw-golden[0].Score), 1e-3, "the two differ")
}
