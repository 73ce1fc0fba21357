package s3

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
)

// reply is a store that answers every list with the same.
type reply string

func (r reply) RoundTrip(request *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Request: request, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(string(r)))}, nil
}

// FuzzListing: whatever a store lists, an artefact has an adapter's files, each
// once, from below the prefix.
func FuzzListing(f *testing.F) {
	f.Add("<ListBucketResult>" + named("a/adapter_config.json", 1) + named("a/../tokenizer.json", -1) + "</ListBucketResult>")
	f.Add("<ListBucketResult>" + named("a/additional_chat_templates/x.jinja", 1) + "<IsTruncated>true</IsTruncated></ListBucketResult>")
	f.Add(`<Error><Code>x</Code></Error>`)
	f.Fuzz(func(t *testing.T, list string) {
		s := New(Config{Endpoint: "http://s3.test", Region: "x", Client: &http.Client{Transport: reply(list)}})
		a, err := s.Open(context.Background(), "s3://bucket/a")
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, file := range a.Files {
			if !adapters.IsFile(file.Name) || seen[file.Name] {
				t.Errorf("it has %q", file.Name)
			}
			seen[file.Name] = true
		}
	})
}
