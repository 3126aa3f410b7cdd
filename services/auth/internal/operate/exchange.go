package operate

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/seal"
	"github.com/calimero-network/mero-go/services/auth/internal/secret"
)

// exportPurpose is what a sealed file of secrets says that it is.
const exportPurpose = "signing secrets"

// export is the content of such a file.
type export struct {
	V       int               `json:"v"`
	Created int64             `json:"created"` // Unix seconds
	Secrets []secret.Exported `json:"secrets"`
}

// ExportSecrets returns the text of a file that holds all secrets of the store for whoever knows the passphrase.
func (s *Service) ExportSecrets(ctx context.Context, passphrase []byte) ([]byte, error) {
	plain, err := json.Marshal(export{V: 1, Created: s.Now().Unix(), Secrets: s.Secrets.Export()})
	if err != nil {
		return nil, err
	}
	text, err := seal.Lock(passphrase, exportPurpose, plain)
	if err != nil {
		return nil, err
	}
	if err := s.record(ctx, audit.SecretExported, "", ""); err != nil { // before the file leaves us
		return nil, err
	}
	s.Log.InfoContext(ctx, "secrets exported")
	return text, nil
}

// OpenExport returns the secrets in a sealed file.
func OpenExport(passphrase, text []byte) ([]secret.Exported, error) {
	plain, err := seal.Unlock(passphrase, exportPurpose, text)
	if err != nil {
		return nil, err
	}
	var e export
	if err := json.Unmarshal(plain, &e); err != nil {
		return nil, fmt.Errorf("%w: its content is no JSON", seal.ErrSealedFile)
	}
	if e.V != 1 || len(e.Secrets) == 0 {
		return nil, fmt.Errorf("%w: it has version %d and %d secrets", seal.ErrSealedFile, e.V, len(e.Secrets))
	}
	return e.Secrets, nil
}

// Import asks to add secrets: one, or those of a sealed file.
type Import struct {
	Kind   string        `json:"kind,omitempty"` // access, refresh or challenge
	ID     string        `json:"kid,omitempty"`
	Secret string        `json:"secret,omitempty"` // see ParseSecret
	Signs  bool          `json:"signs,omitempty"`  // signs from now on
	For    time.Duration `json:"for,omitempty"`    // verifies for so long; 0 for the longest life of the kind's tokens

	Sealed     []byte `json:"sealed,omitempty"`
	Passphrase []byte `json:"passphrase,omitempty"`
}

// Imported says what an import did.
type Imported struct {
	Added int `json:"added"`
	Known int `json:"known"` // were there already
}

// ImportSecrets adds secrets. Those of a sealed file verify from now on, until what they signed has expired; none of
// them signs.
func (s *Service) ImportSecrets(ctx context.Context, i Import) (Imported, error) {
	list, err := s.additions(i)
	if err != nil {
		return Imported{}, err
	}
	added, err := s.Secrets.Import(ctx, list...)
	if err != nil {
		return Imported{}, err
	}
	return Imported{Added: added, Known: len(list) - added}, s.Published.Sync()
}

var importable = []secret.Kind{secret.Access, secret.Refresh, secret.Challenge}

func (s *Service) additions(i Import) ([]secret.Addition, error) {
	now := s.Now()
	if i.Sealed != nil {
		exported, err := OpenExport(i.Passphrase, i.Sealed)
		if err != nil {
			return nil, err
		}
		var list []secret.Addition
		for _, e := range exported {
			until := now.Add(s.Lifetimes[e.Kind])
			if e.Retired != 0 && e.LastExp != 0 {
				until = time.Unix(e.LastExp, 0)
			}
			list = append(list, secret.Addition{Kind: e.Kind, ID: e.ID, Secret: e.Secret, Until: until})
		}
		return list, nil
	}
	for _, kind := range importable {
		if string(kind) != i.Kind {
			continue
		}
		raw, err := ParseSecret(i.Secret)
		if err != nil {
			return nil, err
		}
		span := i.For
		if span <= 0 {
			span = s.Lifetimes[kind]
		}
		return []secret.Addition{{Kind: kind, ID: i.ID, Secret: raw, Until: now.Add(span), Signs: i.Signs}}, nil
	}
	return nil, fmt.Errorf("%w %q: want one of %v", ErrKind, i.Kind, importable)
}

// ParseSecret reads the text of a secret of 32 bytes: base64 or base64url, with or without padding, or hexadecimal.
// The error does not repeat it.
func ParseSecret(text string) ([]byte, error) {
	text = strings.TrimSpace(text)
	if raw, err := hex.DecodeString(text); err == nil && len(raw) == secret.Size {
		return raw, nil
	}
	bare := strings.TrimRight(text, "=")
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		if raw, err := encoding.Strict().DecodeString(bare); err == nil && len(raw) == secret.Size {
			return raw, nil
		}
	}
	return nil, errors.Join(secret.ErrUnfit, errors.New("want 32 bytes in base64, base64url or hexadecimal"))
}
