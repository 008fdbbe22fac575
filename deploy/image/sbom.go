package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The parts of an SPDX 2.3 document (spdx.github.io/spdx-spec/v2.3) that say what the
// programs are made of.
type (
	spdx struct {
		Version       string         `json:"spdxVersion"`
		License       string         `json:"dataLicense"`
		ID            string         `json:"SPDXID"`
		Name          string         `json:"name"`
		Namespace     string         `json:"documentNamespace"`
		Creation      creation       `json:"creationInfo"`
		Packages      []spdxPackage  `json:"packages"`
		Relationships []relationship `json:"relationships"`
	}
	creation struct {
		Created  string   `json:"created"`
		Creators []string `json:"creators"`
	}
	spdxPackage struct {
		ID       string      `json:"SPDXID"`
		Name     string      `json:"name"`
		Version  string      `json:"versionInfo"`
		Download string      `json:"downloadLocation"`
		Refs     []reference `json:"externalRefs,omitempty"`
	}
	reference struct {
		Category string `json:"referenceCategory"`
		Type     string `json:"referenceType"`
		Locator  string `json:"referenceLocator"`
	}
	relationship struct {
		From string `json:"spdxElementId"`
		Type string `json:"relationshipType"`
		To   string `json:"relatedSpdxElement"`
	}
)

// bill reads from each program what the Go linker wrote into it: its modules.
func bill(version string, programs []string) ([]byte, error) {
	doc := spdx{
		Version: "SPDX-2.3", License: "CC0-1.0", ID: "SPDXRef-DOCUMENT", Name: "detour " + version,
		// The time of the epoch: the document depends on the programs only.
		Creation: creation{Created: "1970-01-01T00:00:00Z", Creators: []string{"Tool: detour-image"}},
	}
	sum := sha256.New()
	seen := map[string]bool{}
	for _, path := range programs {
		info, err := buildinfo.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		sum.Write(text)
		program := id("program", filepath.Base(path), "")
		doc.Packages = append(doc.Packages, spdxPackage{ID: program, Name: info.Path, Version: version, Download: "NOASSERTION"})
		doc.Relationships = append(doc.Relationships, relationship{doc.ID, "DESCRIBES", program})
		modules := [][2]string{{"std", strings.TrimPrefix(info.GoVersion, "go")}}
		for _, m := range info.Deps {
			if m.Replace != nil {
				m = m.Replace
			}
			modules = append(modules, [2]string{m.Path, m.Version})
		}
		for _, m := range modules {
			module := id("module", m[0], m[1])
			doc.Relationships = append(doc.Relationships, relationship{program, "DEPENDS_ON", module})
			if seen[module] {
				continue
			}
			seen[module] = true
			doc.Packages = append(doc.Packages, spdxPackage{ID: module, Name: m[0], Version: m[1], Download: "NOASSERTION",
				Refs: []reference{{"PACKAGE-MANAGER", "purl", "pkg:golang/" + m[0] + "@" + m[1]}}})
		}
	}
	slices.SortFunc(doc.Packages, func(a, b spdxPackage) int { return strings.Compare(a.ID, b.ID) })
	doc.Namespace = "https://detour-cni.dev/sbom/" + hex.EncodeToString(sum.Sum(nil))
	return json.MarshalIndent(doc, "", " ")
}

// id makes an SPDX identifier: letters, digits, dots and dashes.
func id(kind, name, version string) string {
	clean := func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '-'
	}
	return strings.TrimSuffix("SPDXRef-"+kind+"-"+strings.Map(clean, name)+"-"+strings.Map(clean, version), "-")
}
