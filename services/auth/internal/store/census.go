package store

import (
	"bytes"
	"context"
	"fmt"
	"time"
)

// Census is how much can be used at a time.
type Census struct {
	RootKeys, ClientKeys int64 // live, a client key together with its root
	Sessions             int64 // neither ended nor expired
}

// Census counts what is live. It reads every record once, in slices, so that no snapshot of the store is held for long;
// ctx ends it between two of them.
func (s *Store) Census(ctx context.Context, now time.Time) (Census, error) {
	var c Census
	roots := make(map[string]bool)
	err := s.slices(ctx, bucketRoot, func(id string, raw []byte) error {
		k, err := decodeLiveKey(raw)
		if err == nil && k.live(now) {
			roots[id] = true
			c.RootKeys++
		}
		return err
	})
	if err != nil {
		return Census{}, err
	}
	err = s.slices(ctx, bucketClient, func(_ string, raw []byte) error {
		k, err := decodeLiveKey(raw)
		if err == nil && k.live(now) && roots[k.RootKeyID] {
			c.ClientKeys++
		}
		return err
	})
	if err != nil {
		return Census{}, err
	}
	err = s.slices(ctx, bucketFamily, func(_ string, raw []byte) error {
		if member(raw, "revoked_at") == 0 && max(member(raw, "access_exp"), member(raw, "refresh_exp")) > now.Unix() {
			c.Sessions++
		}
		return nil
	})
	return c, err
}

// member returns the number that stands after a name in a record as this package writes it, 0 if there is none. In a text
// the quotation marks around the name would be escaped, so it is not found there.
func member(raw []byte, name string) int64 {
	_, rest, found := bytes.Cut(raw, []byte(`"`+name+`":`))
	if !found {
		return 0
	}
	s := scan{rest: rest}
	return s.number()
}

func (k *LiveKey) live(now time.Time) bool {
	return k.Revoked == 0 && (k.ExpiresAt == 0 || now.Unix() < k.ExpiresAt)
}

// slices calls fn with every record of a bucket of ids, a slice of them in each transaction.
func (s *Store) slices(ctx context.Context, bucket string, fn func(id string, raw []byte) error) error {
	for _, first := range []byte("-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz") {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("count %s: %w", bucket, err)
		}
		err := s.View(ctx, func(tx *Tx) error {
			for id, raw := range tx.Scan(bucket, string(first)) {
				if err := fn(id, raw); err != nil {
					return fmt.Errorf("count %s:%s: %w", bucket, id, err)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
