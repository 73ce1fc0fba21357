package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/lmittmann/tint"
	"golang.org/x/term"
)

func levelOf(text string) (slog.Level, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(text)); err != nil {
		return level, fmt.Errorf("%q is none of debug, info, warn, error", text)
	}
	return level, nil
}

// newLog writes to w: in color on a terminal, as text in a file, as JSON for
// collectors.
func newLog(w io.Writer, format string, at slog.Leveler) *slog.Logger {
	if format == "auto" && isTerminal(w) {
		format = "color"
	}
	switch format {
	case "color":
		return slog.New(tint.NewTextHandler(w, &tint.Options{Level: at, TimeFormat: time.TimeOnly}))
	case "json":
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: at}))
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: at}))
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
