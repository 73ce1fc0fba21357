package adapters

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dlclark/regexp2/v2"
)

// The bounds of matching: an expression from a file may need time exponential in
// the length of a name, and there may be many of both.
const (
	patternTime  = 100 * time.Millisecond // of one expression against one name
	patternsTime = time.Second            // of those of one configuration against all names
	quick        = time.Millisecond       // what is not counted: it may be the machine's fault
)

// maxPattern bounds an expression's length in bytes, and so its nesting;
// maxPatterns how many an object has, each of which is compiled and tried on every
// module.
const (
	maxPattern  = 4096
	maxPatterns = 1 << 14
)

// expression is a regular expression of a configuration; the zero value is none.
type expression struct {
	re   *regexp2.Regexp
	left *patience
}

// patience is the time left to the expressions of one configuration.
type patience struct{ time atomic.Int64 }

func newPatience() *patience {
	p := &patience{}
	p.time.Store(int64(patternsTime))
	return p
}

// find returns the match of name, nil where there is none. Running out of time
// is an error.
func (e expression) find(name string) (*regexp2.Match, error) {
	start := time.Now()
	m, err := e.re.FindStringMatch(name)
	if d := time.Since(start); d > quick && e.left.time.Add(-int64(d)) < 0 && err == nil {
		err = fmt.Errorf("the expressions take more than %s together", patternsTime)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: regular expression %q on %q: %w", ErrConfig, e.re.String(), name, err)
	}
	return m, nil
}

func (e expression) matches(name string) (bool, error) {
	m, err := e.find(name)
	return m != nil, err
}

// compile reads expr as Python's re does, as far as the two languages agree;
// before and after anchor it.
func (p *patience) compile(before, expr, after string) (expression, error) {
	if len(expr) > maxPattern {
		return expression{}, fmt.Errorf("regular expression of %d bytes, more than %d", len(expr), maxPattern)
	}
	re, err := regexp2.Compile(before+translate(expr)+after, regexp2.None)
	if err != nil {
		return expression{}, fmt.Errorf("regular expression %q: %w", expr, err)
	}
	re.MatchTimeout = patternTime
	return expression{re, p}, nil
}

// compileFull reads expr for re.fullmatch.
func (p *patience) compileFull(expr string) (expression, error) {
	return p.compile(`\A(?:`, expr, `)\z`)
}

// compileSuffix reads a key of rank_pattern or alpha_pattern, PEFT's
// get_pattern_key: re.match(rf"(.*\.)?({key})$", name).
func (p *patience) compileSuffix(key string) (expression, error) {
	return p.compile(`\A(?:(.*\.)?(`, key, `)$)`)
}

// compileLayer reads a layers_pattern.
func (p *patience) compileLayer(pattern string) (expression, error) {
	return p.compile(`\A(?:(?:^|.*?\.)`, pattern, `\.(?<index>\d+)\.)`)
}

// compileSaved reads an entry of modules_to_save as PEFT does that leaves its
// modules out of those that are adapted.
func (p *patience) compileSaved(module string) (expression, error) {
	return p.compile(`\A(?:(^|.*\.)`, module, `($|\..*))`)
}

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

// keyed is one entry of rank_pattern or alpha_pattern.
type keyed struct {
	expr  string
	re    expression
	value float64
}

// patterns are such entries in the order of the file: the first that matches
// counts.
type patterns []keyed

// find returns the entry that counts for a module; fallback where none does.
func (p patterns) find(module string, fallback keyed) (keyed, error) {
	for _, k := range p {
		ok, err := k.re.matches(module)
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
			ok, err = k.re.matches(modules[i])
		}
		if err != nil || !ok {
			return k.expr, err
		}
	}
	return "", nil
}
