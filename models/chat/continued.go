package chat

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
)

// finalTag marks, while a prompt is rendered, where the last message's text
// ends. The space shows whether the template trims.
const finalTag = "CONTINUE_FINAL_MESSAGE_TAG "

var errNotContinued = fmt.Errorf("%w: the last message cannot be continued: it has no text, or the template leaves it out", ErrConversation)

// tagFinal appends finalTag to the text of a message, to the last of its parts
// that has one, and returns the text as it was.
func tagFinal(message object) (text string, err error) {
	tagged := func(raw json.RawMessage) json.RawMessage {
		if err = json.Unmarshal(raw, &text); err != nil {
			err = errNotContinued
		}
		return quoted(text + finalTag)
	}
	content := orNull(message.get("content"))
	var parts []object
	switch {
	case content[0] == '"':
		message.set("content", tagged(content))
		return text, err
	case json.Unmarshal(content, &parts) != nil || len(parts) == 0:
		return "", errNotContinued
	}
	last := parts[len(parts)-1]
	last.set("text", tagged(last.get("text")))
	if err == nil {
		content, err = json.Marshal(parts)
		message.set("content", content)
	}
	return text, err
}

// cutFinal cuts a prompt where the last message's text ends in it.
func cutFinal(prompt, text string) (string, error) {
	at := strings.LastIndex(prompt, strings.TrimSpace(finalTag))
	if at < 0 || !strings.Contains(prompt, strings.TrimFunc(text, isSpace)) {
		return "", errNotContinued
	}
	if strings.HasPrefix(prompt[at:], finalTag) {
		return prompt[:at], nil
	}
	return strings.TrimRightFunc(prompt[:at], isSpace), nil
}

// isSpace is Python's str.isspace.
func isSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }
