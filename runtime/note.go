package runtime

// note is what CatalogueOptions.Inspect told of one state of a folder.
type note struct {
	stamp   stamp
	warning string
}

// note returns what is to be known of the adapter in a folder, which has that
// stamp now, and logs it when it is told first.
func (c *Catalogue) note(dir string, now stamp) (warning string) {
	if c.options.Inspect == nil {
		return ""
	}
	c.mu.Lock()
	known, ok := c.notes[dir]
	c.mu.Unlock()
	if ok && known.stamp == now {
		return known.warning
	}
	warning = c.options.Inspect(dir)
	c.mu.Lock()
	c.notes[dir] = note{now, warning}
	c.mu.Unlock()
	if warning != "" && warning != known.warning {
		c.options.Log.Warn("adapter", "folder", dir, "warning", warning)
	}
	return warning
}
