// Package chat renders conversations into prompts with the Jinja templates
// that models come with, to the byte as transformers' apply_chat_template.
//
// A [Template] comes from a template's source ([New]), from the templates of a
// model's folder ([Load]) or from a [Source], and is told the special tokens of
// the model once ([Template.WithTokens]). It is safe for concurrent use. Its
// engine, package jinja, counts what a template does and ends it at a bound, so
// an untrusted template is safe to render.
//
// JSON that reaches a template, messages, tool definitions and the arguments of
// tool calls, keeps the order of its keys: a prompt with another order is
// another prompt.
package chat
