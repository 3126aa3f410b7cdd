package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
)

// clockMemory bounds how far ahead of the clock the mark of the last sweep may lie to count. A clock that was set back
// further makes no challenge of old valid again, because the secret that signed it is gone by then; and one that once
// ran years ahead must not keep everybody out for years.
const clockMemory = 7 * 24 * time.Hour

// sweptMark is system:challenges: the latest expiry of a used challenge that was deleted. Everything that expired by
// then may have been used and forgotten, should the clock be set back.
type sweptMark struct {
	V     int   `json:"v"`
	Swept int64 `json:"swept"` // Unix seconds
}

func (tx *Tx) sweptMark() (sweptMark, error) {
	var m sweptMark
	if err := get(tx.Tx, bucketSystem, "challenges", &m); err != nil && !errors.Is(err, ErrNotFound) {
		return m, err
	}
	return m, nil
}

// UseChallenge records the use of a challenge at the time now, until it expires by itself. A second use is ErrUsed. One
// that could be a second use for all that is known, because the clock was set back, is ErrClock.
func (tx *Tx) UseChallenge(id string, expires, now time.Time) error {
	mark, err := tx.sweptMark()
	if err != nil {
		return err
	}
	if expires.Unix() <= mark.Swept && mark.Swept-now.Unix() <= int64(clockMemory.Seconds()) {
		return fmt.Errorf("%w: challenges are accepted again after %s", ErrClock, time.Unix(mark.Swept, 0).UTC().Format(time.RFC3339))
	}
	switch _, err := tx.Get(bucketChallenge, id); {
	case err == nil:
		return ErrUsed
	case !errors.Is(err, kv.ErrNotFound):
		return fmt.Errorf("read challenge:%s: %w", id, err)
	}
	return put(tx.Tx, bucketChallenge, id, expires.Unix())
}

// SweepChallenges deletes used challenges that expired before now and reports how many it deleted. Before that it
// remembers until when it deletes them, so that no clock that is set back lets one be used again.
func (s *Store) SweepChallenges(ctx context.Context, now time.Time) (int, error) {
	expired := func(raw []byte) (exp int64, dead bool, err error) {
		err = json.Unmarshal(raw, &exp)
		return exp, err == nil && exp < now.Unix(), err
	}
	var latest int64
	err := s.View(ctx, func(tx *Tx) error {
		for _, raw := range tx.Scan(bucketChallenge, "") {
			if exp, dead, _ := expired(raw); dead { // what does not decode stays, and the sweep below says so
				latest = max(latest, exp)
			}
		}
		return nil
	})
	if err == nil && latest > 0 {
		err = s.Update(ctx, func(tx *Tx) error {
			mark, err := tx.sweptMark()
			if err != nil || mark.Swept >= latest {
				return err
			}
			return put(tx.Tx, bucketSystem, "challenges", sweptMark{V: schema, Swept: latest})
		})
	}
	if err != nil {
		return 0, err
	}
	return s.sweep(ctx, bucketChallenge, "", func(id string, raw []byte) ([]name, error) {
		exp, dead, err := expired(raw)
		if !dead || exp > latest { // used since
			return nil, err
		}
		return []name{{bucketChallenge, id}}, nil
	})
}
