// Package runtime is the inference engine: continuous batching of sequences
// with different adapters over one frozen base.
//
// Engine owns the step loop; a Request submitted to it becomes a sequence and
// answers through a Stream. Which adapter answers is said by the request's lease
// (package catalogue): the engine knows no names.
//
// A step is one pass over one batch. It gives running sequences the block they
// need (grow), fills free slots (admit), chooses the tokens to compute (plan),
// computes them (compute), and turns logits into events (commit):
//
//	Submit → inbox → loading → queue → running → ended
//	                             ↑         ↓
//	                             preempted ←
//
// Law 1 carries the design: since a row's result depends on its sequence
// alone, a sequence may be cut into chunks, moved between batches, preempted
// and computed again, computed singly after a panic, or continued from another
// request's blocks, and gives the same bits. Sampling keeps to that: the
// random number of a token depends on the seed and the token's place alone.
//
// A base that encodes texts and generates none (encoding) keeps no keys and values.
// Each text is computed whole, in one step, with as many others as StepTokens holds;
// nothing is grown, labelled or preempted.
//
// Who waits is served by shares: tenants by weight, within a tenant its groups
// (ledger). The places in the queue and the tokens that a step has for prompts are
// shared likewise (room, plan), so nobody takes from others by sending more.
//
// What fails, fails alone. A NaN or a panic ends the sequence that caused it,
// a lease whose load fails the requests that wait for it. A version of an
// adapter under which a value was not finite is withdrawn.
//
// The directory's name shadows the standard library's package: import that one
// as goruntime.
package runtime
