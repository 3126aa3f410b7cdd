package store

import (
	"context"
	"encoding/json"
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
		var f struct {
			RevokedAt int64 `json:"revoked_at"`
			Current   struct {
				Access  int64 `json:"access_exp"`
				Refresh int64 `json:"refresh_exp"`
			} `json:"cur"`
		}
		if err := json.Unmarshal(raw, &f); err != nil {
			return err
		}
		if f.RevokedAt == 0 && max(f.Current.Access, f.Current.Refresh) > now.Unix() {
			c.Sessions++
		}
		return nil
	})
	return c, err
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
