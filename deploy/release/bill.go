package main

import (
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"
)

// bill writes the SBOM: the modules that the binaries were built of, with the
// checksums that go.sum has of them.
func (r *release) bill(binaries []string) error {
	bom, err := billOf(binaries, r.version, r.at)
	if err != nil {
		return err
	}
	out, err := os.Create(filepath.Join(r.output, "peft-serve_"+strings.TrimPrefix(r.version, "v")+".cdx.json"))
	if err != nil {
		return err
	}
	if err := cyclonedx.NewBOMEncoder(out, cyclonedx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(bom, cyclonedx.SpecVersion1_6); err != nil {
		_ = out.Close()
		return err
	}
	return out.Close()
}

func billOf(binaries []string, version string, at time.Time) (*cyclonedx.BOM, error) {
	modules := map[string]cyclonedx.Component{}
	main := ""
	for _, b := range binaries {
		info, err := buildinfo.ReadFile(b)
		if err != nil {
			return nil, err
		}
		main = info.Main.Path
		std := "pkg:golang/std@" + strings.TrimPrefix(info.GoVersion, "go")
		modules[std] = cyclonedx.Component{BOMRef: std, Type: cyclonedx.ComponentTypeLibrary, Name: "std", Version: info.GoVersion, PackageURL: std}
		for _, m := range info.Deps {
			if m.Replace != nil {
				m = m.Replace
			}
			url := "pkg:golang/" + m.Path + "@" + m.Version
			c := cyclonedx.Component{BOMRef: url, Type: cyclonedx.ComponentTypeLibrary, Name: m.Path, Version: m.Version, PackageURL: url}
			if sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(m.Sum, "h1:")); err == nil && len(sum) == 32 {
				c.Hashes = &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: hex.EncodeToString(sum)}}
			}
			modules[url] = c
		}
	}
	own := "pkg:golang/" + main + "@" + version
	refs := slices.Sorted(maps.Keys(modules))
	components := []cyclonedx.Component{}
	for _, ref := range refs {
		components = append(components, modules[ref])
	}
	bom := cyclonedx.NewBOM()
	bom.Metadata = &cyclonedx.Metadata{
		Timestamp: at.Format(time.RFC3339),
		Component: &cyclonedx.Component{BOMRef: own, Type: cyclonedx.ComponentTypeApplication, Name: main, Version: version, PackageURL: own},
	}
	bom.Components = &components
	bom.Dependencies = &[]cyclonedx.Dependency{{Ref: own, Dependencies: &refs}}
	return bom, nil
}
