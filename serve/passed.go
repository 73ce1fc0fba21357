package serve

import (
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// passedOver are the fields of a body that nothing here reads and that are taken
// all the same: known clients send them whatever they are told, and they have no
// bearing on the answer. Each has who sends it. docs/serving.md lists them, and
// the answer names those that it has passed over.
var passedOver = map[string]string{
	"cache_prompt":           "llama.cpp's clients: the prefix cache is always on",
	"chat_id":                "Open WebUI",
	"client_metadata":        "OpenAI's agents",
	"conversation_id":        "chat programs",
	"id_slot":                "llama.cpp's clients",
	"keep_alive":             "Ollama's clients: the base stays in memory",
	"litellm_call_id":        "LiteLLM",
	"litellm_session_id":     "LiteLLM",
	"litellm_trace_id":       "LiteLLM",
	"media_io_kwargs":        "vLLM's clients, for images, which are refused where they stand",
	"mm_processor_kwargs":    "vLLM's clients, likewise",
	"prompt_cache_retention": "OpenAI's clients",
	"session_id":             "Open WebUI, LiteLLM",
	"trace_id":               "LiteLLM, Langfuse",
}

// passedOverInTurns are such fields of messages and of what they are made of (parts and
// calls), and of the items of /v1/responses: notes of other servers, which chat
// programs send back with the conversation. Where the chat template reads one it gets
// it.
var passedOverInTurns = map[string]string{
	"cache_control":            "Anthropic's clients, LiteLLM: the prefix cache is always on",
	"provider_specific_fields": "LiteLLM",
	"reasoning_details":        "OpenRouter's clients: reasoning_content is read where the template reads it",
}

// ignoredHeader names in an answer the fields that were passed over.
const ignoredHeader = "X-Ignored-Fields"

// maxIgnored is how many of them it names, and how many bytes of each.
const (
	maxIgnored      = 16
	maxIgnoredBytes = 64
)

// passOver refuses what a body, decoded into v, has that nothing reads, but for
// what is passed over.
func (s *Server) passOver(c *fiber.Ctx, v any) error {
	for _, u := range unreadIn(reflect.ValueOf(v)) {
		if _, known := passedOver[u.path]; !known && !s.config.IgnoreUnknownFields {
			return unknownField(u)
		}
		ignoredField(c, u.path)
	}
	return nil
}

// passOverInTurn names in the answer what is passed over of a turn's fields that
// nothing reads, and returns the first that is not.
func (s *Server) passOverInTurn(c *fiber.Ctx, all unreads) *unread {
	for i, u := range all {
		if _, known := passedOverInTurns[u.key]; !known && !s.config.IgnoreUnknownFields {
			return &all[i]
		}
		ignoredField(c, u.path)
	}
	return nil
}

// ignoredField names a field in the answer that is passed over.
func ignoredField(c *fiber.Ctx, path string) {
	if len(path) > maxIgnoredBytes {
		path = path[:maxIgnoredBytes] + "..."
	}
	path = fmt.Sprintf("%+q", path) // whatever it is, it is one line of ASCII
	named := c.GetRespHeader(ignoredHeader)
	switch {
	case named == "":
		c.Set(ignoredHeader, path)
	case strings.HasSuffix(named, ", ..."), slices.Contains(strings.Split(named, ", "), path):
	case strings.Count(named, ", ") >= maxIgnored-1:
		c.Set(ignoredHeader, named+", ...")
	default:
		c.Set(ignoredHeader, named+", "+path)
	}
}

// unknownField is the refusal of a field that nothing reads.
func unknownField(u unread) error {
	return fieldFailure(u.path, "unknown_parameter", "is not a field of this request"+closest(u.key, u.fields))
}

// fieldFailure is a fault of a field with the code that OpenAI has for it.
func fieldFailure(path, code, reason string) *failure {
	return &failure{status: http.StatusBadRequest, kind: invalidRequest, param: path, code: code, message: (&fieldError{path, reason}).Error()}
}

// unreadIn are the members of a body that no field was there for, wherever its
// structs keep them.
func unreadIn(v reflect.Value) (all unreads) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			return unreadIn(v.Elem())
		}
	case reflect.Struct:
		if open, ok := v.Addr().Interface().(openObject); ok {
			all = append(all, open.left()...)
		}
		for _, f := range fieldsOf(v.Type()) {
			all = append(all, unreadIn(v.FieldByIndex(f.index))...)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Struct {
			for i := range v.Len() {
				all = append(all, unreadIn(v.Index(i))...)
			}
		}
	}
	return all
}
