// Package merge writes a base with an adapter folded into its weights, for
// whoever cannot load the two apart.
//
// Every changed tensor is computed in float64 from the stored values and
// rounded once to the precision it is written in; every other tensor keeps its
// bytes. What cannot be exact is refused, not approximated: methods that act
// on activations, a quantised base without an explicit precision, tied
// embeddings of which only one changes, NaN and infinities anywhere, an
// adapter that is already in the base. The result appears under its name only
// when it is complete, has been opened again and computes what base and
// adapter compute.
//
// adapters.Adapter.Merge is the computation; here are the files.
//
// Several LoRA adapters become one first, where a Combination says how.
package merge
