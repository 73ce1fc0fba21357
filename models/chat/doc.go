// Package chat renders conversations into prompts with the Jinja templates
// that models come with, to the byte as transformers' apply_chat_template.
//
// A [Template] comes from a template's source ([New]; a GGUF file has it under
// tokenizer.chat_template), from a tokenizer_config.json ([FromConfig]) or from
// a model's folder ([Load]). It is safe for concurrent use. The template engine
// has no budget, so a template that nobody vouches for belongs in a [Sandbox].
//
// JSON that reaches a template, such as tool definitions and the arguments of
// tool calls, keeps the order of its keys: a prompt with another order is
// another prompt.
package chat
