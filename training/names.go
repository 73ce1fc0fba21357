package training

import "strings"

// cutHub takes the scheme, and what names a file, off an hf:// URI.
func cutHub(uri string) (string, bool) {
	rest, ok := strings.CutPrefix(uri, "hf://")
	if !ok {
		return uri, false
	}
	parts := strings.SplitN(rest, "/", 3)
	if len(parts) < 2 {
		return rest, true
	}
	name, _, _ := strings.Cut(parts[1], "@")
	return parts[0] + "/" + name, true
}
