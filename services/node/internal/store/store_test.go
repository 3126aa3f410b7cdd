package store_test

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// open opens a store that is checked for consistency at the end of the test.
func open(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		db, err := bbolt.Open(filepath.Join(dir, "node.db"), 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		if err := db.View(func(tx *bbolt.Tx) error {
			for err := range tx.Check() {
				t.Errorf("inconsistent database: %v", err)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	})
	return s
}

func update(t *testing.T, s *store.Store, fn func(*store.Tx) error) {
	t.Helper()
	if err := s.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func view(t *testing.T, s *store.Store, fn func(*store.Tx) error) {
	t.Helper()
	if err := s.View(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func TestOpen_FileIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "data")
	open(t, dir)
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, "node.db"): 0o600} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %v", path, info.Mode(), err, want)
		}
	}
}

func TestOpen_SecondProcessGetsAClearError(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	_, err := store.Open(dir) // a second descriptor is locked out like another process
	if !errors.Is(err, store.ErrLocked) || !strings.Contains(err.Error(), "is the node already running?") {
		t.Errorf("got %v, want ErrLocked", err)
	}
}

func TestOpen_RefusesWhatItDoesNotKnow(t *testing.T) {
	newer := t.TempDir()
	if err := open(t, newer).Close(); err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(filepath.Join(newer, "node.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("meta")).Put([]byte("schema"), binary.BigEndian.AppendUint64(nil, 2))
	}), db.Close()); err != nil {
		t.Fatal(err)
	}
	rocks, garbage := t.TempDir(), t.TempDir()
	for path, text := range map[string]string{
		filepath.Join(rocks, "CURRENT"): "MANIFEST-000001\n", filepath.Join(garbage, "node.db"): strings.Repeat("no database ", 4096),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, dir := range map[string]string{"newer format": newer, "RocksDB": rocks, "garbage": garbage} {
		if _, err := store.Open(dir); !errors.Is(err, store.ErrSchema) {
			t.Errorf("%s: %v, want ErrSchema", name, err)
		}
	}
}

func TestRecordsSurviveReopening(t *testing.T) {
	dir := t.TempDir()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	identity := store.Identity{PublicKey: id.ID(public), Private: private, SenderKey: make([]byte, 32)}
	foreign := store.Identity{Context: id.ID{9}, PublicKey: id.ID{8}}
	contexts := []store.Context{
		{ID: id.ID{1}, Application: id.ID{2}, StateHash: id.ID{3}},
		{ID: id.ID{2}, Application: id.ID{2}, StateHash: id.ID{4}, DAGHeads: []id.ID{{5}, {6}}, Service: "s", ApplicationVersion: "1.0.0", Group: "ab"},
	}
	s := open(t, dir)
	update(t, s, func(tx *store.Tx) error {
		return errors.Join(tx.PutIdentity(identity), tx.PutIdentity(foreign), tx.PutContext(contexts[1]), tx.PutContext(contexts[0]))
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	view(t, open(t, dir), func(tx *store.Tx) error {
		for _, want := range []store.Identity{identity, foreign} {
			if got, err := tx.Identity(want.Context, want.PublicKey); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("Identity = %+v, %v, want %+v", got, err, want)
			}
		}
		if _, err := tx.Identity(id.ID{1}, id.ID(public)); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("identity of another context: %v, want ErrNotFound", err)
		}
		var got []store.Context
		for c, err := range tx.Contexts() {
			if err != nil {
				t.Error(err)
			}
			got = append(got, c)
		}
		if !reflect.DeepEqual(got, contexts) || tx.CountContexts() != 2 {
			t.Errorf("Contexts = %+v (%d), want %+v in this order", got, tx.CountContexts(), contexts)
		}
		if one, err := tx.Context(id.ID{2}); err != nil || !reflect.DeepEqual(one, contexts[1]) {
			t.Errorf("Context = %+v, %v", one, err)
		}
		if _, err := tx.Context(id.ID{7}); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("unknown context: %v, want ErrNotFound", err)
		}
		return nil
	})
}

func TestUpdate_ErrorOrPanicChangesNothing(t *testing.T) {
	s := open(t, t.TempDir())
	refused := errors.New("refused")
	err := s.Update(t.Context(), func(tx *store.Tx) error {
		return errors.Join(tx.PutContext(store.Context{ID: id.ID{1}}), refused)
	})
	if !errors.Is(err, refused) {
		t.Errorf("Update = %v, want the function's error", err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic is lost")
			}
		}()
		_ = s.Update(t.Context(), func(tx *store.Tx) error {
			if err := tx.PutContext(store.Context{ID: id.ID{1}}); err != nil {
				t.Error(err)
			}
			panic("x")
		})
	}()
	view(t, s, func(tx *store.Tx) error {
		if n := tx.CountContexts(); n != 0 {
			t.Errorf("%d contexts after a rollback", n)
		}
		return nil
	})
}

