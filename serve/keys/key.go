package keys

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// Right is what a key may do.
type Right string

const (
	Use     Right = "use"     // generate, with the base and with the adapters it may use
	Publish Right = "publish" // upload, replace and delete the adapters it may publish
	Metrics Right = "metrics" // read metrics by adapter, of every adapter
	Admin   Right = "admin"   // everything, with every adapter, and see where they lie
)

var rights = []Right{Use, Publish, Metrics, Admin}

// Key is one API key: its secret is known by its hash alone.
type Key struct {
	Name   string
	Tenant string // whom it counts for in shares and limits
	Rights []Right
	Limits Limits

	hash    hash
	use     []glob // nil: every adapter that is not under the prefix of another tenant
	publish []glob // nil: every adapter it may use, or all below its prefix
	prefix  string // of the names that it publishes; may be empty
	weight  int    // of its tenant; 0: it does not say
	where   string // file and line
	set     *Set
}

// Limits are what one key may take; 0: no limit. The first four are of its
// tenant, which all its keys share.
type Limits struct {
	Running  int   // sequences at once
	Waiting  int   // that wait for a slot
	Resident int64 // bytes of adapters below the tenant's prefixes in memory
	Uploads  int   // at once

	Prompt     int // tokens of a prompt
	Completion int // tokens of an answer
}

type hash [sha256.Size]byte

const hashPrefix = "sha256:"

// Hash is what a file may hold in place of the secret.
func Hash(secret string) string {
	h := sha256.Sum256([]byte(secret))
	return hashPrefix + hex.EncodeToString(h[:])
}

func parseHash(text string) (h hash, err error) {
	digits, ok := strings.CutPrefix(text, hashPrefix)
	b, err := hex.DecodeString(digits)
	if !ok || err != nil || len(b) != len(h) {
		return h, fmt.Errorf("has to be sha256: and 64 hexadecimal digits, as peft-serve hash-key prints it")
	}
	return hash(b), nil
}

// The shortest secret that is taken, and the shortest that nobody guesses.
const (
	shortest = 8
	advised  = 20
)

// checkSecret refuses a secret that is too short, and warns of a short one.
func checkSecret(secret string) (warning string, err error) {
	switch {
	case len(secret) < shortest:
		return "", fmt.Errorf("has fewer than %d characters", shortest)
	case len(secret) < advised:
		return fmt.Sprintf("has %d characters, which can be guessed: take %d or more", len(secret), advised), nil
	}
	return "", nil
}

// Plain is a key that may do everything, whose tenant is itself.
func Plain(name, secret string) (key Key, warning string, err error) {
	if warning, err = checkSecret(secret); err != nil {
		return Key{}, "", err
	}
	return Key{Name: name, Tenant: name, Rights: []Right{Admin}, hash: sha256.Sum256([]byte(secret)), where: "--api-key"}, warning, nil
}

// May reports whether the key has a right.
func (k *Key) May(r Right) bool {
	return slices.Contains(k.Rights, r) || slices.Contains(k.Rights, Admin)
}

// Sees reports whether an adapter of that name is there for the key.
func (k *Key) Sees(adapter string) bool { return k.Uses(adapter) || k.Publishes(adapter) }

// Uses reports whether the key may use an adapter of that name, given the right.
func (k *Key) Uses(adapter string) bool {
	switch {
	case k.May(Admin):
		return true
	case k.use != nil:
		return anyMatches(k.use, adapter)
	}
	owner := k.set.Owner(adapter)
	return owner == nil || owner.Name == k.Tenant
}

// Publishes reports whether the key may publish an adapter of that name.
func (k *Key) Publishes(adapter string) bool {
	switch {
	case k.May(Admin):
		return true
	case !k.May(Publish) || !strings.HasPrefix(adapter, k.prefix):
		return false
	case k.publish != nil:
		return anyMatches(k.publish, adapter)
	case k.prefix != "":
		return true
	}
	return k.Uses(adapter)
}

// Publishable says in words which names the key may publish.
func (k *Key) Publishable() string {
	var words []string
	if k.prefix != "" {
		words = append(words, fmt.Sprintf("begin with %q", k.prefix))
	}
	if k.publish != nil {
		globs := make([]string, len(k.publish))
		for i, g := range k.publish {
			globs[i] = string(g)
		}
		words = append(words, "match "+strings.Join(globs, " or "))
	}
	if len(words) == 0 {
		return "are among those it may use"
	}
	return strings.Join(words, " and ")
}
