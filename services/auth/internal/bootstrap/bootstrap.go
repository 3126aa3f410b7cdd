// Package bootstrap guards how the first root key comes into an empty store: nobody is trusted for being first.
//
// An empty store gets a one-time secret. Whoever presents it with a valid login becomes the first administrator,
// in the transaction that writes the key. Once any root key ever existed the door is closed for good, unless an
// operator on the host opens it once more (Recover).
package bootstrap

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/owner"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// Lifetime is how long a secret can be used; after it `mero-auth bootstrap show --renew` makes another.
const Lifetime = 24 * time.Hour

// FileName is the file in the storage directory that holds the text of the secret while it can be used.
const FileName = "bootstrap.secret"

// The modes of configuration bootstrap.mode.
const (
	ModeSecret     = "secret"
	ModeFirstLogin = "first-login" // for tests on a loopback listener
)

// The outcomes of a refused attempt; match them with errors.Is.
var (
	ErrClosed  = errors.New("bootstrap is closed: a root key exists or existed")
	ErrLapsed  = errors.New("the bootstrap secret has lapsed: run `mero-auth bootstrap show --renew` on the host")
	ErrWrong   = errors.New("wrong bootstrap secret")
	ErrLimited = errors.New("too many wrong bootstrap secrets")
)

// Service is the bootstrap use case. Set the exported fields before use.
type Service struct {
	Store      *store.Store
	Dir        string // where FileName lives
	Mode       string
	Configured string // a secret fixed by configuration, "" for a random one
	Now        func() time.Time
	Log        *slog.Logger

	tries tries
	mu    sync.Mutex // held while hash and file may change, which must happen together
}

// State says what [Service.Show] found.
type State string

// The states of the bootstrap.
const (
	Open   State = "open"
	Lapsed State = "lapsed"
	Closed State = "closed"
)

// Shown is what an operator on the host is told.
type Shown struct {
	State   State     `json:"state"`
	Secret  string    `json:"secret,omitempty"`
	Expires time.Time `json:"expires,omitzero"`

	// Recovery says that root keys exist and that an operator opened the bootstrap once more.
	Recovery bool `json:"recovery,omitempty"`
}

// Ensure prepares the secret of an empty store: it keeps a usable one, makes one where there is none, and
// removes the file of a store that has a root key. A configured secret that has lapsed counts anew.
func (s *Service) Ensure(ctx context.Context) (Shown, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	shown, err := s.show(ctx, false)
	if err == nil && shown.State == Lapsed && s.Configured != "" {
		return s.renew(ctx, audit.BySystem)
	}
	return shown, err
}

// Show returns the state and, while it can be used, the secret. renew replaces an unused secret by a new one, and
// so does a file that does not hold the text of the stored hash.
func (s *Service) Show(ctx context.Context, renew bool) (Shown, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.show(ctx, renew)
}

func (s *Service) show(ctx context.Context, renew bool) (Shown, error) {
	b, everRoot, err := s.state(ctx)
	switch {
	case err != nil:
		return Shown{}, err
	case b.Recovery && s.Now().Unix() < b.Expires:
		return s.recovering(ctx, b)
	case b.Closed || everRoot:
		return Shown{State: Closed}, s.removeFile()
	case s.Mode == ModeFirstLogin:
		return Shown{State: Open}, nil
	case renew:
		return s.renew(ctx, audit.ByHost)
	case b.SHA256 == nil || s.configuredChanged(b):
		return s.renew(ctx, audit.BySystem)
	}
	shown := Shown{State: Open, Expires: time.Unix(b.Expires, 0)}
	switch {
	case s.Now().Unix() >= b.Expires:
		shown.State = Lapsed
		return shown, s.removeFile()
	case s.Configured != "":
		return shown, s.removeFile() // left by the random secret before it
	}
	if shown.Secret, err = s.readFile(); err != nil || !matches(b, shown.Secret) {
		s.Log.WarnContext(ctx, "the file of the bootstrap secret is lost or changed, a new secret takes its place", "error", err)
		return s.renew(ctx, audit.BySystem)
	}
	return shown, nil
}

