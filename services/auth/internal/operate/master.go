package operate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/seal"
	"github.com/calimero-network/mero-go/services/auth/internal/secret"
)

// sealPurpose is what the master key seals.
const sealPurpose = "secrets"

// MasterSource says where the master key is: in Text, or else in File.
type MasterSource struct {
	Text string // in base64, of the environment
	File string
}

// Master is the master key of an open store.
type Master struct {
	source MasterSource
	key    atomic.Pointer[seal.Master]
}

// Key returns the present master key.
func (m *Master) Key() *seal.Master { return m.key.Load() }

// OpenSecrets opens the master key and the secrets of the store. A fresh store gets both. A change of the master key
// that a dead process has begun is finished or undone.
func OpenSecrets(ctx context.Context, db kv.DB, src MasterSource, opt secret.Options) (*secret.Keyring, *Master, error) {
	fresh, err := secret.Fresh(ctx, db)
	if err != nil {
		return nil, nil, err
	}
	master, err := seal.OpenMaster(seal.Source{Text: src.Text, File: src.File, Generate: fresh})
	if err != nil {
		return nil, nil, fmt.Errorf("secrets.master_key: %w", err)
	}
	keyring, err := openKeyring(ctx, db, master, opt)
	m := &Master{source: src}
	switch {
	case err == nil:
		m.key.Store(master)
		return keyring, m, m.undo(ctx, opt.Log)
	case src.Text == "" && errors.Is(err, seal.ErrWrongMaster):
		if keyring, master := m.finish(ctx, db, opt); keyring != nil {
			m.key.Store(master)
			return keyring, m, nil
		}
	}
	return nil, nil, m.explain(ctx, db, err, opt)
}

func openKeyring(ctx context.Context, db kv.DB, master *seal.Master, opt secret.Options) (*secret.Keyring, error) {
	sealer, err := master.Sealer(sealPurpose)
	if err != nil {
		return nil, err
	}
	return secret.Open(ctx, db, sealer, opt)
}

// undo removes a coming master key that nothing is sealed under.
func (m *Master) undo(ctx context.Context, log *slog.Logger) error {
	if m.source.Text != "" {
		return nil
	}
	if _, err := os.Lstat(seal.NextFile(m.source.File)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	log.WarnContext(ctx, "a change of the master key was interrupted before it began: the master key is the old one", "file", m.source.File)
	return seal.Discard(m.source.File)
}

// finish opens a store that is sealed under the coming master key and puts that in its place; nil when it is not.
func (m *Master) finish(ctx context.Context, db kv.DB, opt secret.Options) (*secret.Keyring, *seal.Master) {
	next, err := seal.OpenMaster(seal.Source{File: seal.NextFile(m.source.File)})
	if err != nil {
		return nil, nil
	}
	keyring, err := openKeyring(ctx, db, next, opt)
	if err != nil {
		return nil, nil
	}
	if err := seal.Promote(m.source.File); err != nil {
		opt.Log.ErrorContext(ctx, "the store opens with the coming master key, which cannot be put in the place of the old one", "error", err)
		return nil, nil
	}
	opt.Log.WarnContext(ctx, "an interrupted change of the master key is finished: the new one is in force", "file", m.source.File)
	return keyring, next
}

// explain adds what the operator can do about a wrong master key.
func (m *Master) explain(ctx context.Context, db kv.DB, cause error, opt secret.Options) error {
	if !errors.Is(cause, seal.ErrWrongMaster) {
		return cause
	}
	where := "secrets.master_key"
	if m.source.Text == "" {
		where = m.source.File
		if previous, err := seal.OpenMaster(seal.Source{File: seal.PreviousFile(where)}); err == nil {
			if _, err := openKeyring(ctx, db, previous, opt); err == nil {
				return fmt.Errorf("%w: the one before it, %s, is the right one: the store is older than the last change of the master key", cause, seal.PreviousFile(where))
			}
		}
	}
	return fmt.Errorf("%w: %s is not the master key of this store; put the right one there (docs/recipes.md, Lost master key)", cause, where)
}

// MasterChange asks for another master key.
type MasterChange struct {
	Key string `json:"key,omitempty"` // in base64; "" makes one, where the master key is in a file
}

// MasterChanged says what a change of the master key left to do.
type MasterChanged struct {
	File     string `json:"file,omitempty"`     // holds the new key now
	Previous string `json:"previous,omitempty"` // holds the old one, for the backups that were made with it
}

// ChangeMaster seals the secrets under another master key. The steps are those of package seal: whichever is the last
// before a crash, the store starts.
func (s *Service) ChangeMaster(ctx context.Context, c MasterChange) (MasterChanged, error) {
	m := s.Master
	if m.source.Text != "" {
		return MasterChanged{}, s.changeText(ctx, c)
	}
	next, err := seal.Prepare(m.source.File, c.Key)
	if err != nil {
		return MasterChanged{}, fmt.Errorf("prepare the new master key: %w", err)
	}
	if err := s.rewrap(ctx, next); err != nil {
		return MasterChanged{}, err
	}
	if err := seal.Promote(m.source.File); err != nil {
		return MasterChanged{}, fmt.Errorf("the secrets are sealed under the new key in %s: put it in the place of %s: %w", seal.NextFile(m.source.File), m.source.File, err)
	}
	return MasterChanged{File: m.source.File, Previous: seal.PreviousFile(m.source.File)}, nil
}

func (s *Service) changeText(ctx context.Context, c MasterChange) error {
	if c.Key == "" {
		return ErrEnvMaster
	}
	next, err := seal.OpenMaster(seal.Source{Text: c.Key})
	if err != nil {
		return err
	}
	return s.rewrap(ctx, next)
}

func (s *Service) rewrap(ctx context.Context, next *seal.Master) error {
	sealer, err := next.Sealer(sealPurpose)
	if err != nil {
		return err
	}
	if err := s.Secrets.Rewrap(ctx, sealer); err != nil {
		return err
	}
	s.Master.key.Store(next)
	return nil
}

// ResetSecrets gives a store whose master key is lost another one and new secrets, or those of an export. Nothing of
// what the old ones sealed can be read any more; keys, accounts and permissions stay. When the master key is in a
// file, a file that is there already is used if nothing else is wrong with it.
func ResetSecrets(ctx context.Context, db kv.DB, src MasterSource, from []secret.Exported, now time.Time) error {
	master, err := seal.OpenMaster(seal.Source{Text: src.Text, File: src.File, Generate: true})
	if err != nil {
		return fmt.Errorf("secrets.master_key: %w", err)
	}
	sealer, err := master.Sealer(sealPurpose)
	if err != nil {
		return err
	}
	return secret.Reset(ctx, db, sealer, now, from)
}
