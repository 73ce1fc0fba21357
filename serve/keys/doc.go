// Package keys is who may do what on a server: the API keys with their names,
// rights and limits, as files say them.
//
// Read reads the keys of a file or a folder, NewSet checks that they go
// together, and a Set finds the Key of a secret. Whether a key sees an adapter
// is told by the adapter's name alone, never by whether there is one: so a name
// that a key does not see cannot be told from one that nobody has.
package keys
