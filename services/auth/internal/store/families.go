package store

import (
	"fmt"
	"time"
)

// Generation is the current pair of tokens of a family: enough to sign the identical pair again, and no token
// text.
type Generation struct {
	AccessKID     string   `json:"access_kid"`
	RefreshKID    string   `json:"refresh_kid"`
	AccessID      string   `json:"access_jti"`
	RefreshID     string   `json:"refresh_jti"`
	IssuedAt      int64    `json:"iat"`
	AccessExpiry  int64    `json:"access_exp"`
	RefreshExpiry int64    `json:"refresh_exp"`
	Permissions   []string `json:"permissions"`
	NodeURL       string   `json:"node_url,omitempty"`
}

// Family is a session: the chain of token pairs that grew from one login or one minted client key.
type Family struct {
	V           int        `json:"v"`
	ID          string     `json:"-"`
	Key         string     `json:"key"`
	Created     int64      `json:"created"`
	LastRefresh int64      `json:"last_refresh,omitempty"`
	ClientName  string     `json:"client_name,omitempty"`
	Peer        string     `json:"peer,omitempty"`
	Provider    string     `json:"provider,omitempty"` // that is asked again at each refresh, with Renewal
	Renewal     string     `json:"renewal,omitempty"`
	Machine     bool       `json:"machine,omitempty"` // one access token of its own life, and no refresh token
	Number      uint64     `json:"gen"`
	Current     Generation `json:"cur"`

	// The refresh token before the current one, for the grace period of a lost answer.
	PreviousRefreshID  string `json:"prev_refresh_jti,omitempty"`
	RotatedAt          int64  `json:"rotated_at,omitempty"`
	SuccessorPresented bool   `json:"successor_presented,omitempty"`

	RevokedAt int64 `json:"revoked_at,omitempty"`
}

// Family returns a session family, or ErrNotFound.
func (tx *Tx) Family(id string) (Family, error) {
	var f Family
	if err := get(tx.Tx, bucketFamily, id, &f); err != nil {
		return Family{}, err
	}
	f.ID = id
	return f, nil
}

// CreateFamily stores a new family and indexes it under its key.
func (tx *Tx) CreateFamily(f Family) error {
	f.V = schema
	if err := tx.Put(bucketKeyFamilies, f.Key+":"+f.ID, []byte{}); err != nil {
		return fmt.Errorf("index family: %w", err)
	}
	return put(tx.Tx, bucketFamily, f.ID, f)
}

// SaveFamily stores a family whose rights did not shrink: a rotation, or the note that the successor was seen.
func (tx *Tx) SaveFamily(f Family) error {
	f.V = schema
	return put(tx.Tx, bucketFamily, f.ID, f)
}

// RevokeFamily ends a session. Revoking twice keeps the first time.
func (tx *Tx) RevokeFamily(id string, now time.Time) error {
	f, err := tx.Family(id)
	if err != nil {
		return err
	}
	if f.RevokedAt != 0 {
		return nil
	}
	f.RevokedAt = now.Unix()
	tx.touched = append(tx.touched, tx.cells.of(ofFamily, id))
	return tx.SaveFamily(f)
}

// RevokeFamilies ends all sessions of a key and returns how many were live.
func (tx *Tx) RevokeFamilies(key string, now time.Time) (int, error) {
	families, err := tx.Families(key)
	if err != nil {
		return 0, err
	}
	ended := 0
	for _, f := range families {
		if f.RevokedAt != 0 {
			continue
		}
		if err := tx.RevokeFamily(f.ID, now); err != nil {
			return 0, err
		}
		ended++
	}
	return ended, nil
}

// Families returns all sessions of a key that are stored, ended ones included, in the order of their ids.
func (tx *Tx) Families(key string) ([]Family, error) {
	var ids []string
	for name := range tx.Scan(bucketKeyFamilies, key+":") {
		ids = append(ids, name[len(key)+1:])
	}
	families := make([]Family, 0, len(ids))
	for _, id := range ids {
		f, err := tx.Family(id)
		if err != nil {
			return nil, err
		}
		families = append(families, f)
	}
	return families, nil
}

// Expires returns when the last token of the family expires, in Unix seconds.
func (f Family) Expires() int64 { return max(f.Current.RefreshExpiry, f.Current.AccessExpiry) }
