package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/serve/keys"
)

// keyring is what the settings say of keys.
type keyring struct {
	set      *keys.Set // nil: none
	files    keys.Files
	warnings []string
}

// keys are those of --api-key, --api-key-file and --keys.
func (c *serveCommand) keys() (keyring, error) {
	if c.Keys == "" {
		return c.keysWith(keys.Files{})
	}
	files, err := keys.Read(c.Keys)
	if err != nil {
		return keyring{files: files}, fmt.Errorf("--keys: %w", err)
	}
	return c.keysWith(files)
}

// keysWith are the keys with files as those of --keys. Plain ones are called
// key-1, key-2 and so on: first those of the setting, then those of the file.
func (c *serveCommand) keysWith(files keys.Files) (keyring, error) {
	ring := keyring{files: files, warnings: slices.Clone(files.Warnings)}
	secrets, err := c.plainKeys()
	if err != nil {
		return ring, err
	}
	var all []keys.Key
	for i, secret := range secrets {
		key, warning, err := keys.Plain(fmt.Sprintf("key-%d", i+1), secret.text)
		if err != nil {
			return ring, fmt.Errorf("%s: a key %w", secret.from, err)
		}
		if warning != "" {
			ring.warnings = append(ring.warnings, "an API key "+warning)
		}
		all = append(all, key)
	}
	if all = append(all, files.Keys...); len(all) == 0 && c.Keys == "" {
		return ring, nil
	}
	if ring.set, err = keys.NewSet(all); err != nil {
		return ring, fmt.Errorf("--keys: %w", err)
	}
	return ring, nil
}

// plainKey is a secret and the setting, or the file's line, that it stands in.
type plainKey struct{ text, from string }

// plainKeys are those of --api-key and --api-key-file.
func (c *serveCommand) plainKeys() ([]plainKey, error) {
	var secrets []plainKey
	for _, text := range c.APIKey {
		secrets = append(secrets, plainKey{text, cmp.Or(c.keysFrom, "--api-key")})
	}
	if c.APIKeyFile == "" {
		return secrets, nil
	}
	text, err := os.ReadFile(c.APIKeyFile)
	if err != nil {
		return nil, fmt.Errorf("--api-key-file: %w", err)
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			secrets = append(secrets, plainKey{line, fmt.Sprintf("--api-key-file: %s: line %d", c.APIKeyFile, n)})
		}
	}
	if len(secrets) == len(c.APIKey) {
		return nil, fmt.Errorf("--api-key-file: %s holds no key", c.APIKeyFile)
	}
	return secrets, nil
}

// showsKey reports whether a command line holds a key, for all to see.
func showsKey(args []string) bool {
	return slices.ContainsFunc(args, func(arg string) bool { return arg == "--api-key" || strings.HasPrefix(arg, "--api-key=") })
}

// hashKeyCommand prints what a file of keys may hold in place of a key.
type hashKeyCommand struct{}

func (hashKeyCommand) Run(_ context.Context, c console) error {
	line, err := bufio.NewReader(io.LimitReader(c.in, 1<<16)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	secret := strings.TrimSpace(line)
	_, warning, err := keys.Plain("", secret)
	if err != nil {
		return fmt.Errorf("the key on standard input %w", err)
	}
	if warning != "" {
		c.say("peft-serve: the key %s\n", warning)
	}
	_, err = fmt.Fprintln(c.out, keys.Hash(secret))
	return err
}
