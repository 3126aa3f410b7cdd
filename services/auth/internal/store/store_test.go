package store_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/bolt"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/memory"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// onEachBackend runs the test on every backend.
func onEachBackend(t *testing.T, test func(t *testing.T, db kv.DB)) {
	t.Helper()
	t.Run("memory", func(t *testing.T) { test(t, closing(t, memory.New())) })
	t.Run("bbolt", func(t *testing.T) {
		db, err := bolt.Open(filepath.Join(t.TempDir(), "auth.db"), bolt.Options{})
		if err != nil {
			t.Fatal(err)
		}
		test(t, closing(t, db))
	})
}

func closing(t *testing.T, db kv.DB) kv.DB {
	t.Helper()
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func open(t *testing.T, db kv.DB) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
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

// digest returns a hash over everything that the named buckets hold.
func digest(t *testing.T, db kv.DB, buckets ...string) [sha256.Size]byte {
	t.Helper()
	var all bytes.Buffer
	err := db.View(t.Context(), func(tx kv.Tx) error {
		for _, bucket := range buckets {
			for key, value := range tx.Scan(bucket, "") {
				fmt.Fprintf(&all, "%s %q %q\n", bucket, key, value)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(all.Bytes())
}

var allBuckets = []string{
	"root", "client", "root_clients", "minted", "permissions", "family", "key_families", "challenge", "account", "system",
}

func TestKeys_RoundTrip(t *testing.T) {
	root := store.Key{
		ID: "root-1", Type: store.Root, CreatedAt: 10, ExpiresAt: 99, NodeURL: "https://node.example", CreatedBy: "root-0",
		PublicKey: "0xabc", AuthMethod: "eth_wallet",
	}
	client := store.Key{
		ID: "client-1", Type: store.Client, CreatedAt: 11, ExpiresAt: 98, NodeURL: "http://node.example:2528", CreatedBy: "root-1",
		RootKeyID: "root-1", Name: "a name", Machine: true, MintedBy: "client-0",
	}
	permissions := map[string][]string{
		"root-1":   {"admin"},
		"client-1": {"context[ctx,me]", "context:execute[ctx,me,set]", "blob:list", "context:list"}, // order is kept
	}
	onEachBackend(t, func(t *testing.T, db kv.DB) {
		s := open(t, db)
		update(t, s, func(tx *store.Tx) error {
			return errors.Join(tx.CreateKey(root, permissions["root-1"]), tx.CreateKey(client, permissions["client-1"]))
		})
		view(t, s, func(tx *store.Tx) error {
			for _, want := range []store.Key{root, client} {
				want.V = 1
				got, err := tx.Key(want.ID)
				if err != nil || got != want {
					t.Errorf("Key(%s) = %+v, %v, want %+v", want.ID, got, err, want)
				}
				list, err := tx.Permissions(want.ID)
				if err != nil || !slices.Equal(list, permissions[want.ID]) {
					t.Errorf("Permissions(%s) = %q, %v, want %q", want.ID, list, err, permissions[want.ID])
				}
				var listed []store.Key
				for k, err := range tx.Keys(want.Type) {
					if err != nil {
						t.Error(err)
					}
					listed = append(listed, k)
				}
				if !reflect.DeepEqual(listed, []store.Key{want}) {
					t.Errorf("Keys(%s) = %+v, want the one", want.Type, listed)
				}
			}
			for _, id := range []string{"", "root", "root-1:", "nobody", "root-1\x00"} {
				if k, err := tx.Key(id); !errors.Is(err, store.ErrNotFound) {
					t.Errorf("Key(%q) = %+v, %v, want ErrNotFound", id, k, err)
				}
				if list, err := tx.Permissions(id); !errors.Is(err, store.ErrNotFound) {
					t.Errorf("Permissions(%q) = %q, %v, want ErrNotFound", id, list, err)
				}
			}
			return nil
		})
	})
}

// A key without permissions has an empty list, not none: lists are arrays for the clients that read them.
func TestKeys_NoPermissions(t *testing.T) {
	onEachBackend(t, func(t *testing.T, db kv.DB) {
		s := open(t, db)
		update(t, s, func(tx *store.Tx) error {
			return tx.CreateKey(store.Key{ID: "c", Type: store.Client, RootKeyID: "r"}, nil)
		})
		view(t, s, func(tx *store.Tx) error {
			if list, err := tx.Permissions("c"); err != nil || list == nil || len(list) != 0 {
				t.Errorf("Permissions = %#v, %v, want an empty list", list, err)
			}
			return nil
		})
	})
}

func TestKey_Live(t *testing.T) {
	at := start.Unix()
	for _, tt := range []struct {
		key  store.Key
		want bool
	}{
		{store.Key{}, true},
		{store.Key{RevokedAt: at}, false},
		{store.Key{RevokedAt: at + 100}, false}, // revoked is revoked, whatever the clock says
		{store.Key{ExpiresAt: at + 1}, true},
		{store.Key{ExpiresAt: at}, false},
		{store.Key{ExpiresAt: at - 1}, false},
		{store.Key{RevokedAt: at, ExpiresAt: at + 1}, false},
	} {
		if got := tt.key.Live(start); got != tt.want {
			t.Errorf("Live of %+v at %d = %t, want %t", tt.key, at, got, tt.want)
		}
	}
}

// A second key of an id would replace an identity or bring a revoked one back.
func TestCreateKey_OverwriteAndResurrection(t *testing.T) {
	for _, revoked := range []bool{false, true} {
		for _, types := range [][2]store.KeyType{
			{store.Root, store.Root}, {store.Client, store.Client}, {store.Root, store.Client}, {store.Client, store.Root},
		} {
			onEachBackend(t, func(t *testing.T, db kv.DB) {
				s := open(t, db)
				update(t, s, func(tx *store.Tx) error {
					if err := tx.CreateKey(store.Key{ID: "k", Type: types[0], RootKeyID: "r", CreatedAt: 1}, []string{"context:list"}); err != nil {
						return err
					}
					if revoked {
						_, err := tx.RevokeKey("k", start)
						return err
					}
					return nil
				})
				before := digest(t, db, allBuckets...)
				err := s.Update(t.Context(), func(tx *store.Tx) error {
					return tx.CreateKey(store.Key{ID: "k", Type: types[1], RootKeyID: "other", MintedBy: "m", CreatedAt: 2}, []string{"admin"})
				})
				if !errors.Is(err, store.ErrExists) {
					t.Errorf("CreateKey of a %s key over a %s key (revoked: %t): %v, want ErrExists", types[1], types[0], revoked, err)
				}
				if digest(t, db, allBuckets...) != before {
					t.Errorf("a refused CreateKey changed the store (%s over %s, revoked: %t)", types[1], types[0], revoked)
				}
			})
		}
	}
}

func createClients(t *testing.T, s *store.Store, minter map[string]string) {
	t.Helper()
	update(t, s, func(tx *store.Tx) error {
		if err := tx.CreateKey(store.Key{ID: "root", Type: store.Root}, []string{"admin"}); err != nil {
			return err
		}
		for id, by := range minter {
			if err := tx.CreateKey(store.Key{ID: id, Type: store.Client, RootKeyID: "root", MintedBy: by}, []string{"admin"}); err != nil {
				return err
			}
		}
		return nil
	})
}

func revokedKeys(t *testing.T, s *store.Store) map[string]int64 {
	t.Helper()
	got := map[string]int64{}
	view(t, s, func(tx *store.Tx) error {
		for _, kind := range []store.KeyType{store.Root, store.Client} {
			for k, err := range tx.Keys(kind) {
				if err != nil {
					return err
				}
				if k.RevokedAt != 0 {
					got[k.ID] = k.RevokedAt
				}
			}
		}
		return nil
	})
	return got
}

func TestRevokeKey_CascadesOverMintedChains(t *testing.T) {
	minter := map[string]string{"a": "", "b": "a", "c": "b", "d": "b", "e": "", "ab": "", "f": "ab"} // "a" is a prefix of "ab"
	onEachBackend(t, func(t *testing.T, db kv.DB) {
		s := open(t, db)
		createClients(t, s, minter)
		revoke := func(id string, now time.Time) (at int64) {
			update(t, s, func(tx *store.Tx) (err error) {
				at, err = tx.RevokeKey(id, now)
				return err
			})
			return at
		}
		first := start.Unix()
		if at := revoke("d", start); at != first {
			t.Errorf("RevokeKey = %d, want %d", at, first)
		}
		later := start.Add(time.Hour)
		revoke("a", later)
		want := map[string]int64{"a": later.Unix(), "b": later.Unix(), "c": later.Unix(), "d": first}
		if got := revokedKeys(t, s); !reflect.DeepEqual(got, want) {
			t.Errorf("revoked: %v, want %v", got, want)
		}
		if at := revoke("a", later.Add(time.Hour)); at != later.Unix() {
			t.Errorf("second RevokeKey = %d, want the time of the first, %d", at, later.Unix())
		}
		// Root keys need no write for their clients: each decision reads the root.
		revoke("root", later)
		want["root"] = later.Unix()
		if got := revokedKeys(t, s); !reflect.DeepEqual(got, want) {
			t.Errorf("revoked: %v, want %v", got, want)
		}
		err := s.Update(t.Context(), func(tx *store.Tx) error {
			_, err := tx.RevokeKey("nobody", start)
			return err
		})
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("RevokeKey of an unknown key: %v, want ErrNotFound", err)
		}
	})
}

func TestFamilies_RoundTrip(t *testing.T) {
	want := store.Family{
		ID: "fam", Key: "k", Created: 1, LastRefresh: 2, ClientName: "app", Peer: "10.0.0.1", Number: 3,
		Current: store.Generation{
			AccessKID: "a", RefreshKID: "r", AccessID: "ja", RefreshID: "jr", IssuedAt: 4, AccessExpiry: 5, RefreshExpiry: 6,
			Permissions: []string{"context[c,i]", "blob"}, NodeURL: "http://n",
		},
		PreviousRefreshID: "jp", RotatedAt: 7, SuccessorPresented: true,
	}
	onEachBackend(t, func(t *testing.T, db kv.DB) {
		s := open(t, db)
		update(t, s, func(tx *store.Tx) error { return tx.CreateFamily(want) })
		check := func() {
			t.Helper()
			view(t, s, func(tx *store.Tx) error {
				got, err := tx.Family("fam")
				want := want
				want.V = 1
				if err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("Family = %+v, %v, want %+v", got, err, want)
				}
				if _, err := tx.Family("none"); !errors.Is(err, store.ErrNotFound) {
					t.Errorf("Family of an unknown id: %v, want ErrNotFound", err)
				}
				return nil
			})
		}
		check()
		want.Number, want.Current.RefreshID = 4, "jr2"
		update(t, s, func(tx *store.Tx) error { return tx.SaveFamily(want) })
		check()
	})
}

func TestRevokeFamilies(t *testing.T) {
	onEachBackend(t, func(t *testing.T, db kv.DB) {
		s := open(t, db)
		update(t, s, func(tx *store.Tx) error {
			for id, key := range map[string]string{"f1": "k", "f2": "k", "f3": "k", "g1": "kk", "g2": "other"} {
				if err := tx.CreateFamily(store.Family{ID: id, Key: key}); err != nil {
					return err
				}
			}
			return tx.RevokeFamily("f2", start)
		})
		later := start.Add(time.Hour)
		var ended int
		update(t, s, func(tx *store.Tx) (err error) {
			ended, err = tx.RevokeFamilies("k", later)
			return err
		})
		if ended != 2 {
			t.Errorf("RevokeFamilies = %d, want 2: one was revoked before", ended)
		}
		want := map[string]int64{"f1": later.Unix(), "f2": start.Unix(), "f3": later.Unix(), "g1": 0, "g2": 0}
		view(t, s, func(tx *store.Tx) error {
			for id, at := range want {
				if f, err := tx.Family(id); err != nil || f.RevokedAt != at {
					t.Errorf("family %s: revoked at %d, %v, want %d", id, f.RevokedAt, err, at)
				}
			}
			return nil
		})
		err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.RevokeFamily("none", start) })
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("RevokeFamily of an unknown id: %v, want ErrNotFound", err)
		}
	})
}

