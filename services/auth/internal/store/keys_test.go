package store_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/memory"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// The keys after any one of them, also after an id that is not there, are the rest of the list.
func TestKeysAfter(t *testing.T) {
	const alphabet = "-0123456789ABCXYZ_abcxyz"
	random := rand.New(rand.NewPCG(1, 2))
	ids := map[string]bool{"-": true, "z": true, "zz": true, "a": true, "a-": true, "a--": true, "aa": true}
	for len(ids) < 300 {
		id := make([]byte, 1+random.IntN(6))
		for i := range id {
			id[i] = alphabet[random.IntN(len(alphabet))]
		}
		ids[string(id)] = true
	}
	var want []string
	for id := range ids {
		want = append(want, id)
	}
	slices.Sort(want)
	onEachBackend(t, func(t *testing.T, db kv.DB) {
		s := open(t, db)
		update(t, s, func(tx *store.Tx) error {
			for i, id := range want {
				if i%3 == 0 {
					continue // an id that is not there
				}
				if err := tx.CreateKey(store.Key{ID: id, Type: store.Root}, nil); err != nil {
					return err
				}
			}
			return nil
		})
		view(t, s, func(tx *store.Tx) error {
			for i, after := range append([]string{""}, want...) {
				var got, rest []string
				for k, err := range tx.KeysAfter(store.Root, after) {
					if err != nil {
						return err
					}
					got = append(got, k.ID)
				}
				for j, id := range want[i:] {
					if (i+j)%3 != 0 {
						rest = append(rest, id)
					}
				}
				if !slices.Equal(got, rest) {
					t.Errorf("after %q: %q, want %q", after, got, rest)
				}
			}
			return nil
		})
	})
}

// TestNarrowedMinter: a key that another one's token asked for never holds more than that one, in a chain of any
// length; widening the minter again gives nothing back.
func TestNarrowedMinter(t *testing.T) {
	s := open(t, closing(t, memory.New()))
	update(t, s, func(tx *store.Tx) error {
		for _, k := range []struct {
			id, by string
			list   []string
		}{
			{"a", "", []string{"admin"}},
			{"b", "a", []string{"admin"}},
			{"c", "b", []string{"context:list", "blob", "context:execute[c1]"}},
			{"d", "a", []string{"blob:list"}},
			{"dead", "a", []string{"admin"}},
			{"other", "", []string{"admin"}},
		} {
			key := store.Key{ID: k.id, Type: store.Client, RootKeyID: "root", MintedBy: k.by}
			if k.id == "dead" {
				key.RevokedAt = 1
			}
			if err := tx.CreateKey(key, k.list); err != nil {
				return err
			}
		}
		return nil
	})
	lists := func() map[string][]string {
		all := map[string][]string{}
		view(t, s, func(tx *store.Tx) error {
			for _, id := range []string{"a", "b", "c", "d", "dead", "other"} {
				list, err := tx.Permissions(id)
				if err != nil {
					return err
				}
				all[id] = list
			}
			return nil
		})
		return all
	}
	set := func(list ...string) {
		update(t, s, func(tx *store.Tx) error { return tx.SetPermissions("a", list) })
	}
	narrow := map[string][]string{
		"a": {"context[c1]", "context", "blob:list"}, "b": {"context[c1]", "context", "blob:list"},
		"c": {"context[c1]", "context:list", "blob:list", "context:execute[c1]"}, "d": {"context[c1]", "blob:list"},
		"dead": {"admin"}, "other": {"admin"},
	}
	set(narrow["a"]...)
	if got := lists(); !reflect.DeepEqual(got, narrow) {
		t.Errorf("narrowed: %q, want %q", got, narrow)
	}
	set("admin")
	narrow["a"] = []string{"admin"}
	if got := lists(); !reflect.DeepEqual(got, narrow) {
		t.Errorf("widened again: %q, want %q", got, narrow)
	}
}

// What a key's tokens minted does not outlive it, when its expiry is set later, too.
func TestChangeKey_ExpiryOfWhatItMinted(t *testing.T) {
	s := open(t, closing(t, memory.New()))
	keys := map[string]store.Key{
		"a": {}, "b": {MintedBy: "a"}, "c": {MintedBy: "b", ExpiresAt: 500}, "d": {MintedBy: "b", ExpiresAt: 50}, "e": {MintedBy: "a", RevokedAt: 1},
	}
	update(t, s, func(tx *store.Tx) error {
		for id, k := range keys {
			k.ID, k.Type, k.RootKeyID = id, store.Client, "root"
			if err := tx.CreateKey(k, nil); err != nil {
				return err
			}
		}
		a, err := tx.Key("a")
		if err != nil {
			return err
		}
		a.ExpiresAt, a.Name = 100, "renamed"
		return tx.ChangeKey(a)
	})
	view(t, s, func(tx *store.Tx) error {
		for id, want := range map[string]int64{"a": 100, "b": 100, "c": 100, "d": 50, "e": 0} {
			if k, err := tx.Key(id); err != nil || k.ExpiresAt != want || (k.Name == "renamed") != (id == "a") {
				t.Errorf("%s: %+v, %v, want expiry %d", id, k, err, want)
			}
		}
		return nil
	})
}

