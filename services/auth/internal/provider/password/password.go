// Package password proves an identity by user name and password. Records are argon2id hashes in PHC strings.
//
// A user name is its bytes: no case is folded, no Unicode form normalised and no blank trimmed, so an account has
// exactly one spelling, and limits that count by name cannot be spread over variants of it. Passwords are bytes
// too; NUL and all that follows it counts.
package password

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/provider"
)

// What a zero setting means.
const (
	defaultMinLength  = 8
	defaultMaxLength  = 128
	defaultMemoryKiB  = 19456 // with two passes and one lane, the minimum that OWASP names for argon2id
	defaultIterations = 2
)

const (
	maxName       = 64  // bytes of a user name
	maxWaiting    = 256 // attempts that wait for a slot
	maxWait       = 10 * time.Second
	saltBytes     = 16
	checksumBytes = 32
)

var errNothingToChange = fmt.Errorf("%w: new_password is for an account that exists", provider.ErrMalformed)

// errWrong is the one answer to a wrong password and to a user that does not exist.
var errWrong = fmt.Errorf("%w: wrong user name or password", provider.ErrRejected)

// Provider is the user_password provider. It must not be copied after first use.
type Provider struct {
	// Config holds the limits. A zero setting means its default.
	Config config.UserPassword

	// Accounts returns the id of the root key and the PHC string of a user, or found = false.
	Accounts func(ctx context.Context, name string) (keyID, phc string, found bool, err error)

	start sync.Once
	slots chan struct{} // one element for each hash that is being computed
	queue chan struct{} // one element for each of those and each attempt that waits

	hash func(password, salt []byte, passes, memory uint32, lanes uint8, size uint32) []byte // nil: argon2.IDKey
}

// Name implements [provider.Provider].
func (*Provider) Name() string { return "user_password" }

// Aliases implements [provider.Provider].
func (*Provider) Aliases() []string { return []string{"username_password"} }

// Info implements [provider.Provider].
func (p *Provider) Info() provider.Info {
	return provider.Info{
		Type:        "credentials",
		Description: "User name and password",
		Configured:  true,
		Config:      map[string]any{"min_password_length": p.minLength(), "max_password_length": p.maxLength()},
	}
}

// Authenticate implements [provider.Provider]. provider_data is {username, password, new_password?}; other members,
// such as bootstrap_secret, are not its business. A new_password takes the place of the right password.
//
// Whether a user exists shows neither in the error nor in the work: every attempt that passes the rules on form
// costs one hash. (A right password costs a second one when it is changed, or when its stored hash has other
// parameters than today's.) With a.Bootstrap, an unknown user is a new account; a caller that has not yet checked the
// bootstrap secret must therefore not set it.
func (p *Provider) Authenticate(ctx context.Context, a provider.Attempt) (provider.Proof, error) {
	name, password, replacement, err := p.decode(a.Data)
	if err != nil {
		return provider.Proof{}, err
	}
	keyID, phc, found, err := p.Accounts(ctx, name)
	if err != nil {
		return provider.Proof{}, fmt.Errorf("look up the account: %w", err)
	}
	if !found && a.Bootstrap {
		if replacement != nil {
			return provider.Proof{}, errNothingToChange
		}
		return p.NewAccount(ctx, name, password)
	}
	if !found {
		phc = p.decoy().String()
	}
	ok, err := p.Verify(ctx, phc, password)
	if err != nil {
		return provider.Proof{}, err
	}
	if !found || !ok {
		return provider.Proof{}, errWrong
	}
	proof := provider.Proof{KeyID: keyID, PublicKey: name, Account: name, Verified: phc}
	switch {
	case replacement != nil:
		if proof.PasswordHash, err = p.newHash(ctx, *replacement); err != nil {
			return provider.Proof{}, err
		}
		proof.Changed = true
	case p.NeedsRehash(phc):
		// Without a new hash the old one stays, which is no reason to refuse.
		if renewed, err := p.newHash(ctx, password); err == nil {
			proof.PasswordHash = renewed
		}
	}
	return proof, nil
}

// Enroll implements [provider.Provider]. provider_data is {username, password}.
func (p *Provider) Enroll(ctx context.Context, a provider.Attempt) (provider.Proof, error) {
	name, password, replacement, err := p.decode(a.Data)
	if err != nil {
		return provider.Proof{}, err
	}
	if replacement != nil {
		return provider.Proof{}, errNothingToChange
	}
	return p.NewAccount(ctx, name, password)
}

// NewAccount returns what to store for a new account, or for a new password of an existing one. It checks the
// form of the name and both limits of the password; errors wrap [provider.ErrMalformed], or
// [provider.ErrUnavailable] when ctx ends while all slots are busy.
func (p *Provider) NewAccount(ctx context.Context, name, password string) (provider.Proof, error) {
	if err := checkName(name); err != nil {
		return provider.Proof{}, fmt.Errorf("%w: %w", provider.ErrMalformed, err)
	}
	if err := p.checkNew("password", password); err != nil {
		return provider.Proof{}, err
	}
	phc, err := p.newHash(ctx, password)
	if err != nil {
		return provider.Proof{}, err
	}
	return provider.Proof{PublicKey: name, Account: name, PasswordHash: phc}, nil
}

// newHash returns a PHC string for password with today's parameters and a fresh salt.
func (p *Provider) newHash(ctx context.Context, password string) (phc string, err error) {
	r := record{cost: p.cost(), salt: make([]byte, saltBytes)}
	rand.Read(r.salt) // never fails
	r.checksum, err = p.derive(ctx, password, r.cost, r.salt, checksumBytes)
	return r.String(), err
}