func TestCancelledContextStartsNoTransaction(t *testing.T) {
	s := open(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	fn := func(*store.Tx) error { t.Error("the function ran"); return nil }
	for _, err := range []error{s.View(ctx, fn), s.Update(ctx, fn), s.Probe(ctx)} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want Canceled", err)
		}
	}
}

func TestProbe_FailsWhenTheDatabaseIsGone(t *testing.T) {
	s := open(t, t.TempDir())
	if err := s.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Probe(t.Context()); err == nil {
		t.Error("Probe succeeds on a closed database")
	}
}

func TestBlobIndex_CountsReferences(t *testing.T) {
	s := open(t, t.TempDir())
	shared, own, twice := id.ID{1}, id.ID{2}, id.ID{3}
	a := store.Blob{ID: id.ID{10}, Size: 3, Hash: id.ID{20}, MIME: "text/plain"}
	b := store.Blob{ID: id.ID{11}, Size: 4, Hash: id.ID{21}, MIME: "image/png"}
	add := func(b store.Blob, chunks ...id.ID) (added bool) {
		update(t, s, func(tx *store.Tx) (err error) { added, err = tx.AddBlob(b, chunks); return err })
		return added
	}
	remove := func(blob id.ID) (dead []id.ID) {
		update(t, s, func(tx *store.Tx) (err error) { dead, err = tx.RemoveBlob(blob); return err })
		return dead
	}
	if !add(a, shared, own) || !add(b, shared, twice, twice) || add(a, shared, own) {
		t.Error("AddBlob: want new, new, known")
	}
	view(t, s, func(tx *store.Tx) error {
		if got, err := tx.Blob(a.ID); err != nil || got != a {
			t.Errorf("Blob = %+v, %v, want %+v", got, err, a)
		}
		if got, err := tx.BlobChunks(b.ID); err != nil || !slices.Equal(got, []id.ID{shared, twice, twice}) {
			t.Errorf("BlobChunks = %v, %v", got, err)
		}
		if got, err := tx.BlobTotal(); err != nil || got != (store.BlobTotal{Count: 2, Bytes: 7}) {
			t.Errorf("BlobTotal = %+v, %v", got, err)
		}
		if got, err := tx.ChunkRefs(shared); err != nil || got != 2 {
			t.Errorf("ChunkRefs = %d, %v, want 2: a known blob adds no reference", got, err)
		}
		return nil
	})
	if got := remove(a.ID); !slices.Equal(got, []id.ID{own}) {
		t.Errorf("removing a leaves %v dead, want its own chunk only", got)
	}
	if got := remove(b.ID); !slices.Equal(got, []id.ID{shared, twice}) {
		t.Errorf("removing b leaves %v dead, want both its chunks", got)
	}
	add(a, shared, own)
	update(t, s, func(tx *store.Tx) error {
		if got := tx.DeadChunks(); !slices.Equal(got, []id.ID{twice}) {
			t.Errorf("DeadChunks = %v, want only the one that did not come back", got)
		}
		return tx.ForgetChunk(twice)
	})
	view(t, s, func(tx *store.Tx) error {
		if got := tx.DeadChunks(); len(got) > 0 {
			t.Errorf("DeadChunks = %v after ForgetChunk", got)
		}
		if got, err := tx.BlobTotal(); err != nil || got != (store.BlobTotal{Count: 1, Bytes: 3}) {
			t.Errorf("BlobTotal = %+v, %v", got, err)
		}
		return nil
	})
}

func TestRemoveBlob_RefusesUnknownAndNeeded(t *testing.T) {
	s := open(t, t.TempDir())
	b := store.Blob{ID: id.ID{1}}
	update(t, s, func(tx *store.Tx) error {
		_, err := tx.AddBlob(b, nil)
		return errors.Join(err, tx.UseBlob(b.ID, 2), tx.UseBlob(b.ID, -1))
	})
	remove := func(blob id.ID) error {
		return s.Update(t.Context(), func(tx *store.Tx) error { _, err := tx.RemoveBlob(blob); return err })
	}
	if err := remove(b.ID); !errors.Is(err, store.ErrInUse) {
		t.Errorf("needed blob: %v, want ErrInUse", err)
	}
	if err := remove(id.ID{2}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("unknown blob: %v, want ErrNotFound", err)
	}
	update(t, s, func(tx *store.Tx) error { return tx.UseBlob(b.ID, -1) })
	if err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.UseBlob(b.ID, -1) }); err == nil {
		t.Error("uses below zero are accepted")
	}
	if err := remove(b.ID); err != nil {
		t.Errorf("blob that nothing needs any more: %v", err)
	}
}
