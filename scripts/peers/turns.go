package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// setting is what turns have in common that one row of the table is made of.
type setting struct {
	Model       string `json:"model"` // the file's name, without its ending
	Bytes       int64  `json:"bytes"` // of the file
	Load        string `json:"load"`
	Threads     int    `json:"threads"`
	Processor   bool   `json:"processor"`   // seconds are of processor time, and not by the clock
	Repetitions int    `json:"repetitions"` // in a turn
}

// turn is one measurement.
type turn struct {
	setting
	Engine string  `json:"engine"`
	Round  int     `json:"round"` // ratios are of turns of one round
	Rate   float64 `json:"tokens_per_second"`
}

// turns are all that have been taken, in a file with one on each line.
type turns struct {
	path string
	all  []turn
}

func readTurns(path string) (t turns, err error) {
	t.path = path
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err != nil {
		return t, err
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		var one turn
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			return t, fmt.Errorf("%s: line %d: %w", path, n, err)
		}
		t.all = append(t.all, one)
	}
	return t, lines.Err()
}

// add keeps what one engine did in a turn.
func (t *turns) add(taken ...turn) (err error) {
	if err := os.MkdirAll(filepath.Dir(t.path), 0o755); err != nil {
		return err
	}
	file, err := os.OpenFile(t.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	var lines []byte
	for _, one := range taken {
		line, err := json.Marshal(one)
		if err != nil {
			return err
		}
		lines = append(append(lines, line...), '\n')
	}
	t.all = append(t.all, taken...)
	_, err = file.Write(lines)
	return err
}

// has reports whether an engine has had a turn.
func (t *turns) has(s setting, engine string, round int) bool {
	for _, one := range t.all {
		if one.setting == s && one.Engine == engine && one.Round == round {
			return true
		}
	}
	return false
}
