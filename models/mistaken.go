package models

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/peft-serve/peft-serve/internal/regular"
)

// Missing tells what the path of a base that is not there may have been meant to
// be, to follow an error; it may be nothing.
func Missing(path string) string {
	if IsHubName(path) {
		return fmt.Sprintf("; did you mean hf://%s?", path)
	}
	return ""
}

// NotAdapter refuses a folder that holds an adapter where a base's belongs, and
// names the base that the adapter is for.
func NotAdapter(dir string) error {
	file, err := regular.Text(filepath.Join(dir, "adapter_config.json"), regular.Config)
	if err != nil {
		return nil // there is none that can be read: it is looked at as a base
	}
	if _, err := os.Stat(filepath.Join(dir, "config.json")); err == nil {
		return nil // a base too
	}
	var config struct {
		Base string `json:"base_model_name_or_path"`
	}
	meant := "name the base that it was trained on"
	if json.Unmarshal(file, &config) == nil && config.Base != "" {
		meant = fmt.Sprintf("its base is %s", config.Base)
		if IsHubName(config.Base) {
			meant = fmt.Sprintf("its base is hf://%s", config.Base)
		}
	}
	return fmt.Errorf("%s is an adapter (adapter_config.json), not a base: %s", dir, meant)
}
