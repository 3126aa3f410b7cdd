package assertion_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/calimero-network/mero-go/pkg/assertion"
)

// gate is a server that publishes keys and can misbehave.
type gate struct {
	*httptest.Server
	asked  atomic.Int64
	answer atomic.Pointer[http.HandlerFunc]
}

func newGate(t *testing.T, keys ...assertion.SigningKey) *gate {
	t.Helper()
	g := &gate{}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.asked.Add(1)
		(*g.answer.Load())(w, r)
	}))
	t.Cleanup(g.Close)
	g.publish(keys...)
	return g
}

func (g *gate) handle(h http.HandlerFunc) { g.answer.Store(&h) }

func (g *gate) publish(keys ...assertion.SigningKey) {
	text := assertion.FormatJWKS(publics(keys...)...)
	g.handle(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(text) })
}

func TestPublished_ReadsAgainOnAnUnknownKey(t *testing.T) {
	old, next := signingKey(t, 0), signingKey(t, 1)
	path := filepath.Join(t.TempDir(), "jwks.json")
	write := func(keys ...assertion.SigningKey) {
		t.Helper()
		if err := os.WriteFile(path, assertion.FormatJWKS(publics(keys...)...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g := newGate(t, old)
	write(old)
	for name, source := range map[string]func(now func() time.Time) *assertion.Published{
		"file": func(now func() time.Time) *assertion.Published { return assertion.PublishedFile(path, now) },
		"url":  func(now func() time.Time) *assertion.Published { return assertion.PublishedURL(g.URL, now) },
	} {
		t.Run(name, func(t *testing.T) {
			write(old)
			g.publish(old)
			c := &clock{t: at}
			p := source(c.now)
			verify := func(k assertion.SigningKey) error { return p.Verify(k.Sign(claim, exp), claim, leeway, maxTTL) }
			if err := p.Reload(); err != nil {
				t.Fatal(err)
			}
			if err := verify(old); err != nil {
				t.Fatal(err)
			}
			write(next, old)
			g.publish(next, old)
			if err := verify(next); !errors.Is(err, assertion.ErrUnknownKey) {
				t.Errorf("within the second after a reading: %v, want ErrUnknownKey", err)
			}
			c.advance(time.Second)
			for _, k := range []assertion.SigningKey{next, old} {
				if err := verify(k); err != nil {
					t.Errorf("after the rotation, key %s: %v", k.ID(), err)
				}
			}
			write(next)
			g.publish(next)
			if err := verify(old); err != nil {
				t.Errorf("a key that was withdrawn is good until the next reading: %v", err)
			}
			if err := p.Reload(); err != nil {
				t.Fatal(err)
			}
			if err := verify(old); !errors.Is(err, assertion.ErrUnknownKey) {
				t.Errorf("after the next reading a withdrawn key: %v, want ErrUnknownKey", err)
			}
		})
	}
}

// TestPublished_FloodOfUnknownKeys: whoever invents kids makes the node ask the gate once a second and no more, and
// disturbs nobody whose key is known.
func TestPublished_FloodOfUnknownKeys(t *testing.T) {
	known := signingKey(t, 0)
	g := newGate(t, known)
	c := &clock{t: at}
	p := assertion.PublishedURL(g.URL, c.now)
	if err := p.Reload(); err != nil {
		t.Fatal(err)
	}
	c.advance(time.Hour)
	header := known.Sign(claim, c.now().Add(time.Minute))
	var callers sync.WaitGroup
	for i := range 32 {
		forged := signingKey(t, byte(40+i)).Sign(claim, c.now().Add(time.Minute))
		callers.Go(func() {
			if err := p.Verify(forged, claim, leeway, maxTTL); !errors.Is(err, assertion.ErrUnknownKey) {
				t.Errorf("a forged kid: %v", err)
			}
			if err := p.Verify(header, claim, leeway, maxTTL); err != nil {
				t.Errorf("a known key meanwhile: %v", err)
			}
		})
	}
	callers.Wait()
	if n := g.asked.Load(); n != 2 {
		t.Errorf("the gate was asked %d times, want once at the start and once for the flood", n)
	}
}

func TestPublished_BadAnswersKeepTheOldKeys(t *testing.T) {
	key := signingKey(t, 0)
	g := newGate(t, key)
	evil := newGate(t, signingKey(t, 66))
	c := &clock{t: at}
	p := assertion.PublishedURL(g.URL, c.now)
	if err := p.Reload(); err != nil {
		t.Fatal(err)
	}
	good := assertion.FormatJWKS(key.Public())
	for name, h := range map[string]http.HandlerFunc{
		"redirect to other keys": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, evil.URL, http.StatusFound) },
		"not found":              http.NotFound,
		"error with a good body": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = w.Write(good)
		},
		"no content": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		"login page": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"empty set":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys":[]}`)) },
		"shared secret": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"keys":[{"kty":"oct","k":"AA"}]}`))
		},
		"endless answer": func(w http.ResponseWriter, r *http.Request) { endless(w, r, good) },
		"cut answer": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write(good)
		},
	} {
		g.handle(h)
		if err := p.Reload(); !errors.Is(err, assertion.ErrKeySet) {
			t.Errorf("%s: Reload = %v, want ErrKeySet", name, err)
		}
		if err := p.Verify(key.Sign(claim, exp), claim, leeway, maxTTL); err != nil {
			t.Errorf("%s: the old key: %v", name, err)
		}
		c.advance(2 * time.Second)
		if err := p.Verify(signingKey(t, 66).Sign(claim, exp), claim, leeway, maxTTL); !errors.Is(err, assertion.ErrUnknownKey) || !errors.Is(err, assertion.ErrKeySet) {
			t.Errorf("%s: an unknown key: %v, want ErrUnknownKey and the reason", name, err)
		}
	}
	if evil.asked.Load() != 0 {
		t.Error("the redirect was followed")
	}
}

// endless writes blanks behind a good set until the reader has gone.
func endless(w http.ResponseWriter, r *http.Request, good []byte) {
	_, _ = w.Write(good)
	blanks := []byte(strings.Repeat(" ", 4096))
	for r.Context().Err() == nil {
		if _, err := w.Write(blanks); err != nil {
			return
		}
	}
}

// TestPublished_NothingReadYet: a node that has never reached its gate serves nobody, and serves as soon as it has.
func TestPublished_NothingReadYet(t *testing.T) {
	key := signingKey(t, 0)
	g := newGate(t)
	g.handle(http.NotFound)
	c := &clock{t: at}
	p := assertion.PublishedURL(g.URL, c.now)
	if err := p.Reload(); err == nil {
		t.Fatal("Reload of a gate without keys = nil")
	}
	header := key.Sign(claim, exp)
	if err := p.Verify(header, claim, leeway, maxTTL); !errors.Is(err, assertion.ErrUnknownKey) {
		t.Errorf("without keys: %v, want ErrUnknownKey", err)
	}
	g.publish(key)
	c.advance(time.Second)
	if err := p.Verify(header, claim, leeway, maxTTL); err != nil {
		t.Errorf("when the gate is there: %v", err)
	}
}

func TestPublishedFile_OthersMayNotReplaceIt(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "jwks.json")
	if err := os.WriteFile(path, assertion.FormatJWKS(signingKey(t, 0).Public()), 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, good := range map[os.FileMode]bool{0o600: true, 0o644: true, 0o664: false, 0o646: false, 0o622: false} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if err := assertion.PublishedFile(path, time.Now).Reload(); (err == nil) != good {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	for _, bad := range []string{dir, filepath.Join(dir, "absent")} {
		if err := assertion.PublishedFile(bad, time.Now).Reload(); !errors.Is(err, assertion.ErrKeySet) {
			t.Errorf("%s: %v, want ErrKeySet", bad, err)
		}
	}
}

// TestPublished_Run: a key that the gate withdrew stops being good without anybody presenting a new one.
func TestPublished_Run(t *testing.T) {
	path := filepath.Join(t.TempDir(), "jwks.json")
	old, next := signingKey(t, 0), signingKey(t, 1)
	write := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		write(assertion.FormatJWKS(old.Public()))
		var log strings.Builder
		p := assertion.PublishedFile(path, time.Now)
		if err := p.Reload(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			p.Run(ctx, 5*time.Minute, slog.New(slog.NewTextHandler(&log, nil)))
		}()
		verify := func() error {
			return p.Verify(old.Sign(claim, time.Now().Add(time.Minute)), claim, leeway, maxTTL)
		}
		write(assertion.FormatJWKS(next.Public()))
		time.Sleep(5*time.Minute - time.Second)
		synctest.Wait()
		if err := verify(); err != nil {
			t.Errorf("before the interval is over: %v", err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if err := verify(); !errors.Is(err, assertion.ErrUnknownKey) {
			t.Errorf("after the interval: %v, want ErrUnknownKey", err)
		}
		write([]byte("damaged"))
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if err := p.Verify(next.Sign(claim, time.Now().Add(time.Minute)), claim, leeway, maxTTL); err != nil {
			t.Errorf("after a failed reading: %v, want the old keys", err)
		}
		cancel()
		<-ended
		if n := strings.Count(log.String(), "level=WARN"); n != 1 {
			t.Errorf("log = %q, want one warning", log.String())
		}
	})
}

func TestReplace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "assertion.keys")
	writeKeys(t, path, testKey(t, 0))
	for _, mode := range []os.FileMode{0o600, 0o640, 0o400} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if err := assertion.Replace(path, testKey(t, 1), testKey(t, 0)); err != nil {
			t.Fatal(err)
		}
		if st, err := os.Stat(path); err != nil || st.Mode() != mode {
			t.Errorf("mode %v, %v, want %v as before", st.Mode(), err, mode)
		}
	}
	f, err := assertion.Open(path, time.Now)
	if err != nil || fmt.Sprint(f.Ring().Keys()) != fmt.Sprintf("[%s %s]", testKey(t, 1), testKey(t, 0)) {
		t.Errorf("the keys are %v, %v", f.Ring().Keys(), err)
	}
	if err := assertion.Replace(path); !errors.Is(err, assertion.ErrKeyFile) {
		t.Errorf("Replace by nothing = %v, want ErrKeyFile", err)
	}
	if err := assertion.Replace(filepath.Join(t.TempDir(), "absent"), testKey(t, 1)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Replace of an absent file = %v, want ErrNotExist", err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("the directory holds %v, %v, want the file alone", entries, err)
	}
}
