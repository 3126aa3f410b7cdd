package operate_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/bootstrap"
	"github.com/calimero-network/mero-go/services/auth/internal/gatekey"
	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/bolt"
	"github.com/calimero-network/mero-go/services/auth/internal/operate"
	"github.com/calimero-network/mero-go/services/auth/internal/seal"
	"github.com/calimero-network/mero-go/services/auth/internal/secret"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

const day = 24 * time.Hour

var quiet = slog.New(slog.DiscardHandler)

// host is a machine with a store on disk. Each process on it opens and closes the store.
type host struct {
	t   *testing.T
	dir string
	src operate.MasterSource
	now time.Time
	log bytes.Buffer
}

func newHost(t *testing.T) *host {
	dir := t.TempDir()
	return &host{
		t: t, dir: dir, src: operate.MasterSource{File: filepath.Join(dir, "keys", "master.key")},
		now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
	}
}

func (h *host) Now() time.Time { return h.now }

func (h *host) database() string { return filepath.Join(h.dir, "store", "auth.db") }

// process is a running service.
type process struct {
	*operate.Service
	t  *testing.T
	db kv.DB
}

func (p process) stop() {
	p.t.Helper()
	if err := p.db.Close(); err != nil {
		p.t.Fatal(err)
	}
}

func (h *host) tryStart() (process, error) {
	h.t.Helper()
	log := slog.New(slog.NewTextHandler(&h.log, nil))
	db, err := bolt.Open(h.database(), bolt.Options{})
	if err != nil {
		return process{}, err
	}
	records, err := store.Open(h.t.Context(), db)
	if err != nil {
		h.t.Fatal(err)
	}
	keyring, master, err := operate.OpenSecrets(h.t.Context(), db, h.src, secret.Options{Now: h.Now, Log: log, Audit: records.Audit})
	if err != nil {
		return process{}, errors.Join(err, db.Close())
	}
	shared, err := gatekey.OpenShared(filepath.Join(h.dir, "link", "assertion.keys"), h.Now, log)
	if err != nil {
		h.t.Fatal(err)
	}
	return process{&operate.Service{
		DB: db, Records: records, Secrets: keyring, Master: master, Shared: shared,
		Published: gatekey.NewPublished(keyring, filepath.Join(h.dir, "link", "jwks.json")),
		Bootstrap: &bootstrap.Service{Store: records, Dir: filepath.Dir(h.database()), Mode: bootstrap.ModeSecret, Now: h.Now, Log: log},
		Lifetimes: map[secret.Kind]time.Duration{secret.Access: 366 * day, secret.Refresh: 30 * day},
		Program:   "test", Now: h.Now, Log: log,
	}, h.t, db}, nil
}

func (h *host) start() process {
	h.t.Helper()
	p, err := h.tryStart()
	if err != nil {
		h.t.Fatal(err)
	}
	return p
}

// signing returns the ids of all signing secrets.
func (p process) signing() (ids []string) {
	for _, kind := range secret.Kinds() {
		ids = append(ids, p.Secrets.Signing(kind).ID)
	}
	return ids
}

