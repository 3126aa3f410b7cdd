package httpapi_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/pkg/route"
	"github.com/calimero-network/mero-go/services/node/internal/caller"
	"github.com/calimero-network/mero-go/services/node/internal/config"
	"github.com/calimero-network/mero-go/services/node/internal/guard"
	"github.com/calimero-network/mero-go/services/node/internal/httpapi"
	"github.com/calimero-network/mero-go/services/node/internal/jsonrpc"
)

// lease is a token whose end a test chooses.
type lease struct{ end atomic.Pointer[error] }

func (l *lease) Check(context.Context) error {
	if err := l.end.Load(); err != nil {
		return *err
	}
	return nil
}

// authenticated returns a surface whose requests all come from one administrator.
func authenticated(t *testing.T, c caller.Caller) *httpapi.API {
	t.Helper()
	a, _ := newAPI(t)
	c.Key, c.Permissions = "k", permission.NewSet([]string{"admin"})
	a.Server.JSONRPC = config.Surface{Enabled: true}
	a.RPC = &jsonrpc.Handler{Memory: jsonrpc.NewMemory(), Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	a.Guard = &guard.Guard{Table: route.Node, Now: time.Now, Embedded: func(r *http.Request, match *route.Match) (caller.Caller, error) {
		*match, _ = route.Node.Lookup(r.Method, r.URL.Path)
		return c, nil
	}}
	return a
}

// answerTo sends a request whose body comes in two parts, with something in between, and returns the answer.
func answerTo(t *testing.T, conn net.Conn, line, body string, between func()) (status int, reason, text string) {
	t.Helper()
	kind := "application/json"
	if strings.HasPrefix(body, "--b") {
		kind = "multipart/form-data; boundary=b"
	}
	go func() {
		send(t, conn, fmt.Sprintf("%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", line, kind, len(body), body[:1]))
		between()
		_, _ = io.WriteString(conn, body[1:]) // the node may have hung up
	}()
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header.Get(identity.HeaderError), string(answer)
}

// bodies are requests of all kinds with a body that changes something.
var bodies = map[string]string{
	"POST /admin-api/contexts":                    `{"applicationId":"11111111111111111111111111111112"}`,
	"POST /admin-api/install-application":         `{"url":"https://example.com/a.mpk"}`,
	"POST /admin-api/install-dev-application":     `{"path":"/a.mpk"}`,
	"POST /admin-api/uninstall-application":       `{"applicationId":"11111111111111111111111111111112"}`,
	"POST /admin-api/groups":                      `{"applicationId":"11111111111111111111111111111112"}`,
	"POST /admin-api/namespaces":                  `{"applicationId":"11111111111111111111111111111112"}`,
	"POST /admin-api/identity/context":            `{}`,
	"POST /admin-api/alias/create/context":        `{"alias":"a","contextId":"11111111111111111111111111111112"}`,
	"POST /blobs/url":                             `{"url":"https://example.com/a"}`,
	"POST /jsonrpc":                               `{"jsonrpc":"2.0","id":1,"method":"execute","params":{}}`,
	"DELETE /admin-api/contexts/" + anyContext:    `{"requester":"11111111111111111111111111111112"}`,
	"DELETE /admin-api/groups/" + anyGroup:        `{}`,
	"POST /admin-api/contexts/sync/" + anyContext: `{}`,
}

const anyContext = "11111111111111111111111111111112"

var anyGroup = strings.Repeat("ab", 32)

// The rights of a request are looked at when its head comes. Who lets the body drip in, to use them after they were taken
// away, finds that they are looked at again. Nothing behind the body is there in this test: who gets that far panics.
func TestBody_CredentialEndsWhileItDripsIn(t *testing.T) {
	for line, body := range bodies {
		for name, tt := range map[string]struct {
			end    error
			status int
			reason string
		}{
			"revoked":  {caller.ErrRevoked, 401, identity.TokenRevoked},
			"expired":  {caller.ErrExpired, 401, identity.TokenExpired},
			"narrowed": {caller.ErrChanged, 403, identity.PermissionDenied},
		} {
			synctest.Test(t, func(t *testing.T) {
				token := &lease{}
				conn := connect(t, authenticated(t, caller.Caller{Token: token}))
				status, reason, text := answerTo(t, conn, line, body, func() {
					synctest.Wait()
					token.end.Store(&tt.end)
				})
				if status != tt.status || reason != tt.reason {
					t.Errorf("%s, %s: %d %q %s, want %d %q", line, name, status, reason, text, tt.status, tt.reason)
				}
			})
		}
	}
}

// Where the gate is another process, its word is good for as long as the assertion says, and no longer.
func TestBody_AssertionEndsWhileItDripsIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for line, body := range bodies {
			c := caller.Caller{Vouched: time.Now().Add(20 * time.Second), Ends: time.Now().Add(time.Hour)}
			status, reason, text := answerTo(t, connect(t, authenticated(t, c)), line, body, func() { time.Sleep(21 * time.Second) })
			if status != 401 || reason != identity.InvalidToken {
				t.Errorf("%s: %d %q %s, want 401", line, status, reason, text)
			}
			c = caller.Caller{Vouched: time.Now().Add(time.Hour), Ends: time.Now().Add(20 * time.Second)}
			status, reason, text = answerTo(t, connect(t, authenticated(t, c)), line, body, func() { time.Sleep(21 * time.Second) })
			if status != 401 || reason != identity.TokenExpired {
				t.Errorf("%s with a token that expires: %d %q %s, want 401", line, status, reason, text)
			}
		}
	})
}

