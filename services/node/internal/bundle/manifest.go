package bundle

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/calimero-network/mero-go/pkg/strictjson"
)

// ErrManifest reports a manifest that says too little, or something that this node does not accept.
var ErrManifest = errors.New("the bundle's manifest is not valid")

// ErrRuntime reports a bundle that needs a newer runtime.
var ErrRuntime = errors.New("the bundle needs a newer runtime")

// The limits of a manifest's texts in bytes, and of its lists.
const (
	maxPackage   = 128
	maxPath      = 255
	maxName      = 64
	maxArtifacts = 256
)

// Manifest is what a bundle says of itself. Everything in it is signed.
type Manifest struct {
	Package           string          `json:"package"`
	AppVersion        string          `json:"appVersion"`
	SignerID          string          `json:"signerId"`
	MinRuntimeVersion string          `json:"minRuntimeVersion"`
	Metadata          json.RawMessage `json:"metadata,omitempty"` // an object, or absent
	Links             json.RawMessage `json:"links,omitempty"`    // an object, or absent
	Wasm              *Artifact       `json:"wasm,omitempty"`     // the only module; nil if there are services
	ABI               *Artifact       `json:"abi,omitempty"`
	Services          []Service       `json:"services,omitempty"`
	Migrations        []Artifact      `json:"migrations,omitempty"`
}

// Service is a named module of a bundle that has several.
type Service struct {
	Name string    `json:"name"`
	Wasm *Artifact `json:"wasm"`
	ABI  *Artifact `json:"abi,omitempty"`
}

// Artifact is a file of the bundle.
type Artifact struct {
	Path string `json:"path"`
	Hash string `json:"hash"` // SHA-256 of the content, hexadecimal
	Size int64  `json:"size"` // of the content in bytes
}

// UnmarshalJSON decodes an artifact that has one reading.
func (a *Artifact) UnmarshalJSON(text []byte) error {
	type plain Artifact
	return strictjson.Unmarshal(text, (*plain)(a))
}

// UnmarshalJSON decodes a service that has one reading.
func (s *Service) UnmarshalJSON(text []byte) error {
	type plain Service
	return strictjson.Unmarshal(text, (*plain)(s))
}

// ParseManifest reads a manifest and checks its signature and everything that it says, except what only the files of
// the bundle can tell. The error wraps [ErrManifest] or [ErrSignature].
func ParseManifest(text []byte) (Manifest, error) {
	var m Manifest
	if err := strictjson.Unmarshal(text, &m); err != nil {
		return Manifest{}, fmt.Errorf("%w: %w", ErrManifest, err)
	}
	var envelope struct {
		Signature *signature `json:"signature"`
	}
	if err := strictjson.Unmarshal(text, &envelope); err != nil {
		return Manifest{}, fmt.Errorf("%w: signature: %w", ErrManifest, err)
	}
	if err := verify(text, m.SignerID, envelope.Signature); err != nil {
		return Manifest{}, err
	}
	if len(m.Services) > 0 {
		m.Wasm, m.ABI = nil, nil // the services replace them
	}
	if err := m.check(); err != nil {
		return Manifest{}, fmt.Errorf("%w: %w", ErrManifest, err)
	}
	return m, nil
}

// check looks at everything but the signature.
func (m *Manifest) check() error {
	switch {
	case !validPackage(m.Package):
		return errors.New("package must be 1 to 128 letters, digits, '.', '_' and '-', and start with a letter or digit")
	case !validText(m.AppVersion, maxVersion) || strings.ContainsAny(m.AppVersion, "/ "):
		return errors.New("appVersion must be a text of 1 to 64 bytes")
	case m.Wasm == nil && len(m.Services) == 0:
		return errors.New("there is neither wasm nor services")
	case len(m.Services)+len(m.Migrations) > maxArtifacts:
		return fmt.Errorf("more than %d services and migrations", maxArtifacts)
	case !isObject(m.Metadata):
		return errors.New("metadata is not an object")
	case !isObject(m.Links):
		return errors.New("links is not an object")
	}
	if _, err := ParseVersion(m.MinRuntimeVersion); err != nil {
		return fmt.Errorf("minRuntimeVersion: %w", err)
	}
	names := map[string]bool{}
	for _, s := range m.Services {
		if !validPackage(s.Name) || len(s.Name) > maxName || names[s.Name] {
			return errors.New("the names of services must be 1 to 64 letters, digits, '.', '_' and '-', and differ")
		}
		if names[s.Name] = true; s.Wasm == nil {
			return fmt.Errorf("service %s has no wasm", s.Name)
		}
	}
	return m.checkArtifacts()
}