func TestAccounts(t *testing.T) {
	onEachBackend(t, func(t *testing.T, db kv.DB) {
		s := open(t, db)
		names := []string{"alice", "a:b", "josé", "user_password"}
		update(t, s, func(tx *store.Tx) error {
			for _, name := range names {
				if err := tx.PutAccount("user_password", store.Account{Name: name, Key: "key of " + name, PHC: "$argon2id$"}); err != nil {
					return err
				}
			}
			return nil
		})
		view(t, s, func(tx *store.Tx) error {
			for _, name := range names {
				want := store.Account{V: 1, Name: name, Key: "key of " + name, PHC: "$argon2id$"}
				if got, err := tx.Account("user_password", name); err != nil || got != want {
					t.Errorf("Account(%q) = %+v, %v, want %+v", name, got, err, want)
				}
			}
			for _, name := range []string{"", "a", "Alice", "alice ", "b"} {
				if got, err := tx.Account("user_password", name); !errors.Is(err, store.ErrNotFound) {
					t.Errorf("Account(%q) = %+v, %v, want ErrNotFound", name, got, err)
				}
			}
			if got, err := tx.Account("user", "password:alice"); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("account of another provider: %+v, %v, want ErrNotFound", got, err)
			}
			return nil
		})
	})
}

func TestBootstrap_RoundTrip(t *testing.T) {
	onEachBackend(t, func(t *testing.T, db kv.DB) {
		s := open(t, db)
		read := func() (b store.Bootstrap) {
			t.Helper()
			view(t, s, func(tx *store.Tx) (err error) {
				b, err = tx.Bootstrap()
				return err
			})
			return b
		}
		if got := read(); !reflect.DeepEqual(got, store.Bootstrap{}) {
			t.Errorf("Bootstrap of a fresh store = %+v, want the zero state", got)
		}
		want := store.Bootstrap{V: 1, SHA256: bytes.Repeat([]byte{7}, 32), Expires: 5}
		update(t, s, func(tx *store.Tx) error { return tx.PutBootstrap(want) })
		if got := read(); !reflect.DeepEqual(got, want) {
			t.Errorf("Bootstrap = %+v, want %+v", got, want)
		}
		update(t, s, func(tx *store.Tx) error { return tx.PutBootstrap(store.Bootstrap{Closed: true}) })
		if got := read(); !got.Closed || got.SHA256 != nil || got.Expires != 0 {
			t.Errorf("Bootstrap = %+v, want closed and nothing else", got)
		}
	})
}

