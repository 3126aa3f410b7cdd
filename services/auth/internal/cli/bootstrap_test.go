package cli_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/bootstrap"
	"github.com/calimero-network/mero-go/services/auth/internal/cli"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/bolt"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

func TestBootstrapShow(t *testing.T) {
	env := environment(t)
	code, stdout, stderr := command(t, env, "bootstrap", "show")
	if code != cli.ExitError || stdout != "" || !strings.Contains(stderr, "there is no store in "+storagePath(env)) {
		t.Errorf("without a store: %d %q %q", code, stdout, stderr)
	}
	if _, err := os.Stat(storagePath(env)); !errors.Is(err, os.ErrNotExist) {
		t.Error("asking made a store")
	}
	s := serve(t, env)
	_, running, _ := command(t, env, "bootstrap", "show")
	if len(running) != 30 {
		t.Errorf("of a running service: %q", running)
	}
	_, renewed, _ := command(t, env, "bootstrap", "show", "--renew")
	if len(renewed) != 30 || renewed == running {
		t.Errorf("renewed: %q after %q", renewed, running)
	}
	code, stdout, _ = command(t, env, "bootstrap", "show", "--json")
	var shown struct{ State, Secret, Expires string }
	if err := json.Unmarshal([]byte(stdout), &shown); err != nil || code != cli.ExitOK || shown.State != "open" || shown.Secret+"\n" != renewed {
		t.Errorf("JSON: %d %q, %v", code, stdout, err)
	}
	if at, err := time.Parse(time.RFC3339, shown.Expires); err != nil || time.Until(at) < 23*time.Hour {
		t.Errorf("expires %q, %v", shown.Expires, err)
	}
	s.stop()
	if code, stdout, _ = command(t, env, "bootstrap", "show"); code != cli.ExitOK || stdout != renewed {
		t.Errorf("of a store that is not in use: %d %q, want %q", code, stdout, renewed)
	}
	s = serve(t, env)
	if status := s.post(t, strings.TrimSpace(renewed)); status != http.StatusOK {
		t.Fatalf("first login: %d", status)
	}
	closed := func(when string) {
		t.Helper()
		for _, args := range [][]string{{"bootstrap", "show"}, {"bootstrap", "show", "--renew"}} {
			if code, stdout, stderr := command(t, env, args...); code != cli.ExitClosed || stdout != "" || !strings.Contains(stderr, "a root key exists or existed") {
				t.Errorf("%s, %q: %d %q %q, want exit code 3", when, args, code, stdout, stderr)
			}
		}
		if code, stdout, _ := command(t, env, "bootstrap", "show", "--json"); code != cli.ExitClosed || stdout != "{\"state\":\"closed\"}\n" {
			t.Errorf("%s, JSON: %d %q", when, code, stdout)
		}
	}
	closed("running")
	s.stop()
	closed("not in use")
}

// A store that a process holds without answering: one that is starting, or stuck.
func TestBootstrapShow_LockedStore(t *testing.T) {
	env := environment(t)
	serve(t, env).stop()
	db, err := bolt.Open(filepath.Join(storagePath(env), "auth.db"), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	code, stdout, stderr := command(t, env, "bootstrap", "show")
	if code != cli.ExitError || stdout != "" || !strings.Contains(stderr, "in use by another process") || time.Since(started) > 30*time.Second {
		t.Errorf("locked store: %d %q %q after %v", code, stdout, stderr, time.Since(started))
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestBootstrapShow_LapsedAndConfigured(t *testing.T) {
	env := environment(t)
	serve(t, env).stop()
	db, err := bolt.Open(filepath.Join(storagePath(env), "auth.db"), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	records, err := store.Open(t.Context(), db)
	if err == nil {
		err = records.Update(t.Context(), func(tx *store.Tx) error {
			b, err := tx.Bootstrap()
			b.Expires = time.Now().Add(-time.Minute).Unix()
			return errors.Join(err, tx.PutBootstrap(b))
		})
	}
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := command(t, env, "bootstrap", "show")
	if code != cli.ExitError || stdout != "" || !strings.Contains(stderr, "--renew") {
		t.Errorf("lapsed: %d %q %q", code, stdout, stderr)
	}
	if code, stdout, _ := command(t, env, "bootstrap", "show", "--renew"); code != cli.ExitOK || len(stdout) != 30 {
		t.Errorf("renewed: %d %q", code, stdout)
	}
	for mode, text := range map[string]string{
		"AUTH_BOOTSTRAP__SECRET=a-long-enough-bootstrap-secret": "the secret is the one that the configuration sets",
		"AUTH_BOOTSTRAP__MODE=" + bootstrap.ModeFirstLogin:      "the next login becomes administrator",
	} {
		code, stdout, stderr := command(t, with(env, mode), "bootstrap", "show")
		if code != cli.ExitOK || stdout != "" || !strings.Contains(stderr, text) || strings.Contains(stderr, "a-long-enough") {
			t.Errorf("%s: %d %q %q", mode, code, stdout, stderr)
		}
	}
}
