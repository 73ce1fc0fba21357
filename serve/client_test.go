//go:build clients

// The client takes a minute to compile: go test -tags clients ./serve.

package serve

import (
	"context"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
	"github.com/stretchr/testify/require"
)

// OpenAI's own client works unchanged, errors included.
func TestOpenAIClient(t *testing.T) {
	s := newSite(t, func(c *Config, _ *Parts) { c.Keys = plainKeys(t, "secret-key") })
	ctx := context.Background()
	client := openai.NewClient(option.WithBaseURL(s.url+"/v1"), option.WithAPIKey("secret-key"), option.WithHTTPClient(s.client), option.WithMaxRetries(0))

	chat, err := client.Chat.Completions.New(ctx, openai.ChatCompletionNewParams{
		Model: "sql", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("Yo")}, Seed: openai.Int(3), N: openai.Int(2), Logprobs: openai.Bool(true), TopLogprobs: openai.Int(1),
	})
	require.NoError(t, err)
	require.Len(t, chat.Choices, 2)
	require.Equal(t, "Hi there.", chat.Choices[1].Message.Content)
	require.EqualValues(t, 18, chat.Usage.CompletionTokens)
	require.Len(t, chat.Choices[0].Logprobs.Content, 9)

	stream := client.Chat.Completions.NewStreaming(ctx, openai.ChatCompletionNewParams{
		Model: "base-model", Messages: []openai.ChatCompletionMessageParamUnion{openai.SystemMessage("Be"), openai.UserMessage("Yo")},
		StreamOptions: openai.ChatCompletionStreamOptionsParam{IncludeUsage: openai.Bool(true)},
	})
	whole := openai.ChatCompletionAccumulator{}
	for stream.Next() {
		whole.AddChunk(stream.Current())
	}
	require.NoError(t, stream.Err())
	require.Equal(t, "Hi there.", whole.Choices[0].Message.Content)
	require.EqualValues(t, 9, whole.Usage.CompletionTokens)

	embedded, err := client.Embeddings.New(ctx, openai.EmbeddingNewParams{
		Model: "sql", Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"Yo", "You"}}, Dimensions: openai.Int(3),
	})
	require.NoError(t, err)
	require.Len(t, embedded.Data, 2)
	require.Len(t, embedded.Data[1].Embedding, 3)
	require.EqualValues(t, 7, embedded.Usage.PromptTokens) // with a token before each
	_, err = client.Embeddings.New(ctx, openai.EmbeddingNewParams{Model: "sql", Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfTokens: []int64{1, 2}}, Dimensions: openai.Int(5)})
	var tooMany *openai.Error
	require.ErrorAs(t, err, &tooMany)
	require.Equal(t, "dimensions", tooMany.Param)

	models, err := client.Models.List(ctx)
	require.NoError(t, err)
	require.Len(t, models.Data, 4)
	model, err := client.Models.Get(ctx, "sql")
	require.NoError(t, err)
	require.Equal(t, "sql", model.ID)

	_, err = client.Completions.New(ctx, openai.CompletionNewParams{Model: "nope", Prompt: openai.CompletionNewParamsPromptUnion{OfString: openai.String("a")}})
	var refused *openai.Error
	require.ErrorAs(t, err, &refused)
	require.Equal(t, 404, refused.StatusCode)
	require.Equal(t, "model_not_found", refused.Code)
	require.Equal(t, "model", refused.Param)

	stranger := openai.NewClient(option.WithBaseURL(s.url+"/v1"), option.WithAPIKey("wrong"), option.WithHTTPClient(s.client), option.WithMaxRetries(0))
	_, err = stranger.Models.List(ctx)
	require.ErrorAs(t, err, &refused)
	require.Equal(t, "invalid_api_key", refused.Code)
}

// The responses of its newer API, whole and streamed, with tools and a schema.
func TestOpenAIClientResponses(t *testing.T) {
	s := withReply(t, toolTemplate, "hermes", "See. <tool_call>{\"name\": \"look\", \"arguments\": {\"at\": \"sky\"}}</tool_call>")
	ctx := context.Background()
	client := openai.NewClient(option.WithBaseURL(s.url+"/v1"), option.WithAPIKey("any"), option.WithHTTPClient(s.client), option.WithMaxRetries(0))
	tool := responses.ToolParamOfFunction("look", map[string]any{"type": "object", "properties": map[string]any{"at": map[string]any{"type": "string"}}}, true)
	ask := responses.ResponseNewParams{
		Model: "base-model", Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("Yo")},
		Instructions: openai.String("Be"), Tools: []responses.ToolUnionParam{tool}, Store: openai.Bool(false), ParallelToolCalls: openai.Bool(true),
	}
	whole, err := client.Responses.New(ctx, ask)
	require.NoError(t, err)
	require.Equal(t, "See.", whole.OutputText())
	require.Len(t, whole.Output, 2)
	require.Equal(t, "look", whole.Output[1].AsFunctionCall().Name)
	require.JSONEq(t, `{"at":"sky"}`, whole.Output[1].AsFunctionCall().Arguments)
	require.Positive(t, whole.Usage.OutputTokens)

	stream := client.Responses.NewStreaming(ctx, ask)
	var text, arguments string
	var last responses.Response
	for stream.Next() {
		switch e := stream.Current().AsAny().(type) {
		case responses.ResponseTextDeltaEvent:
			text += e.Delta
		case responses.ResponseFunctionCallArgumentsDoneEvent:
			arguments = e.Arguments
		case responses.ResponseCompletedEvent:
			last = e.Response
		}
	}
	require.NoError(t, stream.Err())
	require.Equal(t, "See.", text)
	require.Equal(t, "See.", last.OutputText())
	require.JSONEq(t, `{"at":"sky"}`, arguments)

	ask.Tools, ask.Text = nil, responses.ResponseTextConfigParam{Format: responses.ResponseFormatTextConfigParamOfJSONSchema("place", map[string]any{"type": "object"})}
	_, err = client.Responses.New(ctx, ask)
	require.NoError(t, err)
	require.NotNil(t, s.engine.requests()[2].Constraint)

	ask.PreviousResponseID = openai.String("resp_1")
	_, err = client.Responses.New(ctx, ask)
	var refused *openai.Error
	require.ErrorAs(t, err, &refused)
	require.Equal(t, "previous_response_id", refused.Param)
}
