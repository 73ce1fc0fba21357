package layout

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"mvdan.cc/sh/v3/syntax"
)

// Every command in the documents is one that exists: its flags are in --help, the
// routes that curl asks are in the description of the API, the targets of make in
// the Makefile, and the files of the repository where they are named.
func TestDocumentedCommands(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the commands")
	}
	checks := newCommandChecks(t)
	for _, document := range documents(t) {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range shellBlocks(string(text)) {
			script, err := syntax.NewParser().Parse(strings.NewReader(block), document)
			if err != nil {
				t.Errorf("%s: a shell does not read this: %v\n%s", document, err, block)
				continue
			}
			syntax.Walk(script, func(node syntax.Node) bool {
				if call, ok := node.(*syntax.CallExpr); ok && len(call.Args) > 0 {
					if fault := checks.fault(wordsOf(call)); fault != "" {
						t.Errorf("%s: %s", document, fault)
					}
				}
				return true
			})
		}
		for _, flag := range flagsInProse(string(text)) {
			if !checks.known[flag] {
				t.Errorf("%s: no command has %s", document, flag)
			}
		}
	}
}

// documents are the pages for users. What changed, and what was decided when,
// names flags of its time.
func documents(t *testing.T) []string {
	t.Helper()
	all := []string{"README.md", "SECURITY.md", "CONTRIBUTING.md"}
	for _, pattern := range []string{"docs/*.md", "docs/howto/*.md", "examples/*/README.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	return slices.DeleteFunc(all, func(name string) bool { return name == "docs/dependencies.md" })
}

// shellBlock is a block of commands, with what is said of it: see notRun.
var shellBlock = regexp.MustCompile("(?ms)^```sh *([^\n]*)\n(.*?)^```")

func shellBlocks(document string) (blocks []string) {
	for _, block := range shellBlock.FindAllStringSubmatch(document, -1) {
		blocks = append(blocks, block[2])
	}
	return blocks
}

// wordsOf are a command and its arguments as they are written, without quotes.
// What a variable stands for is left as ${NAME}.
func wordsOf(call *syntax.CallExpr) (words []string) {
	for _, word := range call.Args {
		var text strings.Builder
		syntax.Walk(word, func(node syntax.Node) bool {
			switch node := node.(type) {
			case *syntax.Lit:
				text.WriteString(node.Value)
			case *syntax.SglQuoted:
				text.WriteString(node.Value)
			case *syntax.ParamExp:
				text.WriteString("${" + node.Param.Value + "}")
				return false
			case *syntax.CmdSubst:
				return false
			}
			return true
		})
		words = append(words, text.String())
	}
	return words
}

// commandChecks knows what there is to be called.
type commandChecks struct {
	help    map[string]map[string]bool // by command and subcommand: their flags
	known   map[string]bool            // flags of any
	routes  []*regexp.Regexp
	targets string
}

// builds are set where the commands are built: what is built has the same names in
// every copy of the tree, and so is built once.
var builds = []string{"CGO_ENABLED=0", "GOFLAGS=-trimpath"}

func newCommandChecks(t *testing.T) *commandChecks {
	t.Helper()
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", bin, "./cmd/...")
	build.Env = append(os.Environ(), builds...)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c := &commandChecks{help: map[string]map[string]bool{}, known: map[string]bool{}}
	for _, name := range []string{"peft-serve", "peft-train"} {
		c.readHelp(t, filepath.Join(bin, name), name)
	}
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	c.targets = string(makefile)
	description, err := os.ReadFile("serve/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var api struct{ Paths map[string]any }
	if err := yaml.Unmarshal(description, &api); err != nil {
		t.Fatal(err)
	}
	parameter := regexp.MustCompile(`\\\{[^}]*\\\}`)
	for path := range api.Paths {
		pattern := parameter.ReplaceAllString(regexp.QuoteMeta(path), `[^/]+`)
		c.routes = append(c.routes, regexp.MustCompile("^"+pattern+"$"))
	}
	return c
}

var (
	flagName   = regexp.MustCompile(`--(?:\[no-\])?([a-z][a-z0-9-]*)`)
	subcommand = regexp.MustCompile(`(?m)^  (?:peft-serve )?([a-z][a-z-]*) `)
)

// readHelp learns the flags of a command and of its subcommands.
func (c *commandChecks) readHelp(t *testing.T, binary, name string) {
	t.Helper()
	read := func(args ...string) string {
		out, err := exec.Command(binary, append(args, "--help")...).Output()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		flags := map[string]bool{"--help": true, "--version": true}
		for _, flag := range flagName.FindAllStringSubmatch(string(out), -1) {
			flags["--"+flag[1]], flags["--no-"+flag[1]] = true, true
		}
		c.help[strings.Join(append([]string{name}, args...), " ")] = flags
		for flag := range flags {
			c.known[flag] = true
		}
		return string(out)
	}
	help := read()
	if _, commands, cut := strings.Cut(help, "\nCommands:\n"); cut {
		help = commands
	} else if _, usage, cut := strings.Cut(help, "\nUsage:\n"); cut {
		help, _, _ = strings.Cut(usage, "\n\n")
	}
	for _, sub := range subcommand.FindAllStringSubmatch(help, -1) {
		read(sub[1])
	}
}

// fault says what of a command does not exist.
func (c *commandChecks) fault(words []string) string {
	switch name := filepath.Base(words[0]); name {
	case "peft-serve", "peft-train":
		return c.ownFault(name, words[1:])
	case "make":
		for _, target := range words[1:] {
			if !strings.ContainsAny(target, "=-$") && !strings.Contains(c.targets, "\n"+target+":") {
				return "make has no target " + target
			}
		}
	case "curl":
		return c.routeFault(words[1:])
	case "go":
		if len(words) > 2 && words[1] == "run" && strings.HasPrefix(words[2], "./cmd/") {
			return c.ownFault(filepath.Base(words[2]), words[3:])
		}
		for _, word := range words[1:] {
			if path := strings.TrimSuffix(word, "..."); strings.HasPrefix(path, "./") && !isFile(path) {
				return "there is no " + path
			}
		}
	default:
		if strings.HasPrefix(words[0], "scripts/") && !isFile(words[0]) {
			return "there is no " + words[0]
		}
	}
	return ""
}

func (c *commandChecks) ownFault(name string, args []string) string {
	called := name
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		if called += " " + args[0]; c.help[called] == nil {
			return name + " has no command " + args[0]
		}
	}
	for _, arg := range args {
		flag, _, _ := strings.Cut(arg, "=")
		if strings.HasPrefix(flag, "--") && !c.help[called][flag] {
			return called + " has no " + flag
		}
		if path, _, _ := strings.Cut(arg, ":"); strings.HasPrefix(path, "examples/") && !strings.Contains(path, "$") && !isFile(path) {
			return "there is no " + path
		}
	}
	return ""
}

// address is where a server of ours is in the documents: a variable, or a port.
var address = regexp.MustCompile(`^(?:\$\{[A-Z]+\}|(?:https?://)?(?:localhost|127\.0\.0\.1)(?::\d+)?)(/[^?]*)?(?:\?.*)?$`)

func (c *commandChecks) routeFault(args []string) string {
	for _, arg := range args {
		found := address.FindStringSubmatch(arg)
		if found == nil {
			continue
		}
		path := found[1]
		if path == "" {
			path = "/"
		}
		if !slices.ContainsFunc(c.routes, func(route *regexp.Regexp) bool { return route.MatchString(path) }) {
			return "no route answers " + arg
		}
	}
	return ""
}

var proseFlag = regexp.MustCompile("`(--[a-z][a-z0-9-]*)")

// others are flags of other programs that the documents speak of.
var others = []string{"--long"}

func flagsInProse(document string) (flags []string) {
	for _, flag := range proseFlag.FindAllStringSubmatch(shellBlock.ReplaceAllString(document, ""), -1) {
		if !slices.Contains(others, flag[1]) {
			flags = append(flags, flag[1])
		}
	}
	return flags
}

func isFile(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
