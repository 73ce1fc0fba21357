package runtime

// Snapshot is the state of an Engine between two steps. Counters run from the
// start.
type Snapshot struct {
	Running int // sequences with a slot
	Waiting int // requests without one: queued, loading their adapter, or preempted
	Loading int // of those waiting, the ones whose adapter is being loaded

	// The adapters of running and of waiting requests, sorted; the base is
	// left out.
	RunningAdapters, WaitingAdapters []string

	Blocks       int // of the key-value cache
	BlocksUsed   int // held by running sequences
	BlocksCached int // held for prompts that begin alike

	Requests         uint64 // accepted
	Finished         uint64
	Failed           uint64
	Cancelled        uint64
	Steps            uint64
	Preemptions      uint64
	PromptTokens     uint64 // of sequences admitted
	LookedUpTokens   uint64 // of those, sought in the prefix cache
	CachedTokens     uint64 // of those, found there
	CompletionTokens uint64
}