// checkArtifacts makes sure that every file is named in one way and covered by the signature.
func (m *Manifest) checkArtifacts() error {
	seen := map[string]*Artifact{}
	for _, a := range m.artifacts() {
		path, err := CleanPath(a.Path)
		if err != nil {
			return err
		}
		hash, err := hex.DecodeString(a.Hash)
		switch other := seen[path]; {
		case err != nil || len(hash) != 32:
			return fmt.Errorf("%s: hash must be a SHA-256 in hexadecimal", path)
		case a.Size < 0:
			return fmt.Errorf("%s: a negative size", path)
		case path == manifestName:
			return fmt.Errorf("%s cannot be an artifact", path)
		case other != nil && (!strings.EqualFold(other.Hash, a.Hash) || other.Size != a.Size):
			return fmt.Errorf("%s has two hashes or sizes", path)
		}
		a.Path, a.Hash = path, strings.ToLower(a.Hash)
		seen[path] = a
	}
	return nil
}

// artifacts returns pointers to all of them.
func (m *Manifest) artifacts() []*Artifact {
	var all []*Artifact
	for _, a := range []*Artifact{m.Wasm, m.ABI} {
		if a != nil {
			all = append(all, a)
		}
	}
	for i := range m.Services {
		all = append(all, m.Services[i].Wasm)
		if m.Services[i].ABI != nil {
			all = append(all, m.Services[i].ABI)
		}
	}
	for i := range m.Migrations {
		all = append(all, &m.Migrations[i])
	}
	return all
}

// RunsOn returns an error wrapping [ErrRuntime] if the bundle needs more than the given version of the runtime.
func (m *Manifest) RunsOn(runtime Version) error {
	least, err := ParseVersion(m.MinRuntimeVersion)
	if err != nil {
		return fmt.Errorf("%w: minRuntimeVersion: %w", ErrManifest, err)
	}
	if least.Compare(runtime) > 0 {
		return fmt.Errorf("%w: at least %s", ErrRuntime, m.MinRuntimeVersion)
	}
	return nil
}

// Description returns what an installed application shows of the manifest, as JSON text.
func (m *Manifest) Description() ([]byte, error) {
	var shown struct {
		Name        json.RawMessage `json:"name,omitempty"`
		Description json.RawMessage `json:"description,omitempty"`
		Icon        json.RawMessage `json:"icon,omitempty"`
		Tags        json.RawMessage `json:"tags,omitempty"`
		License     json.RawMessage `json:"license,omitempty"`
	}
	if len(m.Metadata) > 0 && string(m.Metadata) != "null" {
		if err := strictjson.Unmarshal(m.Metadata, &shown); err != nil {
			return nil, fmt.Errorf("%w: metadata: %w", ErrManifest, err)
		}
	}
	links := m.Links
	if string(links) == "null" {
		links = nil
	}
	text, err := json.Marshal(struct {
		Package     string          `json:"package"`
		Version     string          `json:"version"`
		Name        json.RawMessage `json:"name,omitempty"`
		Description json.RawMessage `json:"description,omitempty"`
		Icon        json.RawMessage `json:"icon,omitempty"`
		Tags        json.RawMessage `json:"tags,omitempty"`
		License     json.RawMessage `json:"license,omitempty"`
		Links       json.RawMessage `json:"links,omitempty"`
	}{m.Package, m.AppVersion, shown.Name, shown.Description, shown.Icon, shown.Tags, shown.License, links})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrManifest, err)
	}
	return text, nil
}

// CleanPath returns the one spelling of the path of a file inside a bundle: relative, of plain segments, without "./" in
// front. It refuses what could lead out of a directory on any system, or name one file in two ways. The error wraps
// [ErrManifest].
func CleanPath(path string) (string, error) {
	clean := strings.TrimPrefix(path, "./")
	if !validText(clean, maxPath) || strings.ContainsAny(clean, `\:`) {
		return "", fmt.Errorf("%w: the path %.40q is not plain", ErrManifest, path)
	}
	for segment := range strings.SplitSeq(clean, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return "", fmt.Errorf("%w: the path %.40q is not plain", ErrManifest, path)
		}
	}
	return clean, nil
}

// validText accepts 1 to n bytes of UTF-8 without control characters.
func validText(s string, n int) bool {
	return s != "" && len(s) <= n && utf8.ValidString(s) &&
		!strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r >= 0x7f && r < 0xa0 })
}

// validPackage accepts what can also stand in a path and in a permission.
func validPackage(s string) bool {
	if s == "" || len(s) > maxPackage || strings.IndexByte("._-", s[0]) >= 0 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte("._-", c) < 0 {
			return false
		}
	}
	return true
}

func isObject(text json.RawMessage) bool {
	return len(text) == 0 || string(text) == "null" || text[0] == '{'
}
