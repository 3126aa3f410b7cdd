// Package audit keeps the record of who changed what: append-only, bounded in age and size, and written in the
// transaction of the change that it tells of, so that neither exists without the other.
//
// An [Event] never holds a secret, a token or a password. Texts that come from clients are cut and cleaned.
package audit

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Action says what happened.
type Action string

// The actions.
const (
	RootCreated        Action = "root_key.created"
	ClientCreated      Action = "client_key.created"
	KeyRevoked         Action = "key.revoked"
	KeyChanged         Action = "key.changed" // its name or its expiry
	PermissionsChanged Action = "key.permissions_changed"
	BootstrapUsed      Action = "bootstrap.used"
	BootstrapRenewed   Action = "bootstrap.renewed"
	AccountProvisioned Action = "account.provisioned"
	PasswordChanged    Action = "account.password_changed"
	LoggedIn           Action = "login.succeeded"
	LoginRefused       Action = "login.refused" // aggregated: one record for all of a minute that are alike
	TokenReused        Action = "session.token_reused"
	SessionRevoked     Action = "session.revoked"
	SecretRotated      Action = "secret.rotated"
	SecretImported     Action = "secret.imported"
	SecretExported     Action = "secret.exported"
	MasterChanged      Action = "secret.master_changed"
	SecretsReset       Action = "secret.reset"
	BootstrapReopened  Action = "bootstrap.reopened"
	StoreBackedUp      Action = "store.backed_up"
	StoreRestored      Action = "store.restored"
	StorePutBack       Action = "store.put_back" // a start found an old copy of it
	Cut                Action = "audit.cut"      // the oldest records were deleted; Count says how many
)

// Who acts when no key does.
const (
	BySystem      = "system"      // the service itself: scheduled rotation, the bounds of this record
	ByHost        = "host"        // an operator on the host: a command, the control socket
	ByEnvironment = "environment" // the settings that the service was started with
)

// Outcome says how it ended.
type Outcome string

// The outcomes. The empty Outcome is stored as Success.
const (
	Success Outcome = "success"
	Refused Outcome = "refused"
)

// Event is one record. Action and Time are required; ID is set by [Log.Append]; Actor may be one of the By… words.
type Event struct {
	ID        uint64    `json:"id" doc:"ascending without gaps"`
	Time      time.Time `json:"time" doc:"RFC 3339"`
	Action    Action    `json:"action" doc:"what happened"`
	Outcome   Outcome   `json:"outcome" doc:"success or refused"`
	Actor     string    `json:"actor,omitempty" doc:"id of the key that acted, or system, host, environment"`
	Subject   string    `json:"subject,omitempty" doc:"what was acted on: key id, session, kind of secret, account"`
	Peer      string    `json:"peer,omitempty" doc:"network of the client: IPv4 address or IPv6 /64"`
	Reason    string    `json:"reason,omitempty" doc:"stable word"`
	Detail    string    `json:"detail,omitempty" doc:"for people"`
	RequestID string    `json:"request_id,omitempty" doc:"X-Request-Id"`

	// Of records that stand for several events.
	Count uint64    `json:"count,omitempty" doc:"how many events the record stands for"`
	First time.Time `json:"first,omitzero" doc:"the first of them"`
	Last  time.Time `json:"last,omitzero" doc:"the last of them"`
}

// Longest texts of an event, in bytes: what clients choose cannot fill the record.
const (
	maxText   = 256
	maxDetail = 1024
)

// normalised returns e as it is stored: UTC, milliseconds, bounded printable texts.
func (e Event) normalised() Event {
	if e.Outcome == "" {
		e.Outcome = Success
	}
	for _, t := range []*time.Time{&e.Time, &e.First, &e.Last} {
		if !t.IsZero() {
			*t = t.UTC().Truncate(time.Millisecond)
		}
	}
	for _, text := range []*string{&e.Actor, &e.Subject, &e.Peer, &e.Reason, &e.RequestID} {
		*text = clean(*text, maxText)
	}
	e.Detail = clean(e.Detail, maxDetail)
	return e
}

// clean cuts s to limit bytes and replaces what could disturb a terminal or a line-oriented reader.
func clean(s string, limit int) string {
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "")
	}
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
