package secret_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/memory"
	"github.com/calimero-network/mero-go/services/auth/internal/seal"
	"github.com/calimero-network/mero-go/services/auth/internal/secret"
)

// signing returns the ids of the signing secrets of all kinds.
func signing(k *secret.Keyring) (ids []string) {
	for _, kind := range kinds {
		ids = append(ids, k.Signing(kind).ID)
	}
	return ids
}

// wantRepaired opens a store with one damaged record and requires the old secrets, a loud log, and both copies back.
func wantRepaired(e *env, what, name string, want []string) {
	e.t.Helper()
	e.log.Reset()
	k, err := e.tryOpen(e.db)
	if err != nil {
		e.t.Errorf("%s: %v", what, err)
		return
	}
	if got := signing(k); !slices.Equal(got, want) {
		e.t.Errorf("%s: signing secrets %q, want %q", what, got, want)
	}
	if log := e.log.String(); strings.Count(log, "level=ERROR") != 1 || !strings.Contains(log, name) {
		e.t.Errorf("%s: log = %q, want one error that names %s", what, log, name)
	}
	e.log.Reset()
	if _, err := e.tryOpen(e.db); err != nil || e.log.Len() > 0 {
		e.t.Errorf("%s: after the repair: %v, log %q", what, err, e.log)
	}
}

// wantRefused requires that the secrets do not open and that nothing is written.
func wantRefused(e *env, what string, want, not error) {
	e.t.Helper()
	before := e.dump()
	_, err := e.tryOpen(e.db)
	if !errors.Is(err, want) || not != nil && errors.Is(err, not) {
		e.t.Errorf("%s: Open = %v, want %v and not %v", what, err, want, not)
	}
	if !maps.Equal(e.dump(), before) {
		e.t.Errorf("%s: the store was changed", what)
	}
}

// TestOpen_FlippedByteUsesTheOtherCopy damages every byte of either copy.
func TestOpen_FlippedByteUsesTheOtherCopy(t *testing.T) {
	testBackends(t, func(e *env) {
		k := e.open()
		e.rotate(k, secret.Refresh, false)
		want := signing(k)
		for _, suffix := range []string{"", "_backup"} {
			name := record(secret.Refresh, suffix)
			good := e.dump()[name]
			for i := 0; i < len(good); i += e.stride {
				damaged := []byte(good)
				damaged[i] ^= 0x15
				e.set(map[string]string{name: string(damaged)})
				wantRepaired(e, name, name, want)
			}
			e.set(map[string]string{name: good[:len(good)/2]})
			wantRepaired(e, "cut "+name, name, want)
			e.set(map[string]string{name: ""})
			wantRepaired(e, "deleted "+name, name, want)
		}
	})
}

// FuzzRecord puts anything in the place of a record: the other copy must be used.
func FuzzRecord(f *testing.F) {
	opt := secret.Options{Now: func() time.Time { return time.Unix(1_700_000_000, 0) }, Log: slog.New(slog.DiscardHandler)}
	open := func(master byte) (kv.DB, *secret.Keyring) {
		db := memory.New()
		k, err := secret.Open(f.Context(), db, sealer(f, master), opt)
		if err != nil {
			f.Fatal(err)
		}
		return db, k
	}
	const ours, theirs = 2, 3
	db, k := open(ours)
	want := signing(k)
	// A record like ours, and never one under our master key: other processes of the fuzzer have other secrets under it,
	// and a byte that is changed back would make theirs good.
	foreign, _ := open(theirs)
	var whole []byte
	if err := foreign.View(f.Context(), func(tx kv.Tx) (err error) {
		whole, err = tx.Get("system", "secrets:access")
		return err
	}); err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)-5])
	f.Add([]byte(strings.Replace(string(whole), "s1.", "s2.", 1)))
	f.Add([]byte(`{"v":1,"sealed":""}`))
	f.Add([]byte(`{"v":2}`))
	f.Add([]byte(`[]`))
	f.Add([]byte(``))
	f.Fuzz(func(t *testing.T, value []byte) {
		err := db.Update(t.Context(), func(tx kv.Tx) error { return tx.Put("system", "secrets:access", value) })
		if err != nil {
			t.Fatal(err)
		}
		k, err := secret.Open(t.Context(), db, sealer(t, ours), opt)
		if err != nil {
			t.Fatalf("Open with the record %q = %v", value, err)
		}
		if got := signing(k); !slices.Equal(got, want) {
			t.Errorf("Open with the record %q finds other secrets", value)
		}
	})
}

