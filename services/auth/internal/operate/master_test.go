package operate_test

import (
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/bolt"
	"github.com/calimero-network/mero-go/services/auth/internal/operate"
	"github.com/calimero-network/mero-go/services/auth/internal/seal"
	"github.com/calimero-network/mero-go/services/auth/internal/secret"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// TestChangeMaster_EveryCrashLeavesAStoreThatStarts stops the process behind each step.
func TestChangeMaster_EveryCrashLeavesAStoreThatStarts(t *testing.T) {
	for name, tt := range map[string]struct {
		until   func(*host, process) // what happens before the crash
		changed bool
	}{
		"before the first step": {func(*host, process) {}, false},
		"the new key is on disk": {func(h *host, _ process) {
			if _, err := seal.Prepare(h.src.File, ""); err != nil {
				h.t.Fatal(err)
			}
		}, false},
		"the secrets are sealed under it": {rewrapped, true},
		"the old key has its other name": {func(h *host, p process) {
			rewrapped(h, p)
			if err := os.Link(h.src.File, seal.PreviousFile(h.src.File)); err != nil {
				h.t.Fatal(err)
			}
		}, true},
		"the new key has its name": {func(h *host, p process) {
			rewrapped(h, p)
			if err := seal.Promote(h.src.File); err != nil {
				h.t.Fatal(err)
			}
		}, true},
		"all is done": {func(h *host, p process) {
			if _, err := p.ChangeMaster(h.t.Context(), operate.MasterChange{}); err != nil {
				h.t.Fatal(err)
			}
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			p := h.start()
			want, old := p.signing(), read(t, h.src.File)
			tt.until(h, p)
			p.stop()
			for range 2 {
				p = h.start()
				if got := p.signing(); !slices.Equal(got, want) {
					t.Errorf("signing %q, want %q", got, want)
				}
				if changed := read(t, h.src.File) != old; changed != tt.changed {
					t.Errorf("another master key: %t, want %t", changed, tt.changed)
				}
				if _, err := os.Stat(seal.NextFile(h.src.File)); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("the coming key is still there: %v", err)
				}
				if tt.changed && read(t, seal.PreviousFile(h.src.File)) != old {
					t.Error("the old key is lost")
				}
				p.stop()
			}
			p = h.start()
			defer p.stop()
			if _, err := p.ChangeMaster(t.Context(), operate.MasterChange{}); err != nil {
				t.Errorf("a further change: %v", err)
			}
		})
	}
}

func rewrapped(h *host, p process) {
	next, err := seal.Prepare(h.src.File, "")
	if err != nil {
		h.t.Fatal(err)
	}
	sealer, err := next.Sealer("secrets")
	if err == nil {
		err = p.Secrets.Rewrap(h.t.Context(), sealer)
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

func TestOpenSecrets_WrongMasterSaysWhatToDo(t *testing.T) {
	h := newHost(t)
	p := h.start()
	if _, err := p.ChangeMaster(t.Context(), operate.MasterChange{}); err != nil {
		t.Fatal(err)
	}
	p.stop()
	present, previous := h.src.File, seal.PreviousFile(h.src.File)
	move := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	aside := filepath.Join(h.dir, "aside")
	move(present, aside)
	if _, err := h.tryStart(); !errors.Is(err, seal.ErrNoMaster) || !strings.Contains(err.Error(), present) {
		t.Errorf("without a master key: %v", err)
	}
	move(previous, present)
	if _, err := h.tryStart(); !errors.Is(err, seal.ErrWrongMaster) || !strings.Contains(err.Error(), present) || !strings.Contains(err.Error(), "Lost master key") {
		t.Errorf("with a wrong master key: %v", err)
	}
	move(aside, previous)
	if _, err := h.tryStart(); !errors.Is(err, seal.ErrWrongMaster) || !strings.Contains(err.Error(), previous) {
		t.Errorf("with the right one as the previous: %v", err)
	}
	move(previous, present)
	h.start().stop()
}

func TestChangeMaster_FromTheEnvironment(t *testing.T) {
	h := newHost(t)
	text := func(b byte) string {
		raw := make([]byte, seal.KeySize)
		for i := range raw {
			raw[i] = b + byte(i*i*7)
		}
		return base64.StdEncoding.EncodeToString(raw)
	}
	h.src = operate.MasterSource{Text: text(1)}
	p := h.start()
	want := p.signing()
	if _, err := p.ChangeMaster(t.Context(), operate.MasterChange{}); !errors.Is(err, operate.ErrEnvMaster) {
		t.Errorf("without the new key: %v, want ErrEnvMaster", err)
	}
	if _, err := p.ChangeMaster(t.Context(), operate.MasterChange{Key: "short"}); !errors.Is(err, seal.ErrMalformed) {
		t.Errorf("with no key: %v, want ErrMalformed", err)
	}
	if _, err := p.ChangeMaster(t.Context(), operate.MasterChange{Key: text(2)}); err != nil {
		t.Fatal(err)
	}
	p.stop()
	if _, err := h.tryStart(); !errors.Is(err, seal.ErrWrongMaster) {
		t.Errorf("with the old environment: %v, want ErrWrongMaster", err)
	}
	h.src.Text = text(2)
	p = h.start()
	defer p.stop()
	if got := p.signing(); !slices.Equal(got, want) {
		t.Errorf("signing %q, want %q", got, want)
	}
}

func TestResetSecrets(t *testing.T) {
	phrase := []byte("correct horse battery")
	h := newHost(t)
	p := h.start()
	p.addRoot("alice", "admin")
	want := p.signing()
	file, err := p.ExportSecrets(t.Context(), phrase)
	if err != nil {
		t.Fatal(err)
	}
	p.stop()
	if err := os.Remove(h.src.File); err != nil {
		t.Fatal(err)
	}
	if _, err := h.tryStart(); !errors.Is(err, seal.ErrNoMaster) {
		t.Fatalf("without the master key: %v, want ErrNoMaster", err)
	}
	exported, err := operate.OpenExport(phrase, file)
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range [][]secret.Exported{exported, nil} {
		db, err := bolt.Open(h.database(), bolt.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(operate.ResetSecrets(t.Context(), db, h.src, from, h.now), db.Close()); err != nil {
			t.Fatal(err)
		}
		p := h.start()
		if got := p.signing(); slices.Equal(got, want) != (from != nil) {
			t.Errorf("with %d exported secrets: signing %q, before %q", len(from), got, want)
		}
		err = p.Records.View(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Key("alice")
			return err
		})
		if got := p.audited(); err != nil || got[len(got)-1] != audit.SecretsReset {
			t.Errorf("the keys: %v, audit %q", err, got)
		}
		p.stop()
	}
}
