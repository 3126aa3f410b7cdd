package store_test

import (
	"strconv"
	"sync"
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
		if revoked := readLive(t, s, "one", "a"); revoked.Root.Revoked == 0 {
			t.Error("the root was revoked, and its old reading is served")
		}
	})
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
	for i := 0; i < clients; i += 2 {
		one, two := readLive(t, s, "fam"+strconv.Itoa(i), strconv.Itoa(i)), readLive(t, s, "fam"+strconv.Itoa(i+1), strconv.Itoa(i+1))
		want := "context:read:specific:" + strconv.Itoa(i/2)
		if one.Key == two.Key || one.Key.Joined != want || two.Key.Joined != want {
			t.Fatalf("keys %d: %q and %q, want %q", i, one.Key.Joined, two.Key.Joined, want)
		}
		if one.Key.Granted != two.Key.Granted {
			t.Fatalf("keys %d and %d have lists of their own", i, i+1)
		}
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
