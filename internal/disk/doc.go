// Package disk is how files are written that must not be lost or torn, and how
// large ones are read. Map and MapPrivate view a whole file without reading
// it. Replace and Write make one file, Place a folder; what they have returned
// from without an error outlasts a loss of power, and at any moment before it
// the name leads to the old content or the new, whole. CreateLock and TryLock
// tell files that a living process works on from those that a dead one left.
//
// All writes go through an FS, which is the system's unless a test has called
// Use: disktest has one that forgets what was not synced and fails where it is
// told to.
package disk
