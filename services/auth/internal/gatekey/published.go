package gatekey

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/calimero-network/mero-go/pkg/assertion"
	"github.com/calimero-network/mero-go/services/auth/internal/owner"
	"github.com/calimero-network/mero-go/services/auth/internal/secret"
)

// Published signs with the Ed25519 keys of the store and publishes their public halves. It is safe for concurrent
// use.
type Published struct {
	keys *secret.Keyring
	path string // of the file that always holds the set, "" for none

	signing atomic.Pointer[assertion.SigningKey] // the key that signed last
	set     atomic.Pointer[publishedSet]
}

// publishedSet is the text of the set as it was made last.
type publishedSet struct {
	ids  string
	text []byte
}

// NewPublished returns the keys of the keyring. When path is set, [Published.Run] keeps the set in that file for
// nodes that read it from there.
func NewPublished(keys *secret.Keyring, path string) *Published {
	return &Published{keys: keys, path: path}
}

// Sign returns the assertion of version 2 for the claim, ending at exp.
func (p *Published) Sign(c assertion.Claim, exp time.Time) string {
	key := p.keys.Signing(secret.JWKS)
	signing := p.signing.Load()
	if signing == nil || signing.ID() != key.ID {
		fresh, err := assertion.NewSigningKey(key.Secret)
		if err != nil {
			return "" // never: the keyring holds seeds; and without an assertion the node refuses
		}
		signing = &fresh
		p.signing.Store(signing)
	}
	return signing.Sign(c, exp)
}

// JWKS returns the public keys that a node must know now, as a JSON Web Key Set. It is shared with everybody and must
// not be changed.
func (p *Published) JWKS() []byte {
	listed := p.keys.Published()
	var ids bytes.Buffer
	for _, k := range listed {
		ids.WriteString(k.ID)
	}
	if set := p.set.Load(); set != nil && set.ids == ids.String() {
		return set.text
	}
	keys := make([]assertion.PublicKey, 0, len(listed))
	for _, k := range listed {
		if key, err := assertion.NewSigningKey(k.Secret); err == nil { // always: the keyring holds seeds
			keys = append(keys, key.Public())
		}
	}
	set := &publishedSet{ids: ids.String(), text: assertion.FormatJWKS(keys...)}
	p.set.Store(set)
	return set.text
}

// Sync writes the file when it does not hold the present set.
func (p *Published) Sync() error {
	if p.path == "" {
		return nil
	}
	text := p.JWKS()
	old, err := os.ReadFile(p.path)
	if err == nil && bytes.Equal(old, text) {
		return nil
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = os.MkdirAll(filepath.Dir(p.path), 0o750)
	}
	if err == nil {
		err = owner.Replace(p.path, text, 0o644)
	}
	if err != nil {
		return fmt.Errorf("write the published keys: %w", err)
	}
	return nil
}

// syncInterval is well below the time that a key is published before it signs.
const syncInterval = 5 * time.Second

// Run keeps the file up to date until ctx ends. A failure is logged when it begins and tried again.
func (p *Published) Run(ctx context.Context, log *slog.Logger) {
	if p.path == "" {
		return
	}
	tick := time.NewTicker(syncInterval)
	defer tick.Stop()
	failing := false
	for {
		err := p.Sync()
		if err != nil && !failing {
			log.ErrorContext(ctx, "nodes that read the published keys from the file miss new ones", "file", p.path, "error", err)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
