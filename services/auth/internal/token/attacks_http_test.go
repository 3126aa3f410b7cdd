package token_test

import (
	"io"
	"maps"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/authtest"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// attackSurface is how a token is presented to the service.
var attackSurface = map[string]func(addr, token string) *http.Request{
	"probe": func(addr, token string) *http.Request { return bearer("GET", addr+"/auth/validate", token) },
	"gate": func(addr, token string) *http.Request {
		return forwarded(bearer("GET", addr+"/auth/validate?proxy=nginx", token), "/admin-api/contexts")
	},
	"gate, in the query": func(addr, token string) *http.Request {
		return forwarded(bearer("GET", addr+"/auth/validate?proxy=nginx", ""), "/ws?token="+url.QueryEscape(token))
	},
	"list of keys":   func(addr, token string) *http.Request { return bearer("GET", addr+"/admin/keys", token) },
	"identity":       func(addr, token string) *http.Request { return bearer("GET", addr+"/admin/identity", token) },
	"end of session": func(addr, token string) *http.Request { return bearer("POST", addr+"/admin/revoke", token) },
}

func bearer(method, address, token string) *http.Request {
	r, err := http.NewRequest(method, "http://"+address, http.NoBody)
	if err != nil {
		panic(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r
}

func forwarded(r *http.Request, target string) *http.Request {
	r.Header.Set("X-Original-URI", target)
	r.Header.Set("X-Original-Method", "GET")
	r.Header.Set("X-Original-Host", "node.example")
	return r
}

// Every attack of the corpus against the whole service, in every place that takes a token. The service signs with the
// corpus's published secrets for this (it would never import them), and the key and session that the forged tokens
// name are alive, so that nothing but the rule under attack can refuse them.
func TestAttackCorpus_OverHTTP(t *testing.T) { attackOverHTTP(t, 0) }

// attackOverHTTP plays the corpus; with slowest set, 99 in 100 refusals must come within it.
func attackOverHTTP(t *testing.T, slowest time.Duration) {
	t.Helper()
	s := authtest.StartAt(t, time.Unix(now, 0))
	s.Gate.Sessions.Tokens = newCodec(t, options(corpusKeyring()))
	s.Update(t, func(tx *store.Tx) error {
		if err := tx.CreateKey(store.Key{ID: "root-key-1", Type: store.Root, AuthMethod: "test", CreatedAt: now - 60}, []string{"admin"}); err != nil {
			return err
		}
		return tx.CreateFamily(store.Family{ID: "fam_1", Key: "root-key-1", Created: now - 60, Number: 1, Current: store.Generation{
			AccessKID: "v1", RefreshKID: "v1", AccessID: "a", RefreshID: "r", IssuedAt: now - 60, AccessExpiry: now + 3540, RefreshExpiry: now + 3540,
		}})
	})
	ask := func(where, raw string) (status int, reason string) {
		t.Helper()
		res, err := http.DefaultTransport.RoundTrip(attackSurface[where](s.Addr, raw).WithContext(t.Context()))
		if err != nil {
			t.Fatalf("%s with %q: %v", where, raw, err)
		}
		defer res.Body.Close()
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, res.Header.Get("X-Auth-Error")
	}
	const ending = "end of session" // ends the session of a good token, so none is shown there
	good := forgeClaims(goodClaims())
	for where := range attackSurface {
		if where == ending {
			continue
		}
		if status, reason := ask(where, good); status != http.StatusOK {
			t.Fatalf("%s: the token that the attacks mutate is itself refused: %d %s", where, status, reason)
		}
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	played, asked := 0, 0
	var took []time.Duration
	for _, id := range slices.Sorted(maps.Keys(attacks)) {
		played++
		accepted := id == "rotated-secret-grace"
		for _, raw := range attacks[id].build() {
			for where := range attackSurface {
				if accepted && where == ending {
					continue
				}
				asked++
				started := time.Now()
				status, reason := ask(where, raw)
				took = append(took, time.Since(started))
				switch {
				case accepted && status != http.StatusOK:
					t.Errorf("%s, %s: %d %s, want 200", id, where, status, reason)
				case accepted:
				case status != http.StatusUnauthorized || (reason != "invalid_token" && (reason != "token_expired" || id != "exp-past")):
					t.Errorf("%s, %s: %d %s, want 401 invalid_token; token %q", id, where, status, reason, raw)
				}
			}
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if played != corpusAttacks-len(elsewhere) || asked < 6*played {
		t.Errorf("%d attacks in %d requests, want %d", played, asked, corpusAttacks-len(elsewhere))
	}
	if status, reason := ask("probe", good); status != http.StatusOK {
		t.Errorf("after the attacks: %d %s", status, reason)
	}
	if growth := int64(after.HeapAlloc) - int64(before.HeapAlloc); growth > 10<<20 {
		t.Errorf("the attacks left %d bytes on the heap", growth)
	}
	if lines := s.Log.Lines(`"level":"ERROR"`); len(lines) > 0 {
		t.Errorf("the log holds %s", lines[0])
	}
	slices.Sort(took)
	p99 := took[len(took)*99/100]
	t.Logf("%d attacks, %d requests, p99 %v", played, asked, p99)
	if slowest > 0 && p99 > slowest {
		t.Errorf("a refusal takes %v at p99, want at most %v", p99, slowest)
	}
	if lines := s.Log.Lines(strings.Split(good, ".")[2]); len(lines) > 0 {
		t.Errorf("the log holds a token: %s", lines[0])
	}
}
