package layout

import (
	"os"
	"regexp"
	"slices"
	"testing"
)

// What docs/vllm-tests.md says of vLLM's tests that pass is what scripts/clients tries.
func TestDocumentedTestsOfVLLM(t *testing.T) {
	ids := func(path, within, each string) (found []string) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range regexp.MustCompile(within).FindAllString(string(text), -1) {
			for _, id := range regexp.MustCompile(each).FindAllStringSubmatch(part, -1) {
				found = append(found, id[1])
			}
		}
		slices.Sort(found)
		if len(slices.Compact(slices.Clone(found))) != len(found) {
			t.Errorf("%s names a test twice: %q", path, found)
		}
		return found
	}
	tried := ids("scripts/clients/vllm_calls.py", `(?ms)^@test\(.*?^def `, `"(\w+/test_\w+\.py::\w+)"`)
	told := ids("docs/vllm-tests.md", `(?m)^\| .*\| passes.*\|$`, "^\\| `([^`]+)`")
	if len(tried) == 0 || !slices.Equal(tried, told) {
		t.Errorf("tried are %q, and told %q", tried, told)
	}
}
