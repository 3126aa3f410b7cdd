// Package operate is what an operator on the host can do past the API: look after the secrets, back up and recover.
//
// The same service runs in the process that serves, behind its control socket, and in a command on a store that is not
// in use.
package operate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/backup"
	"github.com/calimero-network/mero-go/services/auth/internal/bootstrap"
	"github.com/calimero-network/mero-go/services/auth/internal/gatekey"
	"github.com/calimero-network/mero-go/services/auth/internal/highwater"
	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/secret"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// Assertion is the kind of the keys that gate and node share, which are no secret of the store.
const Assertion = "assertion"

// The errors of the package; match them with errors.Is.
var (
	ErrKind       = errors.New("unknown kind")
	ErrEnvMaster  = errors.New("the master key comes from the environment, so its successor must be given")
	ErrNoSuchKey  = errors.New("there is no such key")
	ErrNotLiveKey = errors.New("only a live root key can become an administrator")
)

// Service operates one open store. Set the fields before use.
type Service struct {
	DB        kv.DB
	Records   *store.Store
	Secrets   *secret.Keyring
	Master    *Master
	Shared    *gatekey.Shared
	Published *gatekey.Published
	Bootstrap *bootstrap.Service
	Mark      *highwater.Mark               // nil for a store that does not last
	Lifetimes map[secret.Kind]time.Duration // the longest life of a token of the kind
	Program   string                        // name and version, for backups
	Now       func() time.Time
	Log       *slog.Logger
}

// Key describes a secret of the store or a shared key, without revealing it.
type Key struct {
	Kind    string    `json:"kind"`
	ID      string    `json:"kid"`
	State   string    `json:"state"`
	Created time.Time `json:"created,omitzero"`
	From    time.Time `json:"from,omitzero"`     // when it begins to sign
	Retired time.Time `json:"retired,omitzero"`  // when it stops signing
	LastExp time.Time `json:"last_exp,omitzero"` // nothing that it signed is valid later
	Until   time.Time `json:"until,omitzero"`    // when it stops verifying
}

// ListSecrets describes all secrets and shared keys, by kind, the newest first.
func (s *Service) ListSecrets(context.Context) ([]Key, error) {
	var list []Key
	for _, k := range s.Secrets.List() {
		list = append(list, Key{
			string(k.Kind), k.ID, string(k.State), utc(k.Created), utc(k.From), utc(k.Retired), utc(k.LastExp), utc(k.Until),
		})
	}
	shared, err := s.Shared.List()
	if err != nil {
		return nil, err
	}
	for _, k := range shared {
		list = append(list, Key{Kind: Assertion, ID: k.ID, State: string(k.State), From: k.From, Until: k.Until})
	}
	return list, nil
}

func utc(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC()
}

// RotatableKinds are the kinds that Rotate takes.
func RotatableKinds() []string {
	var names []string
	for _, k := range secret.Kinds() {
		names = append(names, string(k))
	}
	return append(names, Assertion)
}

// Rotation asks for new signing keys.
type Rotation struct {
	Kinds []string `json:"kinds"`
	Now   bool     `json:"now"` // the old ones end at once
}

// Rotated is a new key.
type Rotated struct {
	Kind string `json:"kind"`
	ID   string `json:"kid"`
	Now  bool   `json:"now"`
}

// RotateSecrets makes new signing keys, one kind after the other. What is done when a kind fails stays done, and the
// error says so.
func (s *Service) RotateSecrets(ctx context.Context, r Rotation) ([]Rotated, error) {
	known := RotatableKinds()
	for _, kind := range r.Kinds {
		if !slices.Contains(known, kind) {
			return nil, fmt.Errorf("%w %q: want one of %v", ErrKind, kind, known)
		}
	}
	var done []Rotated
	for _, kind := range r.Kinds {
		kid, err := s.rotate(ctx, kind, r.Now)
		if err != nil {
			return nil, fmt.Errorf("kind %s: %w (done before it: %v)", kind, err, done)
		}
		done = append(done, Rotated{kind, kid, r.Now})
	}
	return done, nil
}

func (s *Service) rotate(ctx context.Context, kind string, now bool) (kid string, err error) {
	if kind == Assertion {
		return s.rotateShared(ctx, now)
	}
	if err := s.Secrets.Rotate(ctx, secret.Kind(kind), now); err != nil {
		return "", err
	}
	if now && s.Mark != nil { // an old copy of the store would bring back what was withdrawn
		if err := s.Mark.Raise(ctx, time.Time{}); err != nil {
			s.Log.WarnContext(ctx, "the mark of the store could not be raised: an old copy put back may go unnoticed", "error", err)
		}
	}
	if kind == string(secret.JWKS) {
		if err := s.Published.Sync(); err != nil {
			return "", err
		}
	}
	for _, k := range s.Secrets.List() {
		if string(k.Kind) == kind {
			return k.ID, nil // the newest
		}
	}
	return "", fmt.Errorf("%w %q", ErrKind, kind)
}

// rotateShared rotates the keys in the file, which no transaction of the store covers.
func (s *Service) rotateShared(ctx context.Context, now bool) (string, error) {
	kid, err := s.Shared.Rotate(ctx, now)
	if err != nil {
		return "", err
	}
	detail := "kid " + kid
	if now {
		detail += ", all that the old ones signed is void"
	}
	return kid, s.record(ctx, audit.SecretRotated, Assertion, detail)
}

// record writes an audit record of something that changes nothing else in the store.
func (s *Service) record(ctx context.Context, action audit.Action, subject, detail string) error {
	return s.Records.Audit.Record(ctx, audit.Event{Time: s.Now(), Action: action, Actor: audit.ByHost, Subject: subject, Detail: detail})
}

// Backup writes a backup of the store; see package backup.
func (s *Service) Backup(ctx context.Context, w io.Writer) error {
	if err := s.record(ctx, audit.StoreBackedUp, "", ""); err != nil { // before: the backup tells of itself
		return err
	}
	records, err := backup.Write(ctx, w, backup.Source{DB: s.DB, Master: s.Master.Key(), Program: s.Program, Now: s.Now()})
	if err != nil {
		return err
	}
	s.Log.InfoContext(ctx, "backup written", "records", records)
	return nil
}

// Recovery asks for a way back in.
type Recovery struct {
	Key string `json:"key,omitempty"` // the root key to make an administrator; "" re-opens the bootstrap once
}

// Recover gives a root key all rights, or re-opens the bootstrap for one login: whoever presents the secret that it
// returns with a login becomes administrator.
func (s *Service) Recover(ctx context.Context, r Recovery) (bootstrap.Shown, error) {
	if r.Key == "" {
		return s.Bootstrap.Recover(ctx)
	}
	err := s.Records.Update(ctx, func(tx *store.Tx) error {
		key, err := tx.Key(r.Key)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return fmt.Errorf("%w: %s", ErrNoSuchKey, r.Key)
		case err != nil:
			return err
		case key.Type != store.Root || !key.Live(s.Now()):
			return fmt.Errorf("%w: %s", ErrNotLiveKey, r.Key)
		}
		if err := tx.SetPermissions(key.ID, []string{"admin"}); err != nil {
			return err
		}
		return tx.Audit(audit.Event{
			Time: s.Now(), Action: audit.PermissionsChanged, Actor: audit.ByHost, Subject: key.ID, Detail: "recovered; permissions admin",
		})
	})
	if err != nil {
		return bootstrap.Shown{}, err
	}
	s.Log.WarnContext(ctx, "a root key was made administrator on the host", "key_id", r.Key)
	return bootstrap.Shown{State: bootstrap.Closed}, nil
}
