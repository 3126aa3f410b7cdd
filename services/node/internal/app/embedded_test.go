//go:build !noembed

package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/node/internal/app"
	"github.com/calimero-network/mero-go/services/node/internal/config"
)

// startEmbedded runs a node that authenticates itself; its requests are the administrator's. ahead moves its clock.
func startEmbedded(t *testing.T) (n *node, ahead *atomic.Int64) {
	t.Helper()
	ahead = &atomic.Int64{}
	n = startWith(t, t.TempDir(), func(c *config.Config) { c.Server.AuthMode = config.AuthEmbedded }, app.Options{
		Environ: []string{"MERO_AUTH_ADMIN_USER=root", "MERO_AUTH_ADMIN_PASSWORD=correct horse"},
		Now:     func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
	})
	n.token = n.tokenOf(t, "/auth/token", map[string]any{
		"auth_method": "user_password", "public_key": "root", "client_name": "test", "timestamp": 1, "permissions": []string{"admin"},
		"provider_data": map[string]any{"username": "root", "password": "correct horse"},
	})
	return n, ahead
}

// post sends JSON as the caller of n.
func (n *node) post(t *testing.T, method, target string, body any) answer {
	t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	r := request(t, method, n.url(target), strings.NewReader(string(raw)))
	r.Header.Set("Content-Type", "application/json")
	if n.token != "" {
		n.grant(r, "", "")
	}
	return do(t, r)
}

// tokenOf returns the access token that a call answers.
func (n *node) tokenOf(t *testing.T, target string, body any) string {
	t.Helper()
	res := n.post(t, http.MethodPost, target, body)
	var got struct {
		Data struct {
			Token string `json:"access_token"`
		} `json:"data"`
	}
	if err := json.Unmarshal([]byte(res.body), &got); err != nil || got.Data.Token == "" {
		t.Fatalf("%s: %s %s", target, res.Status, res.body)
	}
	return got.Data.Token
}

// client makes a client key.
func (n *node) client(t *testing.T, permissions ...string) (token, id string) {
	t.Helper()
	token = n.tokenOf(t, "/admin/client-key", map[string]any{"permissions": permissions})
	r := request(t, http.MethodGet, n.url("/admin/identity"), nil)
	r.Header.Set("Authorization", "Bearer "+token)
	return token, do(t, r).Header.Get("X-Auth-User")
}

// streamsOf opens both streams with a token in the query, as browsers do, subscribed to a context.
func (n *node) streamsOf(t *testing.T, token, context string) (webSocket *socket, events func() (string, string)) {
	t.Helper()
	admin := n.token
	n.token = token
	defer func() { n.token = admin }()
	webSocket, res := n.upgrade(t, "", never, func(r *http.Request) {
		r.Header.Del("Authorization")
		r.URL.RawQuery = "token=" + token
	})
	if res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("upgrade: %s", res.Status)
	}
	webSocket.send(fmt.Sprintf(`{"id":1,"method":"subscribe","params":{"contextIds":[%q]}}`, context))
	if got := webSocket.next(); !strings.Contains(got, context) {
		t.Fatalf("subscribe: %s", got)
	}
	opened, next, _ := n.stream(t, "", "", never)
	next()
	body := fmt.Sprintf(`{"id":%q,"method":"subscribe","params":{"contextIds":[%q]}}`, opened.Header.Get("X-SSE-Session-ID"), context)
	if res := n.as(t, "", http.MethodPost, "/sse/subscription", strings.NewReader(body)); res.StatusCode != http.StatusOK {
		t.Fatalf("subscription: %s %s", res.Status, res.body)
	}
	return webSocket, next
}

// TestEmbedded_StreamsEndWithTheirToken: once a revocation is acknowledged no event reaches the streams that the token
// opened, and they are told why they end.
func TestEmbedded_StreamsEndWithTheirToken(t *testing.T) {
	n, _ := startEmbedded(t)
	made := n.context(t, n.installed(t, "probe.wasm", probe(t))).ContextID
	for _, tt := range []struct {
		name, reason string
		end          func(token, key string) answer
	}{
		{"revoked", "token_revoked", func(_, key string) answer {
			return n.post(t, http.MethodPost, "/admin/revoke", map[string]any{"client_id": key})
		}},
		{"narrowed", "permissions_changed", func(_, key string) answer {
			return n.post(t, http.MethodPut, "/admin/keys/"+key+"/permissions", map[string]any{"remove": []string{"context:subscribe"}})
		}},
	} {
		token, key := n.client(t, "context:subscribe", "blob:list")
		webSocket, events := n.streamsOf(t, token, made)
		n.execute(t, "admin", made, "add_and_tell", `{}`)
		n.told(t, webSocket.next(), made) // as long as the token is good
		if _, text := events(); !strings.Contains(text, "StateMutation") {
			t.Errorf("%s: %s", tt.name, text)
		}
		if res := tt.end(token, key); res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s %s", tt.name, res.Status, res.body)
		}
		n.execute(t, "admin", made, "add_and_tell", `{}`)
		if got, want := webSocket.next(), "1008 "+tt.reason; got != want {
			t.Errorf("%s: the WebSocket gets %q, want %q", tt.name, got, want)
		}
		if _, text := events(); text != fmt.Sprintf(`{"type":"close","reason":%q}`, tt.reason) {
			t.Errorf("%s: the SSE stream gets %s", tt.name, text)
		}
	}
}