// Recover opens the bootstrap for one more login although root keys exist, with a new random secret that is valid
// for [Lifetime]: the way back in for whoever controls the host. On a store without a root key it renews the secret.
func (s *Service) Recover(ctx context.Context) (Shown, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, everRoot, err := s.state(ctx)
	if err != nil {
		return Shown{}, err
	}
	if !now.Closed && !everRoot {
		return s.renew(ctx, audit.ByHost)
	}
	text := generate()
	sum := sha256.Sum256([]byte(normalise(text)))
	b := store.Bootstrap{SHA256: sum[:], Expires: s.Now().Add(Lifetime).Unix(), Recovery: true}
	err = s.Store.Update(ctx, func(tx *store.Tx) error {
		return errors.Join(tx.PutBootstrap(b), tx.Audit(audit.Event{
			Time: s.Now(), Action: audit.BootstrapReopened, Actor: audit.ByHost, Subject: "bootstrap",
		}))
	})
	if err != nil {
		return Shown{}, fmt.Errorf("store the recovery secret: %w", err)
	}
	s.Log.WarnContext(ctx, "the bootstrap was opened once more on the host: the next login with its secret becomes administrator", "expires", time.Unix(b.Expires, 0))
	return Shown{State: Open, Recovery: true, Secret: text, Expires: time.Unix(b.Expires, 0)}, s.writeFile(text)
}

// recovering shows a recovery that is under way. Its secret is never made anew without Recover.
func (s *Service) recovering(ctx context.Context, b store.Bootstrap) (Shown, error) {
	shown := Shown{State: Open, Recovery: true, Expires: time.Unix(b.Expires, 0)}
	text, err := s.readFile()
	if err != nil || !matches(b, text) {
		s.Log.WarnContext(ctx, "the file of the recovery secret is lost or changed: run `mero-auth keys recover` again", "error", err)
		return Shown{State: Lapsed, Recovery: true}, nil
	}
	shown.Secret = text
	return shown, nil
}

// state reads the stored state and whether a root key was ever stored.
func (s *Service) state(ctx context.Context) (b store.Bootstrap, everRoot bool, err error) {
	err = s.Store.View(ctx, func(tx *store.Tx) (err error) {
		everRoot = tx.AnyRootEver()
		b, err = tx.Bootstrap()
		return err
	})
	if err != nil {
		return b, false, fmt.Errorf("read the bootstrap state: %w", err)
	}
	return b, everRoot, nil
}

func (s *Service) configuredChanged(b store.Bootstrap) bool {
	if s.Configured == "" {
		return false
	}
	sum := sha256.Sum256([]byte(s.Configured))
	return subtle.ConstantTimeCompare(sum[:], b.SHA256) != 1
}

// renew stores the hash of a new secret and its text in the file, in that order: a crash in between leaves a
// secret that nobody knows, and the next start, which misses its text, makes another. The audit names by.
func (s *Service) renew(ctx context.Context, by string) (Shown, error) {
	text, sum := s.Configured, sha256.Sum256([]byte(s.Configured))
	if text == "" {
		text = generate()
		sum = sha256.Sum256([]byte(normalise(text)))
	}
	b := store.Bootstrap{SHA256: sum[:], Expires: s.Now().Add(Lifetime).Unix()}
	err := s.Store.Update(ctx, func(tx *store.Tx) error {
		now, err := tx.Bootstrap()
		if err != nil {
			return err
		}
		if now.Closed || tx.AnyRootEver() {
			return ErrClosed
		}
		if err := tx.PutBootstrap(b); err != nil {
			return err
		}
		return tx.Audit(audit.Event{Time: s.Now(), Action: audit.BootstrapRenewed, Actor: by, Subject: "bootstrap"})
	})
	switch {
	case errors.Is(err, ErrClosed): // by a login meanwhile
		return Shown{State: Closed}, s.removeFile()
	case err != nil:
		return Shown{}, fmt.Errorf("store the bootstrap secret: %w", err)
	}
	shown := Shown{State: Open, Secret: text, Expires: time.Unix(b.Expires, 0)}
	if s.Configured != "" {
		shown.Secret = "" // whoever configured it knows it; it is not copied to disk
		return shown, s.removeFile()
	}
	return shown, s.writeFile(text)
}

