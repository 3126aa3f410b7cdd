package gate_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/services/auth/internal/authtest"
	"github.com/calimero-network/mero-go/services/auth/internal/gate"
	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// slowDB is a store whose next snapshot, once taken, waits for between before anything is read from it.
type slowDB struct {
	kv.DB
	between atomic.Pointer[func()]
}

func (db *slowDB) View(ctx context.Context, fn func(kv.Tx) error) error {
	return db.DB.View(ctx, func(tx kv.Tx) error {
		if between := db.between.Swap(nil); between != nil {
			done := make(chan struct{})
			go func() {
				defer close(done)
				(*between)()
			}()
			<-done
		}
		return fn(tx)
	})
}

// sessions returns a cache of its own over db, which holds the records of s.
func sessions(t *testing.T, s *authtest.Service, db kv.DB) (*gate.Sessions, *store.Store) {
	t.Helper()
	records, err := store.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	return &gate.Sessions{
		Store: records, Tokens: s.Issuer.Tokens, SecretEpoch: func() uint64 { return 1 }, Now: s.Clock.Now,
	}, records
}

// TestChangeBetweenSnapshotAndRead lands a change at the worst moment: the look-up has its snapshot of the store,
// in which everything is still well, and has not read it yet. That one look-up may allow, for it began before the
// change was acknowledged. The next one must not, so what it read must not stay in the cache.
func TestChangeBetweenSnapshotAndRead(t *testing.T) {
	changes := map[string]func(tx *store.Tx, root, client authtest.Token, s *authtest.Service) error{
		"root revoked": func(tx *store.Tx, root, _ authtest.Token, s *authtest.Service) error {
			_, err := tx.RevokeKey(root.Key, s.Clock.Now())
			return err
		},
		"key revoked": func(tx *store.Tx, _, client authtest.Token, s *authtest.Service) error {
			_, err := tx.RevokeKey(client.Key, s.Clock.Now())
			return err
		},
		"family revoked": func(tx *store.Tx, _, client authtest.Token, s *authtest.Service) error {
			return tx.RevokeFamily(client.Family, s.Clock.Now())
		},
	}
	s := authtest.Start(t)
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			db := &slowDB{DB: s.DB}
			cache, records := sessions(t, s, db)
			root := s.Root(t, "admin")
			client := s.Client(t, root, "context:list")
			apply := func() {
				err := records.Update(context.Background(), func(tx *store.Tx) error { return change(tx, root, client, s) })
				if err != nil {
					t.Errorf("change: %v", err)
				}
			}
			db.between.Store(&apply)
			_, _ = cache.Authenticate(t.Context(), client.Access) // either answer is right: the two overlap
			if db.between.Load() != nil {
				t.Fatal("the look-up took no snapshot")
			}
			if _, err := cache.Authenticate(t.Context(), client.Access); fault.ReasonOf(err) != identity.TokenRevoked {
				t.Errorf("after the change: error %v, want token_revoked", err)
			}
		})
	}
}

// TestNarrowingBetweenSnapshotAndRead is the same for permissions, which are a record of their own.
func TestNarrowingBetweenSnapshotAndRead(t *testing.T) {
	s := authtest.Start(t)
	for name, pick := range map[string]func(root, client authtest.Token) string{
		"of the root": func(root, _ authtest.Token) string { return root.Key },
		"of the key":  func(_, client authtest.Token) string { return client.Key },
	} {
		t.Run(name, func(t *testing.T) {
			db := &slowDB{DB: s.DB}
			cache, records := sessions(t, s, db)
			root := s.Root(t, "admin")
			client := s.Client(t, root, "context:list")
			apply := func() {
				err := records.Update(context.Background(), func(tx *store.Tx) error {
					return tx.SetPermissions(pick(root, client), []string{"blob:list"})
				})
				if err != nil {
					t.Errorf("change: %v", err)
				}
			}
			db.between.Store(&apply)
			if _, err := cache.Authenticate(t.Context(), client.Access); err != nil {
				t.Fatal(err)
			}
			session, err := cache.Authenticate(t.Context(), client.Access)
			if err != nil {
				t.Fatal(err)
			}
			if len(session.Permissions) != 0 {
				t.Errorf("after the change the session still holds %q", session.Permissions)
			}
		})
	}
}
