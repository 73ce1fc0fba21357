package serve

import "github.com/peft-serve/peft-serve/runtime"

// setLength gives a request, whose prompt is known, the most tokens of its answer:
// what the client asked for in that field or, if it said nothing, the server's
// default or else the dialect's; below 0: as many as the context holds. What is
// asked for beyond a limit is refused; a default is cut to it, and to what the
// context has left.
func (s *Server) setLength(to selection, r *runtime.Request, asked *int, otherwise int, field string) error {
	limit := to.who.limits.MaxTokensLimit
	whose := "this server's limit is %d (--max-tokens-limit)"
	if key := to.who.key; key != nil && key.Limits.Completion > 0 && (limit == 0 || key.Limits.Completion < limit) {
		limit, whose = key.Limits.Completion, "this key's limit completion is %d"
	}
	if asked != nil {
		if r.MaxTokens = *asked; limit > 0 && *asked > limit {
			return invalid(field, "%s is %d: "+whose, field, *asked, limit)
		}
		return nil
	}
	r.MaxTokens = otherwise
	if s := to.who.limits.MaxTokensDefault; s > 0 {
		r.MaxTokens = s
	}
	if limit > 0 && (r.MaxTokens < 0 || r.MaxTokens > limit) {
		r.MaxTokens = limit
	}
	if room := s.context - len(r.Prompt); r.MaxTokens > room {
		r.MaxTokens = max(room, 1)
	}
	return nil
}

// roomFor is how many tokens a prompt that is cut to what the context holds leaves for
// its answer: what the client asked for or, if it said nothing, the server's default
// or else the dialect's, of which half of the context is the most.
func (s *Server) roomFor(to selection, asked *int, otherwise int) int {
	if asked != nil {
		return *asked
	}
	if s := to.who.limits.MaxTokensDefault; s > 0 {
		otherwise = s
	}
	return min(otherwise, s.context/2)
}