func TestOpen_BothCopiesDamagedRefused(t *testing.T) {
	testBackends(t, func(e *env) {
		k := e.open()
		good := e.dump()
		primary, backup := record(secret.Access, ""), record(secret.Access, "_backup")
		tail := func(s string) string { return strings.Replace(s, `"}`, `A"}`, 1) }
		check := func(s string) string { // the part that names the key
			i := strings.Index(s, "s1.") + 4
			return s[:i] + string(s[i]^1) + s[i+1:]
		}
		for what, damage := range map[string]map[string]string{
			"ciphertext":            {primary: tail(good[primary]), backup: tail(good[backup])},
			"check value":           {primary: check(good[primary]), backup: check(good[backup])},
			"primary gone":          {primary: "", backup: tail(good[backup])},
			"empty JSON":            {primary: "{}", backup: "{}"},
			"no JSON":               {primary: "x", backup: "y"},
			"a newer version":       {primary: `{"v":2}`, backup: `{"v":2}`},
			"a later version claim": {primary: strings.Replace(good[primary], `"v":1`, `"v":3`, 1), backup: "{"},
		} {
			e.set(damage)
			wantRefused(e, what, seal.ErrCorrupt, seal.ErrWrongMaster)
			e.set(map[string]string{primary: good[primary], backup: good[backup]})
		}
		if got := signing(e.restart()); !slices.Equal(got, signing(k)) {
			e.t.Error("the restored records hold other secrets")
		}
	})
}

func TestOpen_WrongMasterRefused(t *testing.T) {
	testBackends(t, func(e *env) {
		want := signing(e.open())
		e.master = 1
		wantRefused(e, "another master key", seal.ErrWrongMaster, seal.ErrCorrupt)
		good := e.dump()
		// Even when some records are damaged besides: the operator must hear of the key first.
		e.set(map[string]string{record(secret.Access, ""): "x", record(secret.Access, "_backup"): "", record(secret.CSRF, ""): ""})
		wantRefused(e, "another master key and damage", seal.ErrWrongMaster, nil)
		e.set(good)
		e.master = 0
		if got := signing(e.restart()); !slices.Equal(got, want) {
			e.t.Error("the right master key finds other secrets")
		}
	})
}

// TestOpen_SwappedRecordsRefused moves sealed records to places where they do not belong.
func TestOpen_SwappedRecordsRefused(t *testing.T) {
	testBackends(t, func(e *env) {
		want := signing(e.open())
		good := e.dump()
		access, refresh := record(secret.Access, ""), record(secret.Refresh, "")
		e.set(map[string]string{access: good[refresh]})
		wantRepaired(e, "refresh as access", access, want)
		e.set(map[string]string{access + "_backup": good[access]})
		wantRepaired(e, "primary as backup", access+"_backup", want)
		e.set(map[string]string{
			access: good[refresh], access + "_backup": good[refresh+"_backup"],
			refresh: good[access], refresh + "_backup": good[access+"_backup"],
		})
		wantRefused(e, "all four swapped", seal.ErrCorrupt, seal.ErrWrongMaster)
		e.set(map[string]string{access: good[access+"_backup"], access + "_backup": good[access]})
		wantRefused(e, "primary and backup swapped", seal.ErrCorrupt, seal.ErrWrongMaster)
	})
}

// TestOpen_OldRecordPutBackIsNoticed restores one copy from before a rotation at once, which would revive a stolen
// secret.
func TestOpen_OldRecordPutBackIsNoticed(t *testing.T) {
	testBackends(t, func(e *env) {
		k := e.open()
		stolen := k.Signing(secret.Access)
		old := e.dump()
		e.rotate(k, secret.Access, true)
		want := signing(k)
		for _, name := range []string{record(secret.Access, ""), record(secret.Access, "_backup")} {
			e.set(map[string]string{name: old[name]})
			wantRepaired(e, "old "+name, name, want)
			wantLookup(e.t, e.restart(), secret.Access, stolen, false)
		}
	})
}

// TestOpen_MissingSecretsAreNeverMadeAnew covers a store that has lost its secrets but not what depends on them.
func TestOpen_MissingSecretsAreNeverMadeAnew(t *testing.T) {
	testBackends(t, func(e *env) {
		want := signing(e.open())
		good := e.dump()
		gone := map[string]string{}
		for name := range good {
			gone[name] = ""
		}
		e.set(map[string]string{record(secret.CSRF, ""): "", record(secret.CSRF, "_backup"): ""})
		wantRefused(e, "one kind is missing", secret.ErrMissing, nil)
		e.set(gone)
		for _, bucket := range []string{"root", "client", "root_clients", "permissions", "account", "family", "challenge"} {
			e.set(map[string]string{bucket + ":x": "{}"})
			wantRefused(e, "only a record in "+bucket, secret.ErrMissing, nil)
			if fresh, err := secret.Fresh(e.t.Context(), e.db); err != nil || fresh {
				e.t.Errorf("Fresh with a record in %s = %t, %v", bucket, fresh, err)
			}
			e.set(map[string]string{bucket + ":x": ""})
		}
		e.set(map[string]string{"system:secrets:future": "{}"})
		wantRefused(e, "a secret of another kind", secret.ErrMissing, nil)
		e.set(map[string]string{"system:secrets:future": "", "system:schema": "1"})
		if fresh, err := secret.Fresh(e.t.Context(), e.db); err != nil || !fresh {
			e.t.Errorf("Fresh with a schema number alone = %t, %v", fresh, err)
		}
		if got := signing(e.open()); slices.Equal(got, want) {
			e.t.Error("an emptied store has its old secrets")
		}
	})
}

