package control_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/serve"
	"github.com/calimero-network/mero-go/pkg/shortdir"
	"github.com/calimero-network/mero-go/services/auth/internal/backup"
	"github.com/calimero-network/mero-go/services/auth/internal/bootstrap"
	"github.com/calimero-network/mero-go/services/auth/internal/control"
	"github.com/calimero-network/mero-go/services/auth/internal/gatekey"
	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/memory"
	"github.com/calimero-network/mero-go/services/auth/internal/operate"
	"github.com/calimero-network/mero-go/services/auth/internal/secret"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// startWhole serves all commands for a store with secrets.
func startWhole(t *testing.T, log *slog.Logger) (control.Client, *operate.Service) {
	t.Helper()
	dir, db := shortdir.New(t), memory.New()
	records, err := store.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	keyring, master, err := operate.OpenSecrets(t.Context(), db, operate.MasterSource{File: filepath.Join(dir, "k", "master.key")},
		secret.Options{Now: time.Now, Log: quiet, Audit: records.Audit})
	if err != nil {
		t.Fatal(err)
	}
	shared, err := gatekey.OpenShared(filepath.Join(dir, "k", "assertion.keys"), time.Now, quiet)
	if err != nil {
		t.Fatal(err)
	}
	s := &operate.Service{
		DB: db, Records: records, Secrets: keyring, Master: master, Shared: shared, Published: gatekey.NewPublished(keyring, ""),
		Bootstrap: &bootstrap.Service{Store: records, Dir: dir, Mode: bootstrap.ModeSecret, Now: time.Now, Log: quiet},
		Lifetimes: map[secret.Kind]time.Duration{secret.Access: time.Hour}, Program: "test", Now: time.Now, Log: quiet,
	}
	l, err := control.Listen(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error)
	go func() { done <- serve.Run(ctx, time.Minute, nil, control.Server(l, s, log)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return control.Client{Dir: dir}, s
}

func TestClient_EveryCommand(t *testing.T) {
	var log bytes.Buffer
	c, s := startWhole(t, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err := c.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	list, err := c.ListSecrets(t.Context())
	if err != nil || len(list) != 6 || list[0].ID != s.Secrets.Signing(secret.Access).ID || list[0].Created.IsZero() || !list[0].Retired.IsZero() {
		t.Errorf("ListSecrets = %+v, %v", list, err)
	}
	done, err := c.RotateSecrets(t.Context(), operate.Rotation{Kinds: []string{"access", "assertion"}, Now: true})
	if err != nil || len(done) != 2 || done[0].ID != s.Secrets.Signing(secret.Access).ID || done[1].ID != s.Shared.File().Ring().Keys()[0].ID() {
		t.Errorf("RotateSecrets = %+v, %v", done, err)
	}
	raw := bytes.Repeat([]byte("0123456789abcdefghijklmnopqrstuv"), 1)
	in := operate.Import{Kind: "access", ID: "mine", Secret: base64.StdEncoding.EncodeToString(raw), For: time.Minute}
	if got, err := c.ImportSecrets(t.Context(), in); err != nil || got.Added != 1 {
		t.Errorf("ImportSecrets = %+v, %v", got, err)
	}
	phrase := []byte("correct horse battery")
	file, err := c.ExportSecrets(t.Context(), phrase)
	if err != nil {
		t.Fatal(err)
	}
	if exported, err := operate.OpenExport(phrase, file); err != nil || len(exported) != 6 {
		t.Errorf("%d secrets are exported, %v", len(exported), err)
	}
	if got, err := c.ImportSecrets(t.Context(), operate.Import{Sealed: file, Passphrase: phrase}); err != nil || got.Known != 6 {
		t.Errorf("ImportSecrets of the export = %+v, %v", got, err)
	}
	if got, err := c.ChangeMaster(t.Context(), operate.MasterChange{}); err != nil || got.Previous == "" {
		t.Errorf("ChangeMaster = %+v, %v", got, err)
	}
	var out bytes.Buffer
	if err := c.Backup(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	r, err := backup.Open(&out)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := r.Records(s.Master.Key(), func(string, string, []byte) error { return nil }); err != nil || n == 0 {
		t.Errorf("the backup has %d records, %v", n, err)
	}
	if shown, err := c.Recover(t.Context(), operate.Recovery{}); err != nil || shown.Secret == "" {
		t.Errorf("Recover = %+v, %v", shown, err)
	}
	for _, text := range []string{in.Secret, string(phrase)} {
		if strings.Contains(log.String(), text) {
			t.Errorf("the log holds a secret")
		}
	}
}

func TestClient_ErrorsAreTold(t *testing.T) {
	c, _ := startWhole(t, quiet)
	_, err1 := c.RotateSecrets(t.Context(), operate.Rotation{Kinds: []string{"other"}})
	_, err2 := c.ExportSecrets(t.Context(), []byte("short"))
	_, err3 := c.ImportSecrets(t.Context(), operate.Import{Sealed: []byte("{}")})
	_, err4 := c.Recover(t.Context(), operate.Recovery{Key: "nobody"})
	for i, tt := range []struct {
		err  error
		want string
	}{{err1, "unknown kind"}, {err2, "at least 12 characters"}, {err3, "not a sealed file"}, {err4, "no such key"}} {
		if tt.err == nil || errors.Is(tt.err, control.ErrNotRunning) || !strings.Contains(tt.err.Error(), tt.want) {
			t.Errorf("%d: %v, want %q", i, tt.err, tt.want)
		}
	}
}

// TestBackup_ServiceFailsMeanwhile: a backup that breaks off never looks whole.
func TestBackup_ServiceFailsMeanwhile(t *testing.T) {
	c, s := startWhole(t, quiet)
	err := s.DB.Update(t.Context(), func(tx kv.Tx) error { return tx.Put("zzz", "large", make([]byte, 17<<20)) }) // more than a record may have
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = c.Backup(t.Context(), &out)
	r, openErr := backup.Open(&out)
	if openErr == nil {
		_, openErr = r.Records(nil, func(string, string, []byte) error { return nil })
	}
	if err == nil && openErr == nil {
		t.Error("a backup without its last record is whole")
	}
	if err := s.DB.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Backup(t.Context(), io.Discard); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("of a closed store: %v", err)
	}
}

func TestHandler_MalformedCommands(t *testing.T) {
	c, s := startWhole(t, quiet)
	before := s.Secrets.Signing(secret.Access).ID
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", control.Path(c.Dir))
	}}}
	for _, body := range []string{"", "x", "[]", `{"kinds":"access"}`, `{"kinds":[1]}`, `{"kinds":["access"]`, strings.Repeat(" ", 10<<20)} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://control/secrets/rotate", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(req)
		if err != nil {
			continue // cut off
		}
		if err := res.Body.Close(); err != nil || res.StatusCode != http.StatusBadRequest {
			t.Errorf("%.20q: %d, %v, want 400", body, res.StatusCode, err)
		}
	}
	if got := s.Secrets.Signing(secret.Access).ID; got != before {
		t.Error("a malformed command rotated")
	}
}
