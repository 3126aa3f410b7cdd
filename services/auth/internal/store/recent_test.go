package store_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/memory"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

func readLive(t *testing.T, s *store.Store, family, key string) store.Live {
	t.Helper()
	l, err := s.Live(t.Context(), family, key)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// What was read for one session serves the others of the key, and not one look-up longer than it is true.
func TestLive_KeyReadForAnotherSession(t *testing.T) {
	onEachBackend(t, func(t *testing.T, db kv.DB) {
		s := open(t, db)
		createClients(t, s, map[string]string{"a": ""})
		update(t, s, func(tx *store.Tx) error {
			if err := tx.CreateFamily(store.Family{ID: "one", Key: "a"}); err != nil {
				return err
			}
			return tx.CreateFamily(store.Family{ID: "two", Key: "a"})
		})
		first := readLive(t, s, "one", "a")
		if again := readLive(t, s, "two", "a"); again.Key != first.Key || again.Root != first.Root {
			t.Error("the key or its root was read again")
		}
		update(t, s, func(tx *store.Tx) error { return tx.SetPermissions("a", []string{"blob:list"}) })
		changed := readLive(t, s, "two", "a")
		if changed.Key == first.Key || changed.Key.Joined != "blob:list" || first.Current() || !changed.Current() {
			t.Errorf("after a change: %q, the old reading is current: %t", changed.Key.Joined, first.Current())
		}
		update(t, s, func(tx *store.Tx) error {
			_, err := tx.RevokeKey("root", start)
			return err
		})
		if l, err := s.Live(t.Context(), "one", "a"); !errors.Is(err, store.ErrRevoked) {
			t.Errorf("the root was revoked: %+v, %v, want ErrRevoked", l, err)
		}
	})
}

// views counts the snapshots that are taken.
type views struct {
	kv.DB
	n atomic.Int64
}

func (v *views) View(ctx context.Context, fn func(kv.Tx) error) error {
	v.n.Add(1)
	return v.DB.View(ctx, fn)
}

// What was read for one token serves the others of its session while somebody holds it, and is read again after a change.
func TestLive_FamilyReadForAnotherToken(t *testing.T) {
	onEachBackend(t, func(t *testing.T, db kv.DB) {
		counted := &views{DB: db}
		s := open(t, counted)
		createClients(t, s, map[string]string{"a": "", "b": ""})
		update(t, s, func(tx *store.Tx) error {
			return tx.CreateFamily(store.Family{ID: "fam", Key: "a", Machine: true, Created: 7})
		})
		reads := func(want int64, what string) {
			t.Helper()
			if n := counted.n.Swap(0); n != want {
				t.Errorf("%s: %d snapshots, want %d", what, n, want)
			}
		}
		readLive(t, s, "fam", "a")
		reads(2, "nothing known")
		readLive(t, s, "fam", "a")
		reads(1, "key known, nobody holds the family")
		f := s.Hold(readLive(t, s, "fam", "a").Family)
		counted.n.Store(0)
		if again := readLive(t, s, "fam", "a"); again.Family != f || !f.Machine || f.Created != 7 || f.Key != "a" {
			t.Errorf("held: %+v, and another reading %+v", f, again.Family)
		}
		reads(0, "family held")
		if _, err := s.Live(t.Context(), "fam", "b"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the family of another key: %v, want ErrNotFound", err)
		}
		update(t, s, func(tx *store.Tx) error { return tx.RevokeFamily("fam", start) })
		if _, err := s.Live(t.Context(), "fam", "a"); !errors.Is(err, store.ErrRevoked) {
			t.Errorf("after the revocation: %v, want ErrRevoked", err)
		}
	})
}

// A family that a login has left in memory is read once like any other.
func TestLive_FamilyOfALogin(t *testing.T) {
	counted := &views{DB: closing(t, memory.New())}
	s := open(t, counted)
	createClients(t, s, map[string]string{"a": ""})
	f := store.Family{ID: "fam", Key: "a"}
	update(t, s, func(tx *store.Tx) error { return tx.CreateFamily(f) })
	s.Used(f, start)
	first := s.Hold(readLive(t, s, "fam", "a").Family)
	counted.n.Store(0)
	if again := readLive(t, s, "fam", "a"); again.Family != first || counted.n.Load() != 0 {
		t.Errorf("%d snapshots for the second token, want none", counted.n.Load())
	}
}

// After a login the family is in memory, but nobody has read it from the store since its cell was seen: it may have been
// revoked in between.
func TestLive_RevokedBetweenLoginAndNote(t *testing.T) {
	s := open(t, closing(t, memory.New()))
	createClients(t, s, map[string]string{"a": ""})
	f := store.Family{ID: "fam", Key: "a"}
	update(t, s, func(tx *store.Tx) error { return tx.CreateFamily(f) })
	update(t, s, func(tx *store.Tx) error { return tx.RevokeFamily("fam", start) })
	s.Used(f, start)
	if _, err := s.Live(t.Context(), "fam", "a"); !errors.Is(err, store.ErrRevoked) {
		t.Errorf("Live = %v, want ErrRevoked", err)
	}
}

// Lists are shared by their text only: keys with the same list share it, a key with another never gets it.
func TestLive_ListsAreShared(t *testing.T) {
	s := open(t, closing(t, memory.New()))
	const clients = 2000 // more than the table of lists holds
	for i := range clients {
		id := strconv.Itoa(i)
		update(t, s, func(tx *store.Tx) error {
			if i == 0 {
				if err := tx.CreateKey(store.Key{ID: "root", Type: store.Root}, []string{"admin"}); err != nil {
					return err
				}
			}
			list := []string{"context:read:specific:" + strconv.Itoa(i/2)}
			if err := tx.CreateKey(store.Key{ID: id, Type: store.Client, RootKeyID: "root"}, list); err != nil {
				return err
			}
			return tx.CreateFamily(store.Family{ID: "fam" + id, Key: id})
		})
	}
	apart := 0
	for i := 0; i < clients; i += 2 {
		one, two := readLive(t, s, "fam"+strconv.Itoa(i), strconv.Itoa(i)), readLive(t, s, "fam"+strconv.Itoa(i+1), strconv.Itoa(i+1))
		want := "context:read:specific:" + strconv.Itoa(i/2)
		if one.Key == two.Key || one.Key.Joined != want || two.Key.Joined != want {
			t.Fatalf("keys %d: %q and %q, want %q", i, one.Key.Joined, two.Key.Joined, want)
		}
		if one.Key.Granted != two.Key.Granted {
			apart++
		}
	}
	// The list of their root is read between the two where the root is not in memory, and may want the same place.
	if apart > clients/2/100 {
		t.Errorf("%d of %d pairs of keys have lists of their own", apart, clients/2)
	}
}

// Look-ups of more keys than are kept, with changes beside them: an acknowledged change is seen by every later look-up.
func TestLive_ChangesBesideManyLookUps(t *testing.T) {
	s := open(t, closing(t, memory.New()))
	ids := map[string]string{}
	for i := range 40 {
		ids[name(i)] = ""
	}
	createClients(t, s, ids)
	update(t, s, func(tx *store.Tx) error {
		for id := range ids {
			if err := tx.CreateFamily(store.Family{ID: "fam-" + id, Key: id}); err != nil {
				return err
			}
		}
		return nil
	})
	var done sync.WaitGroup
	for id := range ids {
		done.Go(func() {
			for round := range 30 {
				list := []string{"context:read:specific:" + strconv.Itoa(round)}
				if err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.SetPermissions(id, list) }); err != nil {
					t.Error(err)
					return
				}
				l, err := s.Live(t.Context(), "fam-"+id, id)
				if err != nil || l.Key.Joined != list[0] {
					t.Errorf("%s: %v %v, want %v", id, l.Key, err, list)
					return
				}
			}
		})
	}
	done.Wait()
}
