// Package disk holds the two ways in which the model formats touch files: Map
// and MapPrivate view a whole file without reading it, and Replace writes one
// so that its name shows either the old content or the new, complete and on
// disk.
package disk