// Verify reports whether password is the one that phc was made from. It costs one hash with the parameters of
// phc. Errors wrap [provider.ErrUnavailable] when ctx ends while all slots are busy; a malformed phc is an
// internal error.
func (p *Provider) Verify(ctx context.Context, phc, password string) (bool, error) {
	r, err := parsePHC(phc)
	if err != nil {
		return false, err
	}
	sum, err := p.derive(ctx, password, r.cost, r.salt, uint32(len(r.checksum))) //nolint:gosec // at most maxChecksum
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(sum, r.checksum) == 1, nil
}

// NeedsRehash reports whether phc was made with other parameters than those of a new account, so that the
// password is worth storing anew the next time it is known.
func (p *Provider) NeedsRehash(phc string) bool {
	r, err := parsePHC(phc)
	return err != nil || r.cost != p.cost() || len(r.salt) != saltBytes || len(r.checksum) != checksumBytes
}

// decode reads provider_data and checks the form of what it holds, before anything is looked up or hashed. replacement
// is nil unless the password is to be changed.
func (p *Provider) decode(data json.RawMessage) (name, password string, replacement *string, err error) {
	var changed string
	members := map[string]*string{"username": &name, "password": &password, "new_password": &changed}
	if err := provider.DecodeStrings(data, members); err != nil {
		return "", "", nil, err
	}
	if err := checkName(name); err != nil {
		return "", "", nil, fmt.Errorf("%w: %w", provider.ErrMalformed, err)
	}
	if err := p.checkPassword("password", password); err != nil {
		return "", "", nil, err
	}
	// An empty new password is a mistake, not the wish to keep the old one.
	var given map[string]json.RawMessage
	if err := json.Unmarshal(data, &given); err != nil {
		return "", "", nil, fmt.Errorf("%w: not a JSON object", provider.ErrMalformed)
	}
	if wish := given["new_password"]; wish == nil || string(wish) == "null" {
		return name, password, nil, nil
	}
	if changed == password {
		return "", "", nil, fmt.Errorf("%w: new_password must differ from password", provider.ErrMalformed)
	}
	return name, password, &changed, p.checkNew("new_password", changed)
}

// checkPassword applies the rules that hold at login too. The lower limit is not among them: raising it must not lock
// anybody out.
func (p *Provider) checkPassword(member, password string) error {
	if password == "" {
		return fmt.Errorf("%w: %s is required", provider.ErrMalformed, member)
	}
	if len(password) > p.maxLength() {
		return fmt.Errorf("%w: %s must have at most %d bytes", provider.ErrMalformed, member, p.maxLength())
	}
	return nil
}

// checkNew applies the rules for a password that is going to be stored.
func (p *Provider) checkNew(member, password string) error {
	if err := p.checkPassword(member, password); err != nil {
		return err
	}
	if utf8.RuneCountInString(password) < p.minLength() {
		return fmt.Errorf("%w: %s must have at least %d characters", provider.ErrMalformed, member, p.minLength())
	}
	return nil
}

// checkName applies the grammar of user names: 1 to 64 bytes of UTF-8, every character visible (letters, marks,
// numbers, punctuation, symbols) or an ASCII space that is neither first nor last.
func checkName(name string) error {
	invisible := func(r rune) bool { return !unicode.IsPrint(r) }
	switch {
	case name == "":
		return errors.New("username is required")
	case len(name) > maxName:
		return fmt.Errorf("username must have at most %d bytes", maxName)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, invisible):
		return errors.New("username has a character that is not printable")
	case name[0] == ' ' || name[len(name)-1] == ' ':
		return errors.New("username must not begin or end with a space")
	}
	return nil
}

// decoy returns a record to check a password against when there is no user. It costs what a record made now
// costs; one made with other parameters shows in the time until it is replaced, see [Provider.NeedsRehash].
func (p *Provider) decoy() record {
	return record{cost: p.cost(), salt: make([]byte, saltBytes), checksum: make([]byte, checksumBytes)}
}

// derive computes a hash in one of the slots. Each takes its memory for some 20 ms of one core, so their number
// is what bounds the memory of a burst of logins. Who finds too many waiting, or waits too long, is sent away.
func (p *Provider) derive(ctx context.Context, password string, c cost, salt []byte, size uint32) ([]byte, error) {
	p.start.Do(func() {
		slots := cmp.Or(p.Config.MaxConcurrent, 2*runtime.GOMAXPROCS(0))
		p.slots = make(chan struct{}, max(1, slots))
		p.queue = make(chan struct{}, max(1, slots)+maxWaiting)
		if p.hash == nil {
			p.hash = argon2.IDKey
		}
	})
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%w: the request ended", provider.ErrUnavailable)
	}
	busy := fmt.Errorf("%w: too many password checks at once", provider.ErrUnavailable)
	select {
	case p.queue <- struct{}{}:
	default:
		return nil, busy
	}
	defer func() { <-p.queue }()
	patience := time.NewTimer(maxWait)
	defer patience.Stop()
	select {
	case p.slots <- struct{}{}:
	case <-patience.C:
		return nil, busy
	case <-ctx.Done():
		return nil, busy
	}
	defer func() { <-p.slots }()
	return p.hash([]byte(password), salt, c.passes, c.memory, c.lanes, size), nil
}

// cost is what new hashes cost: the configuration, within the bounds of what parsePHC reads again.
func (p *Provider) cost() cost {
	return cost{
		memory: min(max(cmp.Or(p.Config.MemoryKiB, defaultMemoryKiB), minMemory), maxMemory),
		passes: min(cmp.Or(p.Config.Iterations, defaultIterations), maxPasses),
		lanes:  1,
	}
}

func (p *Provider) minLength() int { return cmp.Or(p.Config.MinLength, defaultMinLength) }

func (p *Provider) maxLength() int { return cmp.Or(p.Config.MaxLength, defaultMaxLength) }
