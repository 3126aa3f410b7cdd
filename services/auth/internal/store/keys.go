package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/calimero-network/mero-go/pkg/permission"
)

// KeyType tells an identity from a delegation.
type KeyType string

// The types of key.
const (
	Root   KeyType = "Root"   // an identity, proved by a provider
	Client KeyType = "Client" // a delegation of a root key to an application
)

// Key is a stored key without its permissions, which have a record of their own.
type Key struct {
	V         int     `json:"v"`
	ID        string  `json:"-"`
	Type      KeyType `json:"key_type"`
	CreatedAt int64   `json:"created_at"`           // Unix seconds
	RevokedAt int64   `json:"revoked_at,omitempty"` // Unix seconds, 0 while live
	ExpiresAt int64   `json:"expires_at,omitempty"` // Unix seconds, 0 = never
	NodeURL   string  `json:"node_url,omitempty"`   // scheme://host[:port] that the key is bound to
	CreatedBy string  `json:"created_by,omitempty"` // key id of the administrator who added it
	Name      string  `json:"name,omitempty"`       // for people

	// Root keys.
	PublicKey  string `json:"public_key,omitempty"`
	AuthMethod string `json:"auth_method,omitempty"`

	// Client keys.
	RootKeyID string `json:"root_key_id,omitempty"`
	Machine   bool   `json:"machine,omitempty"`   // has one long-lived access token and no refresh token
	MintedBy  string `json:"minted_by,omitempty"` // the client key whose token asked for this key
}

// Live reports whether the key can be used now.
func (k Key) Live(now time.Time) bool {
	return k.RevokedAt == 0 && (k.ExpiresAt == 0 || now.Unix() < k.ExpiresAt)
}

// Key returns a root or client key by id, or ErrNotFound.
func (tx *Tx) Key(id string) (Key, error) {
	k, err := tx.key(bucketRoot, id)
	if errors.Is(err, ErrNotFound) {
		k, err = tx.key(bucketClient, id)
	}
	return k, err
}

func (tx *Tx) key(bucket, id string) (Key, error) {
	var k Key
	if err := get(tx.Tx, bucket, id, &k); err != nil {
		return Key{}, err
	}
	k.ID = id
	return k, nil
}

func bucketOf(t KeyType) string {
	if t == Root {
		return bucketRoot
	}
	return bucketClient
}

// CreateKey stores a new key with its permissions. A key of that id, revoked or not, is ErrExists: a revoked
// key is never resurrected.
func (tx *Tx) CreateKey(k Key, permissions []string) error {
	if _, err := tx.Key(k.ID); !errors.Is(err, ErrNotFound) {
		if err == nil {
			err = ErrExists
		}
		return fmt.Errorf("create key %s: %w", k.ID, err)
	}
	k.V = schema
	if err := put(tx.Tx, bucketOf(k.Type), k.ID, k); err != nil {
		return err
	}
	if k.Type == Client {
		if err := tx.Put(bucketRootClients, k.RootKeyID+":"+k.ID, []byte{}); err != nil {
			return fmt.Errorf("index client key: %w", err)
		}
		if err := tx.indexLive(k); err != nil {
			return err
		}
	}
	if k.MintedBy != "" {
		if err := tx.Put(bucketMinted, k.MintedBy+":"+k.ID, []byte{}); err != nil {
			return fmt.Errorf("index minted key: %w", err)
		}
	}
	return tx.putPermissions(k.ID, permissions)
}

// RevokeKey marks the key and every key minted with its tokens as revoked and returns the time of revocation,
// which stays the first one. The clients of a root key need no write: each decision reads the root, too.
func (tx *Tx) RevokeKey(id string, now time.Time) (int64, error) {
	k, err := tx.Key(id)
	if err != nil {
		return 0, err
	}
	if k.RevokedAt != 0 {
		return k.RevokedAt, nil
	}
	pending := []Key{k}
	for len(pending) > 0 {
		k, pending = pending[0], pending[1:]
		k.RevokedAt = now.Unix()
		if err := put(tx.Tx, bucketOf(k.Type), k.ID, k); err != nil {
			return 0, err
		}
		if err := tx.indexLive(k); err != nil {
			return 0, err
		}
		tx.touched = append(tx.touched, tx.cells.of(ofKey, k.ID))
		minted, err := tx.minted(k.ID)
		if err != nil {
			return 0, err
		}
		pending = append(pending, minted...)
	}
	return now.Unix(), nil
}

// minted returns the live keys that the tokens of client key id asked for.
func (tx *Tx) minted(id string) ([]Key, error) {
	var ids []string
	for name := range tx.Scan(bucketMinted, id+":") {
		ids = append(ids, name[len(id)+1:])
	}
	var keys []Key
	for _, mintedID := range ids {
		k, err := tx.key(bucketClient, mintedID)
		if err != nil {
			return nil, err
		}
		if k.RevokedAt == 0 {
			keys = append(keys, k)
		}
	}
	return keys, nil
}