func TestAnyRootEver(t *testing.T) {
	onEachBackend(t, func(t *testing.T, db kv.DB) {
		s := open(t, db)
		want := func(want bool, when string) {
			t.Helper()
			view(t, s, func(tx *store.Tx) error {
				if got := tx.AnyRootEver(); got != want {
					t.Errorf("AnyRootEver %s = %t", when, got)
				}
				return nil
			})
		}
		want(false, "of an empty store")
		update(t, s, func(tx *store.Tx) error {
			return tx.CreateKey(store.Key{ID: "c", Type: store.Client, RootKeyID: "r"}, nil)
		})
		want(false, "with a client key")
		update(t, s, func(tx *store.Tx) error {
			if err := tx.CreateKey(store.Key{ID: "r", Type: store.Root}, nil); err != nil {
				return err
			}
			_, err := tx.RevokeKey("r", start)
			return err
		})
		want(true, "with a revoked root key")
	})
}

func TestOpen_Schema(t *testing.T) {
	onEachBackend(t, func(t *testing.T, db kv.DB) {
		open(t, db)
		open(t, db) // once more: the format that it wrote itself
		put := func(text string) {
			t.Helper()
			if err := db.Update(t.Context(), func(tx kv.Tx) error { return tx.Put("system", "schema", []byte(text)) }); err != nil {
				t.Fatal(err)
			}
		}
		put(`{"v":2}`)
		before := digest(t, db, allBuckets...)
		if _, err := store.Open(t.Context(), db); !errors.Is(err, store.ErrNewer) {
			t.Errorf("Open of format 2: %v, want ErrNewer", err)
		}
		put(`{"v":`)
		if _, err := store.Open(t.Context(), db); err == nil || errors.Is(err, store.ErrNewer) {
			t.Errorf("Open with a broken schema record: %v, want an error of its own", err)
		}
		put(`{"v":2}`)
		if digest(t, db, allBuckets...) != before {
			t.Error("a refused Open wrote to the store")
		}
	})
}

