package store_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/memory"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// Exactly the changes that take rights away move a cell, and only the cell of what they concern: a missing bump
// would serve a revoked key from the cache, a needless one would cost every cached decision.
func TestCells_ExactlyTheChangesThatTakeRights(t *testing.T) {
	minter := map[string]string{"a": "", "b": "a", "c": "b", "z": ""}
	for _, tt := range []struct {
		name   string
		change func(*store.Tx) error
		bumped []string
	}{
		{"nothing", func(*store.Tx) error { return nil }, nil},
		{"create a key", func(tx *store.Tx) error {
			return tx.CreateKey(store.Key{ID: "new", Type: store.Client, RootKeyID: "root", MintedBy: "a"}, []string{"admin"})
		}, nil},
		{"create a family", func(tx *store.Tx) error { return tx.CreateFamily(store.Family{ID: "fam-new", Key: "a"}) }, nil},
		{"refresh", func(tx *store.Tx) error { return tx.SaveFamily(store.Family{ID: "fam", Key: "a", Number: 2}) }, nil},
		{"use a challenge", func(tx *store.Tx) error { return tx.UseChallenge("c", start, start) }, nil},
		{"put an account", func(tx *store.Tx) error { return tx.PutAccount("p", store.Account{Name: "n"}) }, nil},
		{"revoke a family", func(tx *store.Tx) error { return tx.RevokeFamily("fam", start) }, []string{"family fam"}},
		{"revoke the families of a key", func(tx *store.Tx) error {
			_, err := tx.RevokeFamilies("a", start)
			return err
		}, []string{"family fam"}},
		{"set permissions", func(tx *store.Tx) error { return tx.SetPermissions("a", []string{"blob"}) }, []string{"key a", "key b", "key c"}},
		{"set permissions that hold what was minted", func(tx *store.Tx) error { return tx.SetPermissions("a", []string{"admin", "blob"}) }, []string{"key a"}},
		{"let a key expire", func(tx *store.Tx) error {
			return tx.ChangeKey(store.Key{V: 1, ID: "b", Type: store.Client, RootKeyID: "root", MintedBy: "a", ExpiresAt: 99})
		}, []string{"key b", "key c"}},
		{"rename a key", func(tx *store.Tx) error {
			return tx.ChangeKey(store.Key{V: 1, ID: "b", Type: store.Client, RootKeyID: "root", MintedBy: "a", Name: "n"})
		}, []string{"key b"}},
		{"revoke a key", func(tx *store.Tx) error {
			_, err := tx.RevokeKey("a", start)
			return err
		}, []string{"key a", "key b", "key c"}},
		{"revoke a root key", func(tx *store.Tx) error {
			_, err := tx.RevokeKey("root", start)
			return err
		}, []string{"key root"}},
	} {
		onEachBackend(t, func(t *testing.T, db kv.DB) {
			s := open(t, db)
			createClients(t, s, minter)
			update(t, s, func(tx *store.Tx) error {
				return errors.Join(tx.CreateFamily(store.Family{ID: "fam", Key: "a"}), tx.CreateFamily(store.Family{ID: "fam2", Key: "z"}))
			})
			cells := map[string]*store.Cell{"family fam": s.FamilyCell("fam"), "family fam2": s.FamilyCell("fam2"), "family fam-new": s.FamilyCell("fam-new")}
			for _, id := range []string{"root", "a", "b", "c", "z", "new"} {
				cells["key "+id] = s.KeyCell(id)
			}
			before := map[string]uint64{}
			for name, c := range cells {
				before[name] = c.Epoch()
			}
			update(t, s, tt.change)
			want := map[*store.Cell]bool{}
			for _, name := range tt.bumped {
				want[cells[name]] = true
			}
			for name, c := range cells {
				if got := c.Epoch() != before[name]; got != want[c] {
					t.Errorf("%s: cell of %s moved: %t, want %t", tt.name, name, got, want[c])
				}
			}
		})
	}
}

// Revoking again changes nothing, so it must not move cells: a client could flush the cache by repeating it.
func TestCells_RepeatedRevocationMovesNothing(t *testing.T) {
	s := open(t, closing(t, memory.New()))
	createClients(t, s, map[string]string{"a": ""})
	again := func(tx *store.Tx) error {
		_, err := tx.RevokeKey("a", start)
		return errors.Join(err, tx.RevokeFamily("fam", start))
	}
	update(t, s, func(tx *store.Tx) error { return tx.CreateFamily(store.Family{ID: "fam", Key: "a"}) })
	update(t, s, again)
	key, family := s.KeyCell("a"), s.FamilyCell("fam")
	epochs := [2]uint64{key.Epoch(), family.Epoch()}
	update(t, s, again)
	if got := [2]uint64{key.Epoch(), family.Epoch()}; got != epochs {
		t.Errorf("epochs moved from %v to %v", epochs, got)
	}
}

// One record has one cell for all who ask, whatever happens in between.
func TestCells_Shared(t *testing.T) {
	s := open(t, closing(t, memory.New()))
	key, family := s.KeyCell("k"), s.FamilyCell("k")
	for i := range 1000 {
		s.KeyCell(strconv.Itoa(i))
	}
	if s.KeyCell("k") != key || s.FamilyCell("k") != family {
		t.Error("a record got another cell")
	}
}

