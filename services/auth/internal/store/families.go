package store

import (
	"context"
	"encoding/json"
	"errors"
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
	tx.touched = append(tx.touched, cellOfFamily(id))
	return tx.SaveFamily(f)
}

// RevokeFamilies ends all sessions of a key and returns how many were live.
func (tx *Tx) RevokeFamilies(key string, now time.Time) (int, error) {
	var ids []string
	for name := range tx.Scan(bucketKeyFamilies, key+":") {
		ids = append(ids, name[len(key)+1:])
	}
	ended := 0
	for _, id := range ids {
		f, err := tx.Family(id)
		if err != nil {
			return 0, err
		}
		if f.RevokedAt != 0 {
			continue
		}
		if err := tx.RevokeFamily(id, now); err != nil {
			return 0, err
		}
		ended++
	}
	return ended, nil
}

// over reports whether nothing of the family can be used any more.
func (f Family) over(now time.Time) bool {
	return max(f.Current.RefreshExpiry, f.Current.AccessExpiry) < now.Unix()
}

// SweepFamilies deletes the families whose last token expired before now and reports how many it deleted. It looks
// at those whose id starts with prefix, and only deleting them takes a write transaction, so that a sweep in
// slices never holds up a login.
func (s *Store) SweepFamilies(ctx context.Context, now time.Time, prefix string) (int, error) {
	var dead []string
	err := s.View(ctx, func(tx *Tx) error {
		for id, raw := range tx.Scan(bucketFamily, prefix) {
			var f Family
			if err := json.Unmarshal(raw, &f); err != nil {
				return fmt.Errorf("decode family:%s: %w", id, err)
			}
			if f.over(now) {
				dead = append(dead, id)
			}
		}
		return nil
	})
	if err != nil || len(dead) == 0 {
		return 0, err
	}
	deleted := 0
	err = s.Update(ctx, func(tx *Tx) error {
		deleted = 0
		for _, id := range dead {
			f, err := tx.Family(id)
			if errors.Is(err, ErrNotFound) || (err == nil && !f.over(now)) {
				continue
			}
			if err != nil {
				return err
			}
			if err := tx.Put(bucketFamily, id, nil); err != nil {
				return fmt.Errorf("delete family:%s: %w", id, err)
			}
			if err := tx.Put(bucketKeyFamilies, f.Key+":"+id, nil); err != nil {
				return fmt.Errorf("delete index of family:%s: %w", id, err)
			}
			deleted++
		}
		return nil
	})
	return deleted, err
}
