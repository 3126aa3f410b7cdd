package operate_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/backup"
	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/bolt"
	"github.com/calimero-network/mero-go/services/auth/internal/operate"
	"github.com/calimero-network/mero-go/services/auth/internal/seal"
	"github.com/calimero-network/mero-go/services/auth/internal/secret"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// backUp writes a backup of a running service and returns its file.
func (h *host) backUp(p process) string {
	h.t.Helper()
	var out bytes.Buffer
	if err := p.Backup(h.t.Context(), &out); err != nil {
		h.t.Fatal(err)
	}
	return h.file("backup", out.Bytes())
}

func (h *host) file(name string, content []byte) string {
	h.t.Helper()
	path := filepath.Join(h.dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		h.t.Fatal(err)
	}
	return path
}

func (h *host) restore(ctx context.Context, file string, changes ...func(*operate.Restore)) (operate.Restored, error) {
	r := operate.Restore{Backup: file, Database: h.database(), Master: h.src, Now: h.Now, Log: quiet}
	for _, change := range changes {
		change(&r)
	}
	return r.Run(ctx)
}

func force(r *operate.Restore) { r.Force = true }

// roots returns the ids of all root keys.
func (p process) roots() (ids []string) {
	p.t.Helper()
	err := p.Records.View(p.t.Context(), func(tx *store.Tx) error {
		ids = nil
		for k, err := range tx.Keys(store.Root) {
			if err != nil {
				return err
			}
			ids = append(ids, k.ID)
		}
		return nil
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return ids
}

func TestRestore(t *testing.T) {
	h := newHost(t)
	p := h.start()
	p.addRoot("before", "admin")
	want, challenge := p.signing(), p.Secrets.Signing(secret.Challenge)
	file := h.backUp(p)
	master := read(t, h.src.File)
	if text := read(t, file); strings.Contains(text, strings.TrimSpace(master)) || strings.Contains(text, string(rawKey(t, master))) {
		t.Error("the backup contains the master key")
	}
	made := h.now
	h.now = h.now.Add(time.Hour)
	p.addRoot("after", "admin")
	p.stop()

	if _, err := h.restore(t.Context(), file); !errors.Is(err, operate.ErrExists) || !strings.Contains(err.Error(), "--force") {
		t.Errorf("over a store without --force: %v, want ErrExists", err)
	}
	p = h.start()
	if got := p.roots(); !slices.Equal(got, []string{"after", "before"}) {
		t.Errorf("the refused restore left %q", got)
	}
	p.stop()

	done, err := h.restore(t.Context(), file, force)
	if err != nil || !done.Created.Equal(made) || done.Replaced == "" || done.Records == 0 {
		t.Fatalf("Restore = %+v, %v", done, err)
	}
	p = h.start()
	if got := p.roots(); !slices.Equal(got, []string{"before"}) {
		t.Errorf("restored: %q", got)
	}
	for i, id := range p.signing() {
		if kind := secret.Kinds()[i]; (id == want[i]) == (kind == secret.Challenge) {
			t.Errorf("the %s secret is %s, at the time of the backup it was %s", kind, id, want[i])
		}
	}
	if _, ok := p.Secrets.Lookup(secret.Challenge, challenge.ID); ok {
		t.Error("challenges from before the backup, used since, are good again")
	}
	if got := p.audited(); !slices.Contains(got, audit.StoreRestored) || !slices.Contains(got, audit.StoreBackedUp) {
		t.Errorf("audit %q", got)
	}
	p.stop()
	db, err := bolt.Open(done.Replaced, bolt.Options{})
	if err != nil {
		t.Fatalf("the former store: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}

	if err := os.RemoveAll(filepath.Dir(h.database())); err != nil {
		t.Fatal(err)
	}
	if done, err := h.restore(t.Context(), file); err != nil || done.Replaced != "" {
		t.Errorf("on a new disk: %+v, %v", done, err)
	}
	p = h.start()
	defer p.stop()
	if got := p.roots(); !slices.Equal(got, []string{"before"}) {
		t.Errorf("on a new disk: %q", got)
	}
}

func rawKey(t *testing.T, text string) []byte {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestRestore_RefusedLeavesEverything: whatever is wrong with the backup, the store and its directory stay as they are.
func TestRestore_RefusedLeavesEverything(t *testing.T) {
	h := newHost(t)
	p := h.start()
	p.addRoot("alice", "admin")
	file := h.backUp(p)
	p.stop()
	good := read(t, file)
	forged := newHost(t)
	forger := forged.start()
	forger.addRoot("evil", "admin")
	foreign := forged.backUp(forger)
	forger.stop()
	flipped := []byte(good)
	flipped[len(good)/2] ^= 1
	newer := strings.Replace(good, `{"v":1`, `{"v":9`, 1)

	listing := func() map[string]string {
		t.Helper()
		files := map[string]string{}
		entries, err := os.ReadDir(filepath.Dir(h.database()))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			files[e.Name()] = read(t, filepath.Join(filepath.Dir(h.database()), e.Name()))
		}
		return files
	}
	before := listing()
	for name, tt := range map[string]struct {
		file string
		want error
	}{
		"no file":              {filepath.Join(h.dir, "absent"), os.ErrNotExist},
		"empty":                {h.file("empty", nil), backup.ErrFormat},
		"another file":         {h.src.File, backup.ErrFormat},
		"cut off":              {h.file("cut", []byte(good[:len(good)-1])), backup.ErrDamaged},
		"cut in half":          {h.file("half", []byte(good[:len(good)/2])), backup.ErrDamaged},
		"a flipped bit":        {h.file("flipped", flipped), backup.ErrDamaged},
		"of a newer version":   {h.file("newer", []byte(newer)), backup.ErrFormat},
		"of another master":    {foreign, backup.ErrWrongMaster},
		"with another's proof": {h.file("mixed", []byte(good[:len(good)-32]+read(t, foreign)[:32])), backup.ErrForged},
	} {
		if _, err := h.restore(t.Context(), tt.file, force); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
		if after := listing(); !equal(before, after) {
			t.Errorf("%s: the directory has changed", name)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.restore(ended, file, force); !errors.Is(err, context.Canceled) || !equal(before, listing()) {
		t.Errorf("interrupted: %v, or the directory has changed", err)
	}
	if _, err := h.restore(t.Context(), foreign, force); err == nil || !strings.Contains(err.Error(), "another master key") {
		t.Errorf("the wrong master key is not named: %v", err)
	}
}

func equal(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return true
}

func TestRestore_StoreInUseIsRefused(t *testing.T) {
	h := newHost(t)
	p := h.start()
	defer p.stop()
	file := h.backUp(p)
	p.addRoot("alice", "admin")
	if _, err := h.restore(t.Context(), file, force); !errors.Is(err, kv.ErrLocked) {
		t.Errorf("under a running service: %v, want ErrLocked", err)
	}
	if got := p.roots(); !slices.Equal(got, []string{"alice"}) {
		t.Errorf("the service has %q", got)
	}
}

func TestRestore_InThePlaceOfADamagedStore(t *testing.T) {
	h := newHost(t)
	p := h.start()
	p.addRoot("alice", "admin")
	file := h.backUp(p)
	p.stop()
	for name, content := range map[string][]byte{"empty": nil, "zeros": make([]byte, 1<<16), "foreign": []byte("SQLite format 3")} {
		if err := os.WriteFile(h.database(), content, 0o600); err != nil {
			t.Fatal(err)
		}
		h.file("store/auth.db.restoring", []byte("what a restore left that died"))
		h.file("store/auth.db.restoring.new-1", []byte("and what it had begun"))
		if _, err := h.restore(t.Context(), file, force); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		p := h.start()
		if got := p.roots(); !slices.Equal(got, []string{"alice"}) {
			t.Errorf("%s: restored %q", name, got)
		}
		p.stop()
		if left, err := filepath.Glob(h.database() + ".restoring*"); err != nil || len(left) > 0 {
			t.Errorf("%s: left behind %q, %v", name, left, err)
		}
	}
}

// TestRestore_AfterAChangeOfTheMasterKey: the backup was made with the key before; its secrets get the present one.
func TestRestore_AfterAChangeOfTheMasterKey(t *testing.T) {
	h := newHost(t)
	p := h.start()
	file := h.backUp(p)
	want := p.Secrets.Signing(secret.Refresh).ID
	if _, err := p.ChangeMaster(t.Context(), operate.MasterChange{}); err != nil {
		t.Fatal(err)
	}
	p.stop()
	if _, err := h.restore(t.Context(), file, force); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(seal.PreviousFile(h.src.File)); err != nil {
		t.Fatal(err)
	}
	p = h.start()
	defer p.stop()
	if got := p.Secrets.Signing(secret.Refresh).ID; got != want {
		t.Errorf("refresh secret %s, want %s", got, want)
	}
	if _, err := h.restore(t.Context(), file, force); !errors.Is(err, backup.ErrWrongMaster) {
		t.Errorf("without the key before: %v, want ErrWrongMaster", err)
	}
}

func TestRestore_LostMaster(t *testing.T) {
	h := newHost(t)
	p := h.start()
	p.addRoot("alice", "admin")
	file := h.backUp(p)
	p.stop()
	if err := os.Remove(h.src.File); err != nil {
		t.Fatal(err)
	}
	if _, err := h.restore(t.Context(), file, force); !errors.Is(err, seal.ErrNoMaster) {
		t.Errorf("without the master key: %v, want ErrNoMaster", err)
	}
	if _, err := h.restore(t.Context(), file, force, func(r *operate.Restore) { r.LostMaster = true }); err != nil {
		t.Fatal(err)
	}
	if _, err := h.tryStart(); !errors.Is(err, seal.ErrNoMaster) {
		t.Errorf("the store starts: %v, want ErrNoMaster", err)
	}
	db, err := bolt.Open(h.database(), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(operate.ResetSecrets(t.Context(), db, h.src, nil, h.now), db.Close()); err != nil {
		t.Fatal(err)
	}
	p = h.start()
	defer p.stop()
	if got := p.roots(); !slices.Equal(got, []string{"alice"}) {
		t.Errorf("restored %q", got)
	}
}

// TestRestore_ManyRecords goes through several transactions.
func TestRestore_ManyRecords(t *testing.T) {
	h := newHost(t)
	p := h.start()
	const n = 10_000
	err := p.db.Update(t.Context(), func(tx kv.Tx) error {
		for i := range n {
			if err := tx.Put("challenge", fmt.Sprintf("%032x", i), []byte("1")); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	file := h.backUp(p)
	p.stop()
	done, err := h.restore(t.Context(), file, force)
	if err != nil || done.Records < n {
		t.Fatalf("Restore = %+v, %v", done, err)
	}
	p = h.start()
	defer p.stop()
	found := 0
	err = p.db.View(t.Context(), func(tx kv.Tx) error {
		found = 0
		for range tx.Scan("challenge", "") {
			found++
		}
		return nil
	})
	if err != nil || found != n {
		t.Errorf("%d of %d records, %v", found, n, err)
	}
}