// interposed is a store in which somebody else writes just before the next update.
type interposed struct {
	kv.DB
	before func(kv.Tx) error
}

func (i *interposed) Update(ctx context.Context, fn func(kv.Tx) error) error {
	return errors.Join(i.DB.Update(ctx, i.before), i.DB.Update(ctx, fn))
}

// TestOpen_StoreFilledMeanwhileIsNotFresh covers the time between the look at a fresh store and the creation.
func TestOpen_StoreFilledMeanwhileIsNotFresh(t *testing.T) {
	testBackends(t, func(e *env) {
		_, err := e.tryOpen(&interposed{e.db, func(tx kv.Tx) error { return tx.Put("root", "x", []byte("{}")) }})
		if !errors.Is(err, secret.ErrMissing) {
			e.t.Errorf("Open = %v, want ErrMissing", err)
		}
		if got := e.dump(); len(got) != 1 {
			e.t.Errorf("the store holds %v, want the root record alone", got)
		}
	})
}

// failing is a store whose disk fails: every write after the first left ones, or every commit.
type failing struct {
	kv.DB
	left int

	mu     sync.Mutex
	commit error
}

// failCommits lets all later commits end with err, nil for success.
func (f *failing) failCommits(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.commit = err
}

type failingTx struct {
	kv.Tx
	db *failing
}

var errDisk = errors.New("disk failure")

func (f *failing) Update(ctx context.Context, fn func(kv.Tx) error) error {
	return f.DB.Update(ctx, func(tx kv.Tx) error {
		if err := fn(&failingTx{tx, f}); err != nil {
			return err
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.commit
	})
}

func (t *failingTx) Put(bucket, key string, value []byte) error {
	if t.db.left == 0 {
		return errDisk
	}
	t.db.left--
	return t.Tx.Put(bucket, key, value)
}

// TestFailureBetweenWrites_LeavesOneValidSet interrupts creation, rotation and cover after each write.
func TestFailureBetweenWrites_LeavesOneValidSet(t *testing.T) {
	testBackends(t, func(e *env) {
		t := e.t
		for left := range 2 * len(kinds) {
			if _, err := e.tryOpen(&failing{DB: e.db, left: left}); !errors.Is(err, errDisk) {
				t.Errorf("creation with %d writes = %v, want the failure", left, err)
			}
			if fresh, err := secret.Fresh(t.Context(), e.db); err != nil || !fresh {
				t.Errorf("after %d writes of the creation Fresh = %t, %v", left, fresh, err)
			}
		}
		want := signing(e.open())
		for _, db := range []*failing{{left: 0}, {left: 1}, {left: 2, commit: errDisk}} {
			db.DB = e.db
			k, err := e.tryOpen(db)
			if err != nil {
				t.Fatal(err)
			}
			epoch := k.Epoch()
			for _, atOnce := range []bool{false, true} {
				if err := k.Rotate(t.Context(), secret.Access, atOnce); !errors.Is(err, errDisk) {
					t.Errorf("Rotate with %d writes = %v, want the failure", db.left, err)
				}
			}
			err = db.Update(t.Context(), func(tx kv.Tx) error {
				return k.Cover(tx, secret.Access, want[0], e.Now().Add(30*day))
			})
			if !errors.Is(err, errDisk) {
				t.Errorf("Cover with %d writes = %v, want the failure", db.left, err)
			}
			if got := signing(k); !slices.Equal(got, want) || k.Epoch() != epoch {
				t.Errorf("after the failure memory has %q, want %q", got, want)
			}
			if got := signing(e.restart()); !slices.Equal(got, want) {
				t.Errorf("after the failure the store has %q, want %q", got, want)
			}
		}
		if e.log.Len() > 0 {
			t.Errorf("a rolled back write is taken for damage: %s", e.log)
		}
	})
}

// TestOpen_RepairThatFailsDoesNotStopTheStart: the other copy is good, and a full disk must not keep people out.
func TestOpen_RepairThatFailsDoesNotStopTheStart(t *testing.T) {
	testBackends(t, func(e *env) {
		want := signing(e.open())
		e.set(map[string]string{record(secret.Access, ""): "x"})
		k, err := e.tryOpen(&failing{DB: e.db})
		if err != nil {
			e.t.Fatal(err)
		}
		if got := signing(k); !slices.Equal(got, want) {
			e.t.Errorf("signing secrets %q, want %q", got, want)
		}
		if !strings.Contains(e.log.String(), errDisk.Error()) {
			e.t.Errorf("log = %q, want the failure", e.log)
		}
	})
}
