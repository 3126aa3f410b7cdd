package bootstrap_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/bootstrap"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/memory"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// closed is a store whose first root key exists.
func closed(t *testing.T, change func(*bootstrap.Service)) fixture {
	t.Helper()
	f := fresh(t, change)
	err := f.Store.Update(t.Context(), func(tx *store.Tx) error {
		return errors.Join(f.Close(tx), tx.CreateKey(store.Key{ID: "first", Type: store.Root}, []string{"admin"}))
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (f fixture) recover(t *testing.T) bootstrap.Shown {
	t.Helper()
	shown, err := f.Recover(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return shown
}

func TestRecover_OpensForOneLogin(t *testing.T) {
	for name, change := range map[string]func(*bootstrap.Service){
		"plain":                    nil,
		"with a configured secret": func(s *bootstrap.Service) { s.Configured = "a-configured-secret-of-old" },
		"with mode first-login":    func(s *bootstrap.Service) { s.Mode = bootstrap.ModeFirstLogin },
	} {
		t.Run(name, func(t *testing.T) {
			f := closed(t, change)
			f.check(t, "", bootstrap.ErrClosed)
			shown := f.recover(t)
			if shown.State != bootstrap.Open || !shown.Recovery || len(shown.Secret) != 29 || !shown.Expires.Equal(f.now.Add(24*time.Hour)) {
				t.Errorf("Recover = %+v", shown)
			}
			if text, exists := f.file(t); !exists || strings.TrimSpace(text) != shown.Secret {
				t.Errorf("the file holds %q", text)
			}
			for _, again := range []bootstrap.Shown{f.ensure(t), f.show(t, false), f.show(t, true)} {
				if again != shown {
					t.Errorf("shown again: %+v, want %+v", again, shown)
				}
			}
			f.check(t, "", bootstrap.ErrClosed) // everybody else logs in as before
			f.check(t, "a-configured-secret-of-old", bootstrap.ErrWrong)
			f.check(t, "0000-0000-0000-0000-0000-0000", bootstrap.ErrWrong)
			f.check(t, strings.ToLower(shown.Secret), nil)
			if open, err := f.IsOpen(t.Context()); err != nil || open {
				t.Errorf("IsOpen = %t, %v: a root key exists", open, err)
			}
			if strings.Contains(f.log.String(), shown.Secret) {
				t.Error("the log holds the secret")
			}
			if err := f.createRoot(t.Context(), "evil", "0000-0000-0000-0000-0000-0000"); !errors.Is(err, bootstrap.ErrWrong) {
				t.Errorf("consumed with a wrong secret: %v", err)
			}
			if err := f.createRoot(t.Context(), "second", shown.Secret); err != nil {
				t.Fatal(err)
			}
			f.Closed(t.Context())
			f.check(t, shown.Secret, bootstrap.ErrClosed)
			if err := f.createRoot(t.Context(), "third", shown.Secret); !errors.Is(err, bootstrap.ErrClosed) {
				t.Errorf("used twice: %v, want ErrClosed", err)
			}
			if got := f.ensure(t); got.State != bootstrap.Closed {
				t.Errorf("after its use: %+v", got)
			}
			if _, exists := f.file(t); exists {
				t.Error("the file is still there")
			}
		})
	}
}

func TestRecover_ParallelUsesMakeOneAdministrator(t *testing.T) {
	f := closed(t, nil)
	shown := f.recover(t)
	var won atomic.Int32
	var logins sync.WaitGroup
	for i := range 16 {
		logins.Go(func() {
			switch err := f.createRoot(context.WithoutCancel(t.Context()), string(rune('a'+i)), shown.Secret); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, bootstrap.ErrClosed):
				t.Error(err)
			}
		})
	}
	logins.Wait()
	if won.Load() != 1 {
		t.Errorf("%d logins used the secret", won.Load())
	}
}

func TestRecover_Lapses(t *testing.T) {
	f := closed(t, nil)
	shown := f.recover(t)
	*f.now = f.now.Add(24*time.Hour - time.Second)
	f.check(t, shown.Secret, nil)
	*f.now = f.now.Add(time.Second)
	f.check(t, shown.Secret, bootstrap.ErrClosed)
	for _, renew := range []bool{false, true} {
		if got := f.show(t, renew); got.State != bootstrap.Closed || got.Secret != "" {
			t.Errorf("lapsed, renew %t: %+v, want closed: only Recover opens it", renew, got)
		}
	}
	again := f.recover(t)
	if again.Secret == shown.Secret {
		t.Error("the same secret again")
	}
	f.check(t, shown.Secret, bootstrap.ErrWrong)
	f.check(t, again.Secret, nil)
}

// TestRecover_LostFile: the text is nowhere else, and nobody gets another by showing.
func TestRecover_LostFile(t *testing.T) {
	f := closed(t, nil)
	shown := f.recover(t)
	f.Dir = t.TempDir()
	if got := f.show(t, true); got.State != bootstrap.Lapsed || !got.Recovery || got.Secret != "" {
		t.Errorf("without the file: %+v", got)
	}
	f.check(t, shown.Secret, nil) // who has it can use it
}

func TestRecover_WrongSecretsAreCounted(t *testing.T) {
	f := closed(t, nil)
	shown := f.recover(t)
	for range 5 {
		f.check(t, "0000-0000-0000-0000-0000-0000", bootstrap.ErrWrong)
	}
	f.check(t, "0000-0000-0000-0000-0000-0000", bootstrap.ErrLimited)
	f.check(t, shown.Secret, bootstrap.ErrLimited)
	*f.now = f.now.Add(2 * time.Minute)
	f.check(t, shown.Secret, nil)
}

// TestRecover_EmptyStore: where no root key exists it is the same as a new bootstrap secret.
func TestRecover_EmptyStore(t *testing.T) {
	f := fresh(t, nil)
	first := f.ensure(t)
	shown := f.recover(t)
	if shown.Recovery || shown.Secret == first.Secret || shown.State != bootstrap.Open {
		t.Errorf("Recover = %+v", shown)
	}
	f.check(t, "", bootstrap.ErrWrong)
	f.check(t, shown.Secret, nil)
	configured := newFixture(t, memory.New(), t.TempDir(), func(s *bootstrap.Service) { s.Configured = "a-configured-secret-of-old" })
	if shown := configured.recover(t); shown.Secret != "" || shown.State != bootstrap.Open {
		t.Errorf("with a configured secret: %+v", shown)
	}
	configured.check(t, "a-configured-secret-of-old", nil)
}
