// Package convert carries adapters between the systems that write them:
// PEFT's folders, AdapterHub's folders, the GGUF adapters of llama.cpp and
// the state dicts of loralib.
//
// PEFT's form lies in the middle: every other one is read into it and written
// from it. Stored values are moved and reordered, never computed, so a round
// trip gives the same bits; where a form cannot hold what an adapter does, the
// conversion is refused with the reason.
package convert
