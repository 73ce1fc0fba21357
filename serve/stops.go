package serve

// The bounds of what may end an answer: the step loop looks for each after
// every token, and all requests wait for it.
const (
	maxStops     = 64   // strings
	maxStopBytes = 1024 // of each
	maxStopIDs   = 1024
)

// checkStops refuses stop strings of a field that cannot be or are too many.
func checkStops(field string, stops []string) error {
	if len(stops) > maxStops {
		return invalid(field, "%s has %d strings: give at most %d", field, len(stops), maxStops)
	}
	for i, s := range stops {
		switch {
		case s == "" && len(stops) == 1:
			return invalid(field, "%s is empty: leave it out, or give the text to stop at", field)
		case s == "":
			return invalid(field, "%s[%d] is empty: leave it out, or give the text to stop at", field, i)
		case len(s) > maxStopBytes:
			return invalid(field, "%s[%d] has %d bytes: give at most %d", field, i, len(s), maxStopBytes)
		}
	}
	return nil
}
