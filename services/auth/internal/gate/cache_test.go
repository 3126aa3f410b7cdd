package gate_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/authtest"
	"github.com/calimero-network/mero-go/services/auth/internal/kv"
)

// readDB counts the snapshots that are taken.
type readDB struct {
	kv.DB
	reads atomic.Int64
}

func (db *readDB) View(ctx context.Context, fn func(kv.Tx) error) error {
	db.reads.Add(1)
	return db.DB.View(ctx, fn)
}

// sameSet returns n tokens of owner whose sessions share a set of the cache's 2048.
func sameSet(t *testing.T, s *authtest.Service, owner authtest.Token, set uint32, n int) (tokens []string) {
	t.Helper()
	for i := 0; len(tokens) < n; i++ {
		raw, _, err := s.Issuer.Tokens.Sign(claims(s, owner, "jti"+strconv.Itoa(i)))
		if err != nil {
			t.Fatal(err)
		}
		if hash := sha256.Sum256([]byte(raw)); binary.LittleEndian.Uint32(hash[:4])%2048 == set {
			tokens = append(tokens, raw)
		}
	}
	return tokens
}

// TestEvictedSessionsAreForgotten: what the store keeps in memory for a cached session goes with it, or a client could
// fill the memory with one session after the other.
func TestEvictedSessionsAreForgotten(t *testing.T) {
	s := authtest.Start(t)
	db := &readDB{DB: s.DB}
	cache, records := sessions(t, s, db)
	ask := func(raw string) (reads int64) {
		t.Helper()
		before := db.reads.Load()
		if _, err := cache.Authenticate(t.Context(), raw); err != nil {
			t.Fatal(err)
		}
		return db.reads.Load() - before
	}
	one, other := s.Root(t, "admin"), s.Root(t, "admin")
	first, second := sameSet(t, s, one, 5, 2), sameSet(t, s, other, 5, 6)
	ask(first[0])
	if n := ask(first[1]); n != 0 {
		t.Errorf("another token of a cached session: %d reads, want none", n)
	}
	for _, raw := range second { // two find room, four evict
		ask(raw)
	}
	if err := records.SaveUses(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := ask(first[0]); n != 1 {
		t.Errorf("a session that was evicted and saved: %d reads, want 1", n)
	}
}