// A body that is no blob has a minute in all, however steadily it drips.
func TestBody_DripsForEver(t *testing.T) {
	for line, body := range bodies {
		synctest.Test(t, func(t *testing.T) {
			conn := connect(t, authenticated(t, caller.Caller{}))
			began := time.Now()
			go func() {
				send(t, conn, fmt.Sprintf("%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n%s", line, body[:1]))
				for range 100 {
					time.Sleep(5 * time.Second)
					if _, err := conn.Write([]byte(" ")); err != nil {
						return
					}
				}
			}()
			status, text := receive(t, bufio.NewReader(conn))
			if took := time.Since(began); status != 408 || took > 65*time.Second {
				t.Errorf("%s: %d %s after %s, want 408 after a minute", line, status, text, took)
			}
			_ = conn.Close()
			time.Sleep(10 * time.Second) // the sender notices
		})
	}
}

// An upload may last longer than the assertion that it came with, but not longer than its token.
func TestUpload_LastsLongerThanItsAssertion(t *testing.T) {
	revoked := caller.ErrRevoked
	form := "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f\"\r\n\r\ncontent\r\n--b--\r\n"
	for line, body := range map[string]string{"PUT /admin-api/blobs": "content", "POST /blobs/file": form} {
		for name, tt := range map[string]struct {
			ends, vouched time.Duration
			revoke        bool
			status        int
			reason        string
		}{
			"good":    {time.Hour, 20 * time.Second, false, 200, ""},
			"expired": {20 * time.Second, time.Hour, false, 401, identity.TokenExpired},
			"revoked": {time.Hour, time.Hour, true, 401, identity.TokenRevoked},
		} {
			synctest.Test(t, func(t *testing.T) {
				token := &lease{}
				a := authenticated(t, caller.Caller{Token: token, Ends: time.Now().Add(tt.ends), Vouched: time.Now().Add(tt.vouched)})
				status, reason, text := answerTo(t, connect(t, a), line, body, func() {
					time.Sleep(25 * time.Second)
					if tt.revoke {
						token.end.Store(&revoked)
					}
				})
				if status != tt.status || reason != tt.reason {
					t.Errorf("%s, %s: %d %q %s, want %d %q", line, name, status, reason, text, tt.status, tt.reason)
				}
				all, err := a.Blobs.List(t.Context())
				if err != nil || len(all) > 0 != (tt.status == 200) {
					t.Errorf("%s, %s: stored %v, %v", line, name, all, err)
				}
			})
		}
	}
}

// Large bodies of JSON-RPC share the node's memory; who comes too late is told so, and small ones pass.
func TestRPC_BodiesShareTheMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := authenticated(t, caller.Caller{})
		for range 4 {
			give, err := a.RPC.Memory.Take(t.Context(), "", 32<<20)
			if err != nil {
				t.Fatal(err)
			}
			defer give()
		}
		conn := connect(t, a)
		go func() {
			_, _ = io.WriteString(conn, "POST /jsonrpc HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n")
		}()
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		_ = conn.Close()
		time.Sleep(time.Second) // the node notices
		if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
			t.Errorf("%s %v, want 503 with Retry-After", res.Status, res.Header)
		}
		status, _, text := answerTo(t, connect(t, a), "POST /jsonrpc", `{"jsonrpc":"2.0","id":1,"method":"none"}`, func() {})
		if status != 200 || !strings.Contains(text, "unknown method") {
			t.Errorf("a small body: %d %s", status, text)
		}
		if w := serveOne(t, handler(t, a), "POST", "/jsonrpc", strings.NewReader("{}")); w.Code != 415 {
			t.Errorf("without its type: %d", w.Code)
		}
	})
}