// ChangeKey stores a key whose name or expiry is another than before. What its tokens minted does not outlive it.
func (tx *Tx) ChangeKey(k Key) error {
	for pending := []Key{k}; len(pending) > 0; {
		k, pending = pending[0], pending[1:]
		if err := put(tx.Tx, bucketOf(k.Type), k.ID, k); err != nil {
			return err
		}
		if err := tx.indexLive(k); err != nil {
			return err
		}
		tx.touched = append(tx.touched, tx.cells.of(ofKey, k.ID))
		if k.ExpiresAt == 0 {
			continue
		}
		minted, err := tx.minted(k.ID)
		if err != nil {
			return err
		}
		for _, m := range minted {
			if m.ExpiresAt == 0 || m.ExpiresAt > k.ExpiresAt {
				m.ExpiresAt = k.ExpiresAt
				pending = append(pending, m)
			}
		}
	}
	return nil
}

// Keys yields all keys of a type in the order of their ids. A record that does not decode ends the loop with its
// error.
func (tx *Tx) Keys(t KeyType) iter.Seq2[Key, error] { return tx.KeysAfter(t, "") }

// KeysAfter is [Tx.Keys] for the keys whose id comes after the given one.
func (tx *Tx) KeysAfter(t KeyType, after string) iter.Seq2[Key, error] {
	return func(yield func(Key, error) bool) {
		for id, raw := range tx.scanAfter(bucketOf(t), after) {
			var k Key
			if err := json.Unmarshal(raw, &k); err != nil {
				yield(Key{}, fmt.Errorf("decode %s key %s: %w", t, id, err))
				return
			}
			k.ID = id
			if !yield(k, nil) {
				return
			}
		}
	}
}

// idBytes are the bytes of a key id, in their order.
const idBytes = "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"

// scanAfter yields the pairs of a bucket of key ids that come after one of them. The storage scans by prefix alone, so
// this goes through the prefixes of that id from the longest to none and takes what branches off above it.
func (tx *Tx) scanAfter(bucket, id string) iter.Seq2[string, []byte] {
	if id == "" {
		return tx.Scan(bucket, "")
	}
	return func(yield func(string, []byte) bool) {
		for n := len(id); n >= 0; n-- {
			for i := range len(idBytes) {
				if n < len(id) && idBytes[i] <= id[n] {
					continue
				}
				for key, raw := range tx.Scan(bucket, id[:n]+idBytes[i:i+1]) {
					if !yield(key, raw) {
						return
					}
				}
			}
		}
	}
}

// AnyRootEver reports whether a root key, live or revoked, was ever stored.
func (tx *Tx) AnyRootEver() bool {
	for range tx.Scan(bucketRoot, "") {
		return true
	}
	return false
}

type permissionRecord struct {
	V           int      `json:"v"`
	Permissions []string `json:"permissions"`
}

// Permissions returns the permissions of a key, verbatim and in order, or ErrNotFound.
func (tx *Tx) Permissions(id string) ([]string, error) {
	var r permissionRecord
	if err := get(tx.Tx, bucketPermissions, id, &r); err != nil {
		return nil, err
	}
	return r.Permissions, nil
}

// SetPermissions replaces the permissions of an existing key. What its tokens minted never holds more than it does, so
// the lists of those keys are narrowed to it; widening it gives them nothing.
func (tx *Tx) SetPermissions(id string, permissions []string) error {
	type change struct {
		id   string
		list []string
	}
	for pending := []change{{id, permissions}}; len(pending) > 0; {
		var c change
		c, pending = pending[0], pending[1:]
		if err := tx.putPermissions(c.id, c.list); err != nil {
			return err
		}
		tx.touched = append(tx.touched, tx.cells.of(ofKey, c.id))
		minted, err := tx.minted(c.id)
		if err != nil {
			return err
		}
		for _, m := range minted {
			held, err := tx.Permissions(m.ID)
			if err != nil {
				return err
			}
			if narrowed := permission.Effective(held, c.list); !slices.Equal(narrowed, permission.Effective(held)) {
				pending = append(pending, change{m.ID, narrowed})
			}
		}
	}
	return nil
}

func (tx *Tx) putPermissions(id string, permissions []string) error {
	if permissions == nil {
		permissions = []string{} // an empty array for whoever reads it, never null
	}
	return put(tx.Tx, bucketPermissions, id, permissionRecord{V: schema, Permissions: permissions})
}

// Account is a password account.
type Account struct {
	V    int    `json:"v"`
	Key  string `json:"key"` // id of its root key
	PHC  string `json:"phc"` // argon2id hash as a PHC string
	Name string `json:"-"`
}

// Account returns the account of a provider by name, or ErrNotFound.
func (tx *Tx) Account(provider, name string) (Account, error) {
	a := Account{Name: name}
	if err := get(tx.Tx, bucketAccount, provider+":"+name, &a); err != nil {
		return Account{}, err
	}
	return a, nil
}

// PutAccount stores an account.
func (tx *Tx) PutAccount(provider string, a Account) error {
	a.V = schema
	return put(tx.Tx, bucketAccount, provider+":"+a.Name, a)
}
