package store

import (
	"fmt"
	"strconv"
	"time"
)

// indexLive keeps the index of client keys that are not revoked, by root key; other keys have no place in it.
func (tx *Tx) indexLive(k Key) error {
	if k.Type != Client {
		return nil
	}
	var expiry []byte // nil deletes
	if k.RevokedAt == 0 {
		expiry = strconv.AppendInt([]byte{}, k.ExpiresAt, 10)
	}
	if err := tx.Put(bucketLiveClients, k.RootKeyID+":"+k.ID, expiry); err != nil {
		return fmt.Errorf("index live client key: %w", err)
	}
	return nil
}

// LiveClients counts the client keys of a root key that are neither revoked nor expired, up to atMost. Those that it
// finds expired leave the index, so that no count meets them twice and each costs at most atMost live entries.
func (tx *Tx) LiveClients(root string, atMost int, now time.Time) (live int, err error) {
	var expired []string
	for name, raw := range tx.Scan(bucketLiveClients, root+":") {
		end, err := strconv.ParseInt(string(raw), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("decode %s:%s: %w", bucketLiveClients, name, err)
		}
		if end != 0 && end <= now.Unix() {
			expired = append(expired, name)
			continue
		}
		if live++; live >= atMost {
			break
		}
	}
	for _, name := range expired {
		if err := tx.Put(bucketLiveClients, name, nil); err != nil {
			return 0, fmt.Errorf("index live client key: %w", err)
		}
	}
	return live, nil
}