// TestEmbedded_SilentStreamsEndToo: a stream on which nothing happens does not outlive its token either.
func TestEmbedded_SilentStreamsEndToo(t *testing.T) {
	n, _ := startEmbedded(t)
	made := n.context(t, n.installed(t, "probe.wasm", probe(t))).ContextID
	token, key := n.client(t, "context:subscribe")
	webSocket, events := n.streamsOf(t, token, made)
	if res := n.post(t, http.MethodPost, "/admin/revoke", map[string]any{"client_id": key}); res.StatusCode != http.StatusOK {
		t.Fatal(res.Status)
	}
	if got := webSocket.next(); got != "1008 token_revoked" {
		t.Errorf("the WebSocket gets %q", got)
	}
	if _, text := events(); !strings.Contains(text, "token_revoked") {
		t.Errorf("the SSE stream gets %s", text)
	}
}

// TestEmbedded_RevokedWhileTheBodyDripsIn: a request that came before a revocation and ends after it is not executed, and
// an upload is not kept.
func TestEmbedded_RevokedWhileTheBodyDripsIn(t *testing.T) {
	n, _ := startEmbedded(t)
	made := n.context(t, n.installed(t, "probe.wasm", probe(t))).ContextID
	call := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"execute","params":{"contextId":%q,"method":"add","argsJson":{}}}`, made)
	for _, tt := range []struct{ method, target, body string }{
		{http.MethodPost, "/jsonrpc", call},
		{http.MethodPost, "/jsonrpc", "[" + call + "]"},
		{http.MethodPut, "/admin-api/blobs", "content"},
		{http.MethodDelete, "/admin-api/contexts/" + made, `{"requester":null}`},
	} {
		token, key := n.client(t, "context", "blob")
		r := request(t, tt.method, n.url(tt.target), nil)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+token)
		res := n.drip(t, r, tt.body, func() {
			if res := n.post(t, http.MethodPost, "/admin/revoke", map[string]any{"client_id": key}); res.StatusCode != http.StatusOK {
				t.Fatalf("revoke: %s %s", res.Status, res.body)
			}
		})
		if res.StatusCode != http.StatusUnauthorized || res.Header.Get("X-Auth-Error") != "token_revoked" {
			t.Errorf("%s %s: %s %s", tt.method, tt.target, res.Status, res.body)
		}
	}
	if got := n.execute(t, "admin", made, "n", "{}"); got != result("1") {
		t.Errorf("%s: something was executed", got)
	}
	if res := n.as(t, "", http.MethodGet, "/admin-api/blobs", nil); strings.Contains(res.body, `"size":7`) {
		t.Errorf("the upload was kept: %s", res.body)
	}
}

func TestEmbedded_ExpiredToken(t *testing.T) { // node check G65
	n, ahead := startEmbedded(t)
	if res := n.as(t, "", http.MethodGet, "/admin-api/blobs", nil); res.StatusCode != http.StatusOK {
		t.Fatal(res.Status)
	}
	ahead.Store(int64(2 * time.Hour))
	for _, target := range []string{"/admin-api/blobs", "/sse", "/ws", "/admin/keys"} {
		res := n.as(t, "", http.MethodGet, target, nil)
		if res.StatusCode != http.StatusUnauthorized || res.Header.Get("X-Auth-Error") != "token_expired" ||
			!strings.Contains(res.Header.Get("Access-Control-Expose-Headers"), "X-Auth-Error") {
			t.Errorf("%s: %s %v", target, res.Status, res.Header)
		}
	}
}

// TestEmbedded_StoreOfAuthIsPartOfTheHealth: a node that can authenticate nobody is neither alive nor ready.
func TestEmbedded_StoreOfAuthIsPartOfTheHealth(t *testing.T) {
	good := func(context.Context) error { return nil }
	broken := errors.New("broken")
	bad := func(context.Context) error { return broken }
	for _, tt := range []struct {
		node, auth func(context.Context) error
		want       error
	}{{good, good, nil}, {bad, good, broken}, {good, bad, broken}} {
		alive, ready := app.Probes(tt.node, tt.auth)
		if alive(t.Context()) != tt.want || ready(t.Context()) != tt.want { //nolint:errorlint // nothing wraps them
			t.Errorf("got %v and %v, want %v", alive(t.Context()), ready(t.Context()), tt.want)
		}
	}
}
