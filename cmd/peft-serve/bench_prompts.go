package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
)

// benchText is what prompts are cut from. Random tokens would have a model
// answer with bytes that are no text, on which some servers fail.
//
//go:embed bench.txt
var benchText string

// prompts cuts prompts from the tokens of a text: the same for the same seed,
// so that every server computes the same, and others in every round, so that
// none finds them in its prefix cache.
func (b *benchCommand) prompts(text []int32, round, count, length int) [][]int32 {
	random := rand.New(rand.NewPCG(uint64(b.Seed), uint64(round)<<32))
	all := make([][]int32, count)
	for i := range all {
		from := random.IntN(len(text))
		for j := range length {
			all[i] = append(all[i], text[(from+j)%len(text)])
		}
		all[i][0] = text[random.IntN(len(text))] // two may begin at one place
	}
	return all
}

// tokenize has the server turn benchText into tokens.
func (t *target) tokenize(ctx context.Context) ([]int32, error) {
	field := "prompt"
	if t.loraField {
		field = "content"
	}
	body, err := json.Marshal(map[string]any{field: benchText, "add_special_tokens": false})
	if err != nil {
		return nil, err
	}
	answer, err := t.call(ctx, http.MethodPost, "/tokenize", body)
	if err != nil {
		return nil, fmt.Errorf("prompts need the server's tokens: %w", err)
	}
	defer func() { _ = answer.Close() }()
	var got struct {
		Tokens []int32 `json:"tokens"`
	}
	if err := json.NewDecoder(answer).Decode(&got); err != nil {
		return nil, fmt.Errorf("%s/tokenize: %w", t.url, err)
	}
	if len(got.Tokens) == 0 {
		return nil, errors.New(t.url + "/tokenize answers without tokens")
	}
	return got.Tokens, nil
}
