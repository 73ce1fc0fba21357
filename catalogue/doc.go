// Package catalogue knows adapters by name and holds the loaded ones in memory.
//
// A name stands for a folder, found in the catalogue's directory as it appears,
// or for the URI it was registered with. Acquire resolves a name, once, and
// returns a Lease on the version that it stands for: at once where that is in
// memory, else after a load that all who ask for it share. A request takes one
// lease and keeps it from its first look at the adapter to its last token.
//
//	Known → Loading → Resident → Draining → freed
//	           ↓          ↑
//	        Failed    Swap, Pin
//
// The versions in memory keep within a budget of bytes. What no lease holds and
// nobody pinned is evicted, the least recently used first; loads that find no
// room stand in line for it (claim). A load that nobody waits for any more is
// cancelled.
//
// Compose gives one lease on several adapters that are to act together, each with
// a weight.
//
// Swap puts a new version in a name's place once it has loaded and passed its
// checks, and with it an upload's files: until then the name means what it
// meant. A version under which a value was not finite is withdrawn, and
// remembered by its digest.
package catalogue
