package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/v2"
)

const variablePrefix = "PEFT_SERVE_"

// settingSources are the configuration file and the variables, merged, and
// where each setting came from.
type settingSources struct {
	merged *koanf.Koanf
	origin map[string]string // setting → "PEFT_SERVE_THREADS", "peft-serve.yaml: threads"
	faults *faults
}

// load reads the file that --config or PEFT_SERVE_CONFIG names, then the
// variables. What neither knows is a fault: it is a misspelling.
func (s *settingSources) load(model *kong.Application, args, environment []string) {
	s.merged, s.origin = koanf.New("\x00"), map[string]string{}
	known := settingNames(model)
	variables := map[string]any{}
	for _, pair := range environment {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, variablePrefix) || ofKubernetes(name, value) {
			continue
		}
		setting := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, variablePrefix)), "_", "-")
		if !slices.Contains(known, setting) && setting != "config" {
			s.faults.add("%s: there is no setting %s%s", name, setting, meant(setting, slices.Values(known), asVariable))
			continue
		}
		variables[setting] = value
		s.origin[setting] = name
	}
	path := configArgument(args)
	if path == "" {
		path, _ = variables["config"].(string)
	}
	if path != "" {
		s.loadFile(path, known, variables)
	}
	if err := s.merged.Load(values(variables), nil); err != nil {
		s.faults.add("the environment: %s", err)
	}
}

var serviceVariable = regexp.MustCompile(`_(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

// ofKubernetes reports whether a variable is one of those that Kubernetes gives
// a pod for a Service, here one whose name begins with peft-serve. No setting
// is called like them.
func ofKubernetes(name, value string) bool {
	return serviceVariable.MatchString(name) || strings.HasSuffix(name, "_PORT") && strings.Contains(value, "://")
}

func (s *settingSources) loadFile(path string, known []string, variables map[string]any) {
	text, err := os.ReadFile(path)
	if err != nil {
		s.faults.add("--config: %s", err)
		return
	}
	file := koanf.New("\x00")
	if err := file.Load(document(text), yaml.Parser()); err != nil {
		s.faults.add("%s: %s", path, strings.ReplaceAll(err.Error(), "\n", " "))
		return
	}
	settings := map[string]any{}
	for name, value := range file.Raw() {
		if !slices.Contains(known, name) {
			s.faults.add("%s: there is no setting %s%s", path, name, meant(name, slices.Values(known), asKey))
			continue
		}
		settings[name] = value
		if _, ok := variables[name]; !ok {
			s.origin[name] = path + ": " + name
		}
	}
	if err := s.merged.Load(values(settings), nil); err != nil {
		s.faults.add("%s: %s", path, err)
	}
}

// settingNames are the flags that can be set elsewhere too: those of serve.
func settingNames(model *kong.Application) []string {
	var names []string
	for _, child := range model.Children {
		if child.Name == "serve" {
			for _, f := range child.Flags {
				if f.Name != "config" {
					names = append(names, f.Name)
				}
			}
		}
	}
	return names
}

// configArgument finds --config before the flags are parsed.
func configArgument(args []string) string {
	for i, a := range args {
		if v, ok := strings.CutPrefix(a, "--config="); ok {
			return v
		}
		if a == "--config" && i+1 < len(args) {
			return args[i+1]
		}
	}
	return ""
}

// Validate is kong's: nothing to check here.
func (s *settingSources) Validate(*kong.Application) error { return nil }

// Resolve gives a flag that the command line leaves out its value. Flags that
// are one command's alone are not settings.
func (s *settingSources) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if flag.Tag.Has("local") {
		return nil, nil
	}
	return s.merged.Get(flag.Name), nil
}

// values and document are the sources as koanf wants them.
type values map[string]any

func (v values) ReadBytes() ([]byte, error)    { return nil, fmt.Errorf("not bytes") }
func (v values) Read() (map[string]any, error) { return v, nil }

type document []byte

func (d document) ReadBytes() ([]byte, error)    { return d, nil }
func (d document) Read() (map[string]any, error) { return nil, fmt.Errorf("not a map") }