// ioDB fails as a disk does, at one of the three places where it can.
type ioDB struct {
	kv.DB
	begin, read, commit error
}

type ioTx struct {
	kv.Tx
	err error
}

func (tx ioTx) Get(bucket, key string) ([]byte, error) {
	if tx.err != nil {
		return nil, tx.err
	}
	return tx.Tx.Get(bucket, key)
}

func (db ioDB) View(ctx context.Context, fn func(kv.Tx) error) error {
	if db.begin != nil {
		return db.begin
	}
	return db.DB.View(ctx, func(tx kv.Tx) error { return fn(ioTx{tx, db.read}) })
}

func (db ioDB) Update(ctx context.Context, fn func(kv.Tx) error) error {
	if db.begin != nil {
		return db.begin
	}
	err := db.DB.Update(ctx, func(tx kv.Tx) error { return fn(ioTx{tx, db.read}) })
	return errors.Join(err, db.commit)
}

func TestErrUnavailable(t *testing.T) {
	inner := closing(t, memory.New())
	open(t, inner)
	eio := &errno{syscall.EIO}
	domain := errors.New("not what was asked for")
	for _, tt := range []struct {
		name string
		db   ioDB
		fn   func(*store.Tx) error
		want bool
	}{
		{"begin", ioDB{begin: eio}, func(*store.Tx) error { return nil }, true},
		{"store closed", ioDB{begin: kv.ErrClosed}, func(*store.Tx) error { return nil }, true},
		{"commit", ioDB{commit: eio}, func(*store.Tx) error { return nil }, true},
		{"read", ioDB{read: eio}, func(tx *store.Tx) error { _, err := tx.Key("k"); return err }, true},
		{"read that was handled", ioDB{read: eio}, func(tx *store.Tx) error { _, _ = tx.Key("k"); return nil }, false},
		{"not found", ioDB{}, func(tx *store.Tx) error { _, err := tx.Key("k"); return err }, false},
		{"the function's own", ioDB{}, func(*store.Tx) error { return domain }, false},
		{"a client that left", ioDB{begin: context.Canceled}, func(*store.Tx) error { return nil }, false},
		{"a mistake of the program", ioDB{}, func(tx *store.Tx) error { return tx.Put("", "", nil) }, false},
	} {
		tt.db.DB = inner
		s := store.New(tt.db)
		run := map[string]func(context.Context, func(*store.Tx) error) error{"Update": s.Update}
		if tt.db.commit == nil && tt.name != "a mistake of the program" {
			run["View"] = s.View
		}
		for how, transaction := range run {
			err := transaction(t.Context(), tt.fn)
			if got := errors.Is(err, store.ErrUnavailable); got != tt.want {
				t.Errorf("%s, %s: %v; unavailable %t, want %t", how, tt.name, err, got, tt.want)
			}
			if tt.want && !errors.Is(err, eio) && !errors.Is(err, kv.ErrClosed) {
				t.Errorf("%s, %s: the cause is lost: %v", how, tt.name, err)
			}
		}
	}
}

// errno is an error with an identity of its own.
type errno struct{ error }

func (e *errno) Unwrap() error { return e.error }

func TestLimits(t *testing.T) {
	for _, tt := range []struct {
		limits    store.Limits
		machine   bool
		end, span int64
	}{
		{store.Limits{}, false, store.Never, store.Never},
		{store.Limits{Idle: time.Minute, Age: time.Hour}, false, 1000 + 3600, 60},
		{store.Limits{Idle: time.Minute, Age: time.Hour}, true, store.Never, store.Never},
		{store.Limits{Age: time.Hour}, false, 1000 + 3600, store.Never},
	} {
		if end, span := tt.limits.End(1000, tt.machine), tt.limits.Span(tt.machine); end != tt.end || span != tt.span {
			t.Errorf("%+v, machine %t: end %d, span %d, want %d, %d", tt.limits, tt.machine, end, span, tt.end, tt.span)
		}
	}
}
