// Package serve answers HTTP for an engine: the native route, the dialects of
// TGI and LoRAX, OpenAI, vLLM and the Open Inference Protocol, adapters as a
// resource, health and metrics.
//
// A Server turns a request of a dialect into requests of package runtime, and
// their events into that dialect's answer. The way of a request: the strict
// decoder (decode.go) fills the dialect's body, whose file (openai_*.go,
// tgi_*.go, vllm.go, openinference.go) makes runtime requests of it; a
// generation runs those and merges their events; the dialect writes them, whole
// or streamed.
//
// Nothing is guessed: a field that is unknown, of the wrong type or not
// implemented is refused by name, or known to be harmless (passed.go) and named in
// the answer, and a request that names an adapter gets
// that adapter or an error. A client that goes away frees its slots.
//
// There is no inference here, and only this package knows HTTP.
package serve