// A change of one record outdates few decisions about others.
func TestCells_Spread(t *testing.T) {
	s := open(t, closing(t, memory.New()))
	const records = 1000
	cells := map[*store.Cell]bool{}
	for i := range records {
		cells[s.KeyCell(strconv.Itoa(i))], cells[s.FamilyCell(strconv.Itoa(i))] = true, true
	}
	if len(cells) < 2*records*3/4 { // about 1883 of 2000 are expected, give or take 10
		t.Errorf("%d records share %d cells", 2*records, len(cells))
	}
}

// rerun is a backend that runs every update twice, as the contract of kv permits: the first run is undone.
type rerun struct{ kv.DB }

var errUndone = errors.New("undone")

func (r rerun) Update(ctx context.Context, fn func(kv.Tx) error) error {
	err := r.DB.Update(ctx, func(tx kv.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		return errUndone
	})
	if !errors.Is(err, errUndone) {
		return err
	}
	return r.DB.Update(ctx, fn)
}

func TestUpdate_RunTwiceByTheBackend(t *testing.T) {
	s := open(t, rerun{closing(t, memory.New())})
	createClients(t, s, map[string]string{"a": "", "b": "a", "z": ""})
	cells := map[string]*store.Cell{"a": s.KeyCell("a"), "b": s.KeyCell("b"), "z": s.KeyCell("z"), "root": s.KeyCell("root")}
	runs := 0
	update(t, s, func(tx *store.Tx) error {
		runs++
		_, err := tx.RevokeKey("a", start)
		return err
	})
	if runs != 2 {
		t.Fatalf("the function ran %d times, want 2", runs)
	}
	bumped := map[*store.Cell]bool{cells["a"]: true, cells["b"]: true}
	for id, cell := range cells {
		if got := cell.Epoch() != 0; got != bumped[cell] {
			t.Errorf("cell of %s moved: %t, want %t", id, got, bumped[cell])
		}
	}
	want := map[string]int64{"a": start.Unix(), "b": start.Unix()}
	if got := revokedKeys(t, s); len(got) != len(want) || got["a"] != want["a"] || got["b"] != want["b"] {
		t.Errorf("revoked: %v, want %v", got, want)
	}
}

// failing is a backend whose commits, once broken, fail after the fact: what was written may be on the disk or not.
type failing struct {
	kv.DB
	broken bool
}

var errDisk = errors.New("disk failed")

func (f *failing) Update(ctx context.Context, fn func(kv.Tx) error) error {
	if err := f.DB.Update(ctx, fn); err != nil || !f.broken {
		return err
	}
	return errDisk
}

// After a commit of unknown outcome, decisions cached before it must not be served.
func TestUpdate_CommitInDoubtStillBumps(t *testing.T) {
	db := &failing{DB: closing(t, memory.New())}
	s := open(t, db)
	createClients(t, s, map[string]string{"a": ""})
	cell := s.KeyCell("a")
	db.broken = true
	err := s.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.RevokeKey("a", start)
		return err
	})
	if !errors.Is(err, errDisk) {
		t.Fatalf("Update = %v, want the backend's error", err)
	}
	if cell.Epoch() == 0 {
		t.Error("the cell did not move although the revocation may have been stored")
	}
}

// A decision that began before a revocation must be outdated after it, in whatever order the two interleave: this
// is the promise of the gate's cache.
func TestCells_NoStaleDecisionAfterAcknowledgement(t *testing.T) {
	onEachBackend(t, func(t *testing.T, db kv.DB) {
		s := open(t, db)
		const rounds = 50
		ids := map[string]string{}
		for i := range rounds {
			ids[name(i)] = ""
		}
		createClients(t, s, ids)
		for i := range rounds {
			id := name(i)
			var cell *store.Cell
			var epoch uint64
			var live bool
			var wg sync.WaitGroup
			wg.Go(func() { // a look-up as the gate does it: cell, epoch, record
				cell = s.KeyCell(id)
				epoch = cell.Epoch()
				view(t, s, func(tx *store.Tx) error {
					k, err := tx.Key(id)
					live = k.RevokedAt == 0
					return err
				})
			})
			wg.Go(func() {
				update(t, s, func(tx *store.Tx) error {
					_, err := tx.RevokeKey(id, start)
					return err
				})
			})
			wg.Wait() // the revocation is acknowledged
			if live && cell.Epoch() == epoch {
				t.Fatalf("round %d: a decision of before the revocation would still be served", i)
			}
		}
	})
}

func name(i int) string { return "client-" + string(rune('A'+i/26)) + string(rune('a'+i%26)) }

func TestUpdate_ErrorKeepsNothing(t *testing.T) {
	onEachBackend(t, func(t *testing.T, db kv.DB) {
		s := open(t, db)
		createClients(t, s, map[string]string{"a": ""})
		before := digest(t, db, allBuckets...)
		boom := errors.New("boom")
		err := s.Update(t.Context(), func(tx *store.Tx) error {
			if _, err := tx.RevokeKey("a", start.Add(time.Hour)); err != nil {
				return err
			}
			return boom
		})
		if !errors.Is(err, boom) {
			t.Errorf("Update = %v, want the function's error", err)
		}
		if digest(t, db, allBuckets...) != before {
			t.Error("an update that failed changed the store")
		}
	})
}
