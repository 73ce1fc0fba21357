package adapters

import (
	"fmt"
	"strings"
	"time"

	"github.com/dlclark/regexp2/v2"
)

// patternTime bounds the matching of one expression against one name: an
// expression from a file may need time exponential in the name's length.
const patternTime = 100 * time.Millisecond

// maxPattern bounds an expression's length in bytes, and so its nesting.
const maxPattern = 4096

// compile reads expr as Python's re does, as far as the two languages agree;
// before and after anchor it.
func compile(before, expr, after string) (*regexp2.Regexp, error) {
	if len(expr) > maxPattern {
		return nil, fmt.Errorf("regular expression of %d bytes, more than %d", len(expr), maxPattern)
	}
	re, err := regexp2.Compile(before+translate(expr)+after, regexp2.None)
	if err != nil {
		return nil, fmt.Errorf("regular expression %q: %w", expr, err)
	}
	re.MatchTimeout = patternTime
	return re, nil
}

// compileFull reads expr for re.fullmatch.
func compileFull(expr string) (*regexp2.Regexp, error) { return compile(`\A(?:`, expr, `)\z`) }

// compileSuffix reads a key of rank_pattern or alpha_pattern, PEFT's
// get_pattern_key: re.match(rf"(.*\.)?({key})$", name).
func compileSuffix(key string) (*regexp2.Regexp, error) { return compile(`\A(?:(.*\.)?(`, key, `)$)`) }

// translate turns Python's named groups into .NET's.
func translate(expr string) string {
	if !strings.Contains(expr, "(?P") {
		return expr
	}
	var out strings.Builder
	for i := 0; i < len(expr); {
		rest := expr[i:]
		switch {
		case rest[0] == '\\' && len(rest) > 1:
			out.WriteString(rest[:2])
			i += 2
		case strings.HasPrefix(rest, "(?P<"):
			out.WriteString("(?<")
			i += len("(?P<")
		case strings.HasPrefix(rest, "(?P=") && strings.IndexByte(rest, ')') > 0:
			end := strings.IndexByte(rest, ')')
			out.WriteString(`\k<` + rest[len("(?P="):end] + ">")
			i += end + 1
		default:
			out.WriteByte(rest[0])
			i++
		}
	}
	return out.String()
}

// matches reports whether re matches name; running out of time is an error.
func matches(re *regexp2.Regexp, name string) (bool, error) {
	ok, err := re.MatchString(name)
	if err != nil {
		return false, fmt.Errorf("%w: regular expression %q on %q: %w", ErrConfig, re.String(), name, err)
	}
	return ok, nil
}

// keyed is one entry of rank_pattern or alpha_pattern.
type keyed struct {
	expr  string
	re    *regexp2.Regexp
	value float64
}

// patterns are such entries in the order of the file: the first that matches
// counts.
type patterns []keyed

// find returns the entry that counts for a module; fallback where none does.
func (p patterns) find(module string, fallback keyed) (keyed, error) {
	for _, k := range p {
		ok, err := matches(k.re, module)
		if err != nil {
			return k, err
		}
		if ok {
			return k, nil
		}
	}
	return fallback, nil
}

// idle returns the first entry that matches none of the modules, empty if
// there is none; used are entries that are known to match one.
func (p patterns) idle(modules []string, used map[string]bool) (expr string, err error) {
	for _, k := range p {
		ok := used[k.expr]
		for i := 0; i < len(modules) && !ok && err == nil; i++ {
			ok, err = matches(k.re, modules[i])
		}
		if err != nil || !ok {
			return k.expr, err
		}
	}
	return "", nil
}