// A record that does not decode is an error everywhere: read as absent it could free an id or a challenge.
func TestBrokenRecords(t *testing.T) {
	onEachBackend(t, func(t *testing.T, db kv.DB) {
		s := open(t, db)
		err := db.Update(t.Context(), func(tx kv.Tx) error {
			for _, bucket := range []string{"root", "permissions", "family", "account"} {
				key := map[string]string{"account": "user_password:x"}[bucket]
				if key == "" {
					key = "x"
				}
				if err := tx.Put(bucket, key, []byte(`{"v":1,`)); err != nil {
					return err
				}
			}
			return tx.Put("system", "bootstrap", []byte("null and void"))
		})
		if err != nil {
			t.Fatal(err)
		}
		for name, fn := range map[string]func(*store.Tx) error{
			"Key":          func(tx *store.Tx) error { _, err := tx.Key("x"); return err },
			"Permissions":  func(tx *store.Tx) error { _, err := tx.Permissions("x"); return err },
			"Family":       func(tx *store.Tx) error { _, err := tx.Family("x"); return err },
			"Account":      func(tx *store.Tx) error { _, err := tx.Account("user_password", "x"); return err },
			"Bootstrap":    func(tx *store.Tx) error { _, err := tx.Bootstrap(); return err },
			"CreateKey":    func(tx *store.Tx) error { return tx.CreateKey(store.Key{ID: "x", Type: store.Root}, nil) },
			"RevokeKey":    func(tx *store.Tx) error { _, err := tx.RevokeKey("x", start); return err },
			"RevokeFamily": func(tx *store.Tx) error { return tx.RevokeFamily("x", start) },
			"Keys": func(tx *store.Tx) (err error) {
				for _, err = range tx.Keys(store.Root) {
					continue
				}
				return err
			},
		} {
			err := s.Update(t.Context(), fn)
			if err == nil || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrExists) {
				t.Errorf("%s with a broken record: %v, want an error of its own", name, err)
			}
		}
		if n, err := s.SweepFamilies(t.Context(), start, ""); err == nil || n != 0 {
			t.Errorf("SweepFamilies with a broken record = %d, %v, want an error", n, err)
		}
		view(t, s, func(tx *store.Tx) error {
			if !tx.AnyRootEver() {
				t.Error("a broken root record reads as no root key: the bootstrap would open again")
			}
			return nil
		})
	})
}

func TestReadAndProbe(t *testing.T) {
	onEachBackend(t, func(t *testing.T, db kv.DB) {
		s := open(t, db)
		if err := errors.Join(s.Read(t.Context()), s.Probe(t.Context(), start)); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Probe(ctx, start); !errors.Is(err, context.Canceled) {
			t.Errorf("Probe after the request ended: %v, want context.Canceled", err)
		}
	})
	db := memory.New()
	s := open(t, db)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Read(t.Context()); !errors.Is(err, kv.ErrClosed) {
		t.Errorf("Read of a closed store: %v, want ErrClosed", err)
	}
	if err := s.Probe(t.Context(), start); !errors.Is(err, kv.ErrClosed) {
		t.Errorf("Probe of a closed store: %v, want ErrClosed", err)
	}
}
