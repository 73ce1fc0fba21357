package hub

import (
	"crypto/sha1" // git names blobs by it
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"regexp"
)

var hexDigits = regexp.MustCompile(`^[0-9a-f]+$`)

// newDigest returns the hash whose sum is c's etag: the SHA-256 of a large
// file, git's SHA-1 of a small one (which covers its size), and nil for what
// is neither.
func newDigest(c content) hash.Hash {
	if !hexDigits.MatchString(c.etag) {
		return nil
	}
	switch len(c.etag) {
	case 2 * sha256.Size:
		return sha256.New()
	case 2 * sha1.Size:
		if c.size < 0 {
			return nil
		}
		h := sha1.New()
		h.Write(fmt.Appendf(nil, "blob %d\x00", c.size))
		return h
	}
	return nil
}

func sum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// writing returns a function that writes s, for disk.Replace.
func writing(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, s)
		return err
	}
}
