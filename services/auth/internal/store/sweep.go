package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// A sweep looks for the dead in a snapshot, which nobody waits for, and deletes them in transactions so short that a
// login between two of them is not held up.
const (
	// sweepBatch bounds the records that one transaction deletes.
	sweepBatch = 256

	// sweepMost bounds the ids that one sweep remembers; what it leaves is for the next one.
	sweepMost = 1 << 14
)

// name is where a record is stored.
type name struct{ bucket, key string }

// dead returns what goes with the record of that id, itself included, nil if it is still needed.
type dead func(id string, raw []byte) ([]name, error)

// SweepFamilies deletes families whose last token expired before now and reports how many it deleted. It looks at
// those whose id starts with prefix.
func (s *Store) SweepFamilies(ctx context.Context, now time.Time, prefix string) (int, error) {
	return s.sweep(ctx, bucketFamily, prefix, func(id string, raw []byte) ([]name, error) {
		var f Family
		if err := json.Unmarshal(raw, &f); err != nil || f.Expires() >= now.Unix() {
			return nil, err
		}
		return []name{{bucketFamily, id}, {bucketKeyFamilies, f.Key + ":" + id}, {bucketFamilyUsed, id}}, nil
	})
}

// sweep deletes the dead of a bucket. A record that does not decode stays, and is the error when the others are done.
func (s *Store) sweep(ctx context.Context, bucket, prefix string, judge dead) (deleted int, err error) {
	var ids []string
	var broken error
	err = s.View(ctx, func(tx *Tx) error {
		for id, raw := range tx.Scan(bucket, prefix) {
			doomed, err := judge(id, raw)
			if err != nil {
				broken = fmt.Errorf("decode %s:%s: %w", bucket, id, err)
			}
			if len(doomed) > 0 {
				ids = append(ids, id)
			}
			if len(ids) == sweepMost {
				break
			}
		}
		return nil
	})
	for len(ids) > 0 && err == nil {
		batch := ids[:min(sweepBatch, len(ids))]
		ids = ids[len(batch):]
		n := 0
		err = s.Update(ctx, func(tx *Tx) (err error) {
			n, err = tx.sweepBatch(bucket, batch, judge)
			return err
		})
		deleted += n
	}
	return deleted, errors.Join(err, broken)
}

// sweepBatch judges each record once more, as it is now: a session may have been refreshed.
func (tx *Tx) sweepBatch(bucket string, ids []string, judge dead) (deleted int, err error) {
	for _, id := range ids {
		raw, err := tx.raw(bucket, id)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return 0, err
		}
		doomed, err := judge(id, raw)
		if err != nil || len(doomed) == 0 {
			continue
		}
		for _, n := range doomed {
			if err := tx.Put(n.bucket, n.key, nil); err != nil {
				return 0, fmt.Errorf("delete %s:%s: %w", n.bucket, n.key, err)
			}
		}
		deleted++
	}
	return deleted, nil
}