// addRoot stores a live root key.
func (p process) addRoot(id string, permissions ...string) {
	p.t.Helper()
	err := p.Records.Update(p.t.Context(), func(tx *store.Tx) error {
		return tx.CreateKey(store.Key{ID: id, Type: store.Root, CreatedAt: p.Now().Unix()}, permissions)
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

// audited returns the actions in the audit.
func (p process) audited() (actions []audit.Action) {
	p.t.Helper()
	err := p.db.View(p.t.Context(), func(tx kv.Tx) error {
		actions = nil
		for _, raw := range tx.Scan("audit", "") {
			_, after, _ := strings.Cut(string(raw), `"action":"`)
			action, _, _ := strings.Cut(after, `"`)
			actions = append(actions, audit.Action(action))
		}
		return nil
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return actions
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestRotateSecrets(t *testing.T) {
	h := newHost(t)
	p := h.start()
	defer p.stop()
	before := p.signing()
	done, err := p.RotateSecrets(t.Context(), operate.Rotation{Kinds: operate.RotatableKinds(), Now: true})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range done {
		got = append(got, d.ID)
	}
	after := append(p.signing(), p.Shared.File().Ring().Keys()[0].ID())
	if !slices.Equal(got, after) {
		t.Errorf("reported %q, signing %q", got, after)
	}
	for i, id := range before {
		if after[i] == id {
			t.Errorf("%s is not rotated", secret.Kinds()[i])
		}
	}
	if file := read(t, filepath.Join(h.dir, "link", "jwks.json")); file != string(p.Published.JWKS()) {
		t.Errorf("the published file holds %s", file)
	}
	list, err := p.ListSecrets(t.Context())
	if err != nil || len(list) != 6 {
		t.Errorf("%d secrets after a rotation at once, %v", len(list), err)
	}
	for _, kinds := range [][]string{{"master"}, {"access", "other"}, {""}} {
		if _, err := p.RotateSecrets(t.Context(), operate.Rotation{Kinds: kinds}); !errors.Is(err, operate.ErrKind) {
			t.Errorf("%q: %v, want ErrKind", kinds, err)
		}
	}
	if got := append(p.signing(), p.Shared.File().Ring().Keys()[0].ID()); !slices.Equal(got, after) {
		t.Error("a refused command rotated something")
	}
	want := slices.Repeat([]audit.Action{audit.SecretRotated}, 6)
	if got := p.audited(); !slices.Equal(got, want) {
		t.Errorf("audit %q, want %q", got, want)
	}
}

func TestExportImport(t *testing.T) {
	phrase := []byte("correct horse battery")
	h := newHost(t)
	p := h.start()
	covered := p.Secrets.Signing(secret.Refresh)
	file, err := p.ExportSecrets(t.Context(), phrase)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range secret.Kinds() {
		key := p.Secrets.Signing(kind)
		for _, text := range []string{string(key.Secret), base64.StdEncoding.EncodeToString(key.Secret), key.ID} {
			if bytes.Contains(file, []byte(text)) {
				t.Errorf("the file shows the %s secret", kind)
			}
		}
	}
	p.stop()

	other := newHost(t) // another service, which is to accept the tokens of the first
	q := other.start()
	signing := q.signing()
	for _, wrong := range [][]byte{nil, []byte("correct horse batterx")} {
		if _, err := q.ImportSecrets(t.Context(), operate.Import{Sealed: file, Passphrase: wrong}); !errors.Is(err, seal.ErrPassphrase) {
			t.Errorf("import with the passphrase %q: %v, want ErrPassphrase", wrong, err)
		}
	}
	for i, want := range []operate.Imported{{Added: 5}, {Known: 5}} {
		done, err := q.ImportSecrets(t.Context(), operate.Import{Sealed: file, Passphrase: phrase})
		if err != nil || done != want {
			t.Errorf("import %d: %+v, %v, want %+v", i+1, done, err, want)
		}
	}
	if got := q.signing(); !slices.Equal(got, signing) {
		t.Error("an imported secret signs")
	}
	other.now = other.now.Add(30*day - time.Minute)
	if s, ok := q.Secrets.Lookup(secret.Refresh, covered.ID); !ok || !bytes.Equal(s, covered.Secret) {
		t.Error("the refresh secret ends before what it signed")
	}
	other.now = other.now.Add(2 * time.Minute)
	if _, ok := q.Secrets.Lookup(secret.Refresh, covered.ID); ok {
		t.Error("the refresh secret outlives what it signed")
	}
	want := slices.Repeat([]audit.Action{audit.SecretImported}, 5)
	if got := q.audited(); !slices.Equal(got, want) {
		t.Errorf("audit %q, want %q", got, want)
	}
	q.stop()
	if _, err := q.ExportSecrets(t.Context(), phrase); !errors.Is(err, kv.ErrClosed) {
		t.Errorf("an export that the audit cannot record: %v, want ErrClosed", err)
	}
}

func TestImportSecrets_Single(t *testing.T) {
	raw := make([]byte, secret.Size)
	for i := range raw {
		raw[i] = byte(i*i*13 + 5)
	}
	p := newHost(t).start()
	defer p.stop()
	for i, text := range []string{
		base64.StdEncoding.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(raw), base64.URLEncoding.EncodeToString(raw) + "\n", hex.EncodeToString(raw),
	} {
		in := operate.Import{Kind: "access", ID: fmt.Sprint("k", i), Secret: text}
		if done, err := p.ImportSecrets(t.Context(), in); err != nil || done.Added != 1 {
			t.Errorf("%q: %+v, %v", text, done, err)
		}
		if got, ok := p.Secrets.Lookup(secret.Access, in.ID); !ok || !bytes.Equal(got, raw) {
			t.Errorf("%q is another secret", text)
		}
	}
	for _, bad := range []operate.Import{
		{Kind: "csrf", ID: "x", Secret: hex.EncodeToString(raw)},
		{Kind: "jwks", ID: "x", Secret: hex.EncodeToString(raw)},
		{Kind: "", ID: "x", Secret: hex.EncodeToString(raw)},
		{Kind: "access", ID: "x", Secret: "passphrase"},
		{Kind: "access", ID: "x", Secret: hex.EncodeToString(raw[1:])},
		{Kind: "access", ID: "x y", Secret: hex.EncodeToString(raw)},
		{Kind: "access", ID: "x", Secret: strings.Repeat("0", 64)},
	} {
		_, err := p.ImportSecrets(t.Context(), bad)
		if err == nil || strings.Contains(err.Error(), bad.Secret) {
			t.Errorf("%+v: %v, want an error without the secret", bad, err)
		}
		if _, ok := p.Secrets.Lookup(secret.Access, "x"); ok {
			t.Errorf("%+v was imported", bad)
		}
	}
}

func TestRecover_Key(t *testing.T) {
	h := newHost(t)
	p := h.start()
	defer p.stop()
	p.addRoot("alice", "context:list")
	p.addRoot("gone", "admin")
	err := p.Records.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.RevokeKey("gone", h.now)
		return errors.Join(err, tx.CreateKey(store.Key{ID: "app", Type: store.Client, RootKeyID: "alice"}, []string{"context:list"}))
	})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]error{"nobody": operate.ErrNoSuchKey, "gone": operate.ErrNotLiveKey, "app": operate.ErrNotLiveKey} {
		if _, err := p.Recover(t.Context(), operate.Recovery{Key: key}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", key, err, want)
		}
	}
	if _, err := p.Recover(t.Context(), operate.Recovery{Key: "alice"}); err != nil {
		t.Fatal(err)
	}
	err = p.Records.View(t.Context(), func(tx *store.Tx) error {
		for key, want := range map[string]string{"alice": "[admin]", "app": "[context:list]", "gone": "[admin]"} {
			if got, err := tx.Permissions(key); err != nil || fmt.Sprint(got) != want {
				t.Errorf("%s has %v, %v, want %s", key, got, err, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if got := p.audited(); !slices.Contains(got, audit.PermissionsChanged) {
		t.Errorf("audit %q", got)
	}
}
