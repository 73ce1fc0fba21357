package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"
	"github.com/stretchr/testify/require"
)

func TestArchivesAreReproducible(t *testing.T) {
	dir := t.TempDir()
	from := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(from, []byte("text"), 0o600))
	var all [2][]byte
	for i := range all {
		archive := filepath.Join(dir, "archive")
		require.NoError(t, os.Chtimes(from, time.Time{}, time.Unix(int64(i)*1000, 0)))
		require.NoError(t, pack(archive, "folder", []file{{"name", from, 0o755}}, time.Unix(1e9, 0)))
		all[i], _ = os.ReadFile(archive)
	}
	require.NotEmpty(t, all[0])
	require.True(t, bytes.Equal(all[0], all[1]))
}

// The bill of this test's own binary names what it is built of.
func TestBill(t *testing.T) {
	own, err := os.Executable()
	require.NoError(t, err)
	bom, err := billOf([]string{own}, "v1", time.Unix(1e9, 0))
	require.NoError(t, err)
	var text bytes.Buffer
	require.NoError(t, cyclonedx.NewBOMEncoder(&text, cyclonedx.BOMFileFormatJSON).EncodeVersion(bom, cyclonedx.SpecVersion1_6))
	read := new(cyclonedx.BOM)
	require.NoError(t, cyclonedx.NewBOMDecoder(&text, cyclonedx.BOMFileFormatJSON).Decode(read))
	names := map[string]bool{}
	for _, c := range *read.Components {
		names[c.Name] = c.Hashes != nil
	}
	require.True(t, names["github.com/CycloneDX/cyclonedx-go"], "%v", names)
	require.Contains(t, names, "std")
}

func TestNotes(t *testing.T) {
	text := "# Changelog\n\n## Unreleased\n\n- new\n\n## [0.1.0] 2026-11-30\n\n- old\n\n## 0.0.1\n\n- first\n"
	for version, want := range map[string]string{"0.1.0": "- old\n", "0.0.1": "- first\n", "0.2.0": "- new\n"} {
		got, err := notesOf(text, version)
		require.NoError(t, err)
		require.Equal(t, want, got, version)
	}
	_, err := notesOf("# Changelog\n", "1")
	require.ErrorContains(t, err, "Unreleased")
}
