package serve

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/models/chat"
)

// The variables of chat templates that say how much a model is to reason, as vLLM gives
// them: the effort in a word, and whether it reasons at all.
const (
	effortVariable   = "reasoning_effort"
	thinkingVariable = "enable_thinking"
)

// reasoningEffort is how much the model is to reason before it answers; "": nobody
// says.
type reasoningEffort string

// efforts are its words: OpenAI's, and vLLM's max.
var efforts = []string{"none", "minimal", "low", "medium", "high", "xhigh", "max"}

func (e *reasoningEffort) decodeField(path string, raw json.RawMessage) error {
	if absent(raw) {
		return nil
	}
	var effort string
	if err := decodeInto(path, raw, &effort); err != nil {
		return err
	}
	if !slices.Contains(efforts, effort) {
		return &fieldError{path, fmt.Sprintf("is %q: give one of %s", effort, strings.Join(efforts, ", "))}
	}
	*e = reasoningEffort(effort)
	return nil
}

// giveEffort gives the effort of a request to the template by those of the variables
// that it reads. Where it reads none, the model knows no efforts: it is passed over and
// named in the answer.
func giveEffort(c *fiber.Ctx, r *chatRequest, template *chat.Template, o *chat.Options) error {
	if r.Effort == "" {
		return nil
	}
	field := r.named(effortVariable)
	if _, given := o.Variables[effortVariable]; given {
		return invalid(field, "%s and chat_template_kwargs.%s both say how much to reason: give one", field, effortVariable)
	}
	thinks := json.RawMessage("true")
	if r.Effort == "none" {
		thinks = json.RawMessage("false")
	}
	given := maps.Clone(o.Variables)
	if given == nil {
		given = map[string]json.RawMessage{}
	}
	read := false
	for name, value := range map[string]json.RawMessage{effortVariable: quoted(string(r.Effort)), thinkingVariable: thinks} {
		one := chat.Options{Tools: o.Tools, Variables: map[string]json.RawMessage{name: value}}
		if template.Unread(one) != "" {
			continue
		}
		if _, own := given[name]; !own { // what the request says itself holds
			given[name], read = value, true
		}
	}
	if !read {
		ignoredField(c, field)
	}
	o.Variables = given
	return nil
}