// Check decides whether presented lets an unknown identity become the first administrator, before the
// identity is proved. Wrong secrets are counted per peer: after five in a minute all are refused.
func (s *Service) Check(ctx context.Context, peer, presented string) error {
	b, everRoot, err := s.state(ctx)
	switch {
	case err != nil:
		return err
	case b.Recovery && (presented == "" || s.Now().Unix() >= b.Expires):
		return ErrClosed // for everybody else nothing has changed
	case !b.Recovery && (b.Closed || everRoot):
		return ErrClosed
	case !b.Recovery && s.Mode == ModeFirstLogin:
		return nil
	case presented == "" || b.SHA256 == nil:
		return ErrWrong
	}
	now, right := s.Now(), matches(b, presented)
	switch {
	case !s.tries.admit(peer, now, right):
		return ErrLimited
	case !right:
		return ErrWrong
	case now.Unix() >= b.Expires:
		return ErrLapsed
	}
	return nil
}

// Consume closes the bootstrap in the transaction that creates the first root key. It must follow a Check of
// the same secret; when another login won meanwhile it returns ErrClosed.
func (s *Service) Consume(tx *store.Tx, presented string) error {
	b, err := tx.Bootstrap()
	switch {
	case err != nil:
		return err
	case !b.Recovery && (b.Closed || tx.AnyRootEver()):
		return ErrClosed
	case (b.Recovery || s.Mode != ModeFirstLogin) && !matches(b, presented):
		return ErrWrong
	}
	return s.Close(tx)
}

// Close shuts the bootstrap for good.
func (s *Service) Close(tx *store.Tx) error { return tx.PutBootstrap(store.Bootstrap{Closed: true}) }

// Closed removes the file after the transaction that closed the bootstrap was committed. A file that cannot be
// removed holds a secret that is of no use any more, so this only warns.
func (s *Service) Closed(ctx context.Context) {
	if err := s.removeFile(); err != nil {
		s.Log.WarnContext(ctx, "the used bootstrap secret could not be removed", "error", err)
	}
}

func matches(b store.Bootstrap, presented string) bool {
	exact, relaxed := sha256.Sum256([]byte(presented)), sha256.Sum256([]byte(normalise(presented)))
	return subtle.ConstantTimeCompare(exact[:], b.SHA256)|subtle.ConstantTimeCompare(relaxed[:], b.SHA256) == 1
}

// crockford is the alphabet of Crockford's base 32: no I, L, O, U.
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// generate returns 120 random bits as six groups of four Crockford base-32 characters.
func generate() string {
	var random [24]byte
	_, _ = rand.Read(random[:]) // crypto/rand never fails (it crashes the program instead)
	var out strings.Builder
	for i, b := range random {
		if i > 0 && i%4 == 0 {
			out.WriteByte('-')
		}
		out.WriteByte(crockford[b%32])
	}
	return out.String()
}

// normalise maps what people type to what was generated: case, hyphens and blanks do not matter, and the
// letters that Crockford's alphabet leaves out read as the digits they resemble.
func normalise(s string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case '-', ' ':
			return -1
		case 'i', 'I', 'l', 'L':
			return '1'
		case 'o', 'O':
			return '0'
		}
		if r >= 'a' && r <= 'z' {
			return r - 'a' + 'A'
		}
		return r
	}, s)
}

// Path returns the path of the file that holds the secret.
func (s *Service) Path() string { return filepath.Join(s.Dir, FileName) }

func (s *Service) readFile() (string, error) {
	raw, err := os.ReadFile(s.Path())
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the bootstrap secret: %w", err)
	}
	return strings.TrimSpace(string(raw)), nil
}

func (s *Service) writeFile(text string) error {
	if err := s.removeFile(); err != nil {
		return err
	}
	f, err := os.OpenFile(s.Path(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write the bootstrap secret: %w", err)
	}
	_, err = f.WriteString(text + "\n")
	if err = errors.Join(err, owner.Adopt(f), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write the bootstrap secret: %w", err)
	}
	return nil
}

func (s *Service) removeFile() error {
	if err := os.Remove(s.Path()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the bootstrap secret: %w", err)
	}
	return nil
}

// IsOpen reports whether the store still waits for its first root key.
func (s *Service) IsOpen(ctx context.Context) (bool, error) {
	open := false
	err := s.Store.View(ctx, func(tx *store.Tx) error {
		b, err := tx.Bootstrap()
		open = !b.Closed && !tx.AnyRootEver()
		return err
	})
	return open, err
}
