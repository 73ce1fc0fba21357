// Package batch answers a file of requests with a file of answers, of which each
// line answers one row, in order.
//
// Open looks at the input and at what an earlier process has left of the same
// work: nothing, the answers so far, or all of them. Run goes on from there. The
// answers so far are in a file beside the output, which it becomes in one step
// when it holds all; a shard of the input has an output of its own, so shards
// share nothing and each commits by itself. Whatever ends a process, a row that
// is committed is not asked again, and none is left out.
package batch
