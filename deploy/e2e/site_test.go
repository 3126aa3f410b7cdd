package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/deploy/e2e/internal/stack"
)

// The scenarios play against the stack at this address instead of one of their own. Its first login is still to come, with
// this secret, or was that of adminName with adminPassword.
const (
	envURL    = "MERO_E2E_URL"
	envSecret = "MERO_E2E_SECRET"
)

// site is a stack as its users see it.
type site struct {
	URL     string
	local   *stack.Stack // nil when the stack is somebody else's
	secrets *stack.Secrets
	http    *http.Client
}

func siteOf(st *stack.Stack) *site {
	return &site{URL: st.URL, local: st, secrets: st.Secrets, http: newHTTPClient()}
}

func newHTTPClient() *http.Client {
	return &http.Client{
		Timeout: 2 * time.Minute, // with everything else that this machine does
		// The client gives an idle connection up well before nginx (75 s): a POST that crosses nginx's close is lost.
		Transport:     &http.Transport{MaxIdleConnsPerHost: 16, IdleConnTimeout: 30 * time.Second, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// pair is what a login answers.
type pair struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

// administered is a site after its first login.
type administered struct {
	*site
	first pair   // of the first login, which is the administrator's
	admin string // an administrator's token that outlives the tests

	expiring    sync.Once // guards the token that expires first
	shortest    string
	shortestErr error
}

// Access tokens of the scenarios' stack live as short as a test can wait for, so that expired ones can be had, and longer
// than a busy machine needs for the few requests that a test makes with one.
const shortExpiry = 30 * time.Second

var shared struct {
	once sync.Once
	site *administered
	err  error
}

// scenario returns the stack that the scenarios share, started and logged in to by the first that asks.
func scenario(t *testing.T) *administered {
	t.Helper()
	shared.once.Do(func() { shared.site, shared.err = openShared() })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.site
}

func openShared() (*administered, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var s *site
	secret := os.Getenv(envSecret)
	if address := os.Getenv(envURL); address != "" {
		s = &site{URL: strings.TrimRight(address, "/"), secrets: stack.NewSecrets(), http: newHTTPClient()}
	} else {
		dir := filepath.Join(runDir, "s0")
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, err
		}
		st, err := stack.Start(ctx, programs, dir, stack.Settings{
			Record: true,
			Auth:   map[string]string{"AUTH_JWT__ACCESS_TOKEN_EXPIRY": fmt.Sprint(shortExpiry.Seconds())},
		})
		if err != nil {
			return nil, err
		}
		s = siteOf(st)
		if secret, err = st.BootstrapSecret(ctx); err != nil {
			return nil, errors.Join(err, st.Stop())
		}
	}
	a, err := s.firstLogin(ctx, secret)
	if err != nil && s.local != nil {
		return nil, errors.Join(err, s.local.Stop())
	}
	return a, err
}

func stopShared() error {
	if shared.site == nil || shared.site.local == nil {
		return nil
	}
	return shared.site.local.Stop()
}

// The first account, the administrator's.
const (
	adminName     = "admin"
	adminPassword = "correct horse battery"
)

// firstLogin logs in with a password and, if there is one, the bootstrap secret and makes a machine token with the same rights.
func (s *site) firstLogin(ctx context.Context, secret string) (*administered, error) {
	s.secrets.Add("password", adminPassword)
	s.secrets.Add("bootstrap secret", secret)
	a := &administered{site: s}
	answer, err := s.send(ctx, "POST", "/auth/token", "", passwordLogin(adminName, adminPassword, secret))
	if err == nil {
		err = answer.data(&a.first)
	}
	if err != nil {
		return nil, fmt.Errorf("first login: %w", err)
	}
	a.admin, err = s.mint(ctx, a.first.Access, time.Hour, "admin")
	return a, err
}

func passwordLogin(user, password, secret string) map[string]any {
	data := map[string]string{"username": user, "password": password}
	if secret != "" {
		data["bootstrap_secret"] = secret
	}
	return map[string]any{
		"auth_method": "user_password", "public_key": user, "client_name": "e2e", "timestamp": 0, "provider_data": data,
	}
}

// mint makes a client key with these permissions and returns its token, which lives that long (at least a minute).
func (s *site) mint(ctx context.Context, admin string, life time.Duration, permissions ...string) (string, error) {
	answer, err := s.send(ctx, "POST", "/admin/client-key", admin, map[string]any{
		"permissions": permissions, "name": "e2e", "expires_in": int(life.Seconds()),
	})
	var p pair
	if err == nil {
		err = answer.data(&p)
	}
	if err != nil {
		return "", fmt.Errorf("client key for %v: %w", permissions, err)
	}
	return p.Access, nil
}

// token is mint for tests.
func (a *administered) token(t *testing.T, permissions ...string) string {
	t.Helper()
	token, err := a.mint(t.Context(), a.admin, time.Hour, permissions...)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// answer is an answer of the site.
type answer struct {
	what   string // method and target, for messages
	id     string // of the request
	status int
	header http.Header
	body   []byte
}

var requests atomic.Int64

// send sends one request with a request id of its own. The body is bytes, a reader or something to encode as JSON;
// header holds names and values in turn. When a rate limit asks for patience, or nginx because of a late gate, it waits and
// sends again. An error says that there was no answer.
func (s *site) send(ctx context.Context, method, target, token string, body any, header ...string) (answer, error) {
	for giveUp := time.Now().Add(patient); ; {
		a, err := s.sendOnce(ctx, method, target, token, body, header...)
		after, wait := patience(a)
		if err != nil || !wait || time.Now().After(giveUp) {
			return a, err
		}
		select {
		case <-ctx.Done():
			return a, ctx.Err()
		case <-time.After(after):
		}
	}
}

// patient is how long a request is sent again and again.
const patient = 3 * time.Minute

// patience returns for how long a stack that runs already asks to wait, if that is bearable.
func patience(a answer) (after time.Duration, wait bool) {
	seconds, err := strconv.Atoi(a.header.Get("Retry-After"))
	after = time.Duration(seconds) * time.Second
	limited := a.status == http.StatusTooManyRequests && err == nil && after <= 30*time.Second
	return after, limited || gateIsLate(a.status, a.header)
}

// gateIsLate reports whether nginx gave up waiting for the gate of a stack that runs already: after the five seconds of the
// shipped configuration, which a busy machine exceeds now and then. The node has not seen the request. In a stack of our
// own nginx is patient, and where it has no gate to wait for, this answer is what the test wants.
func gateIsLate(status int, header http.Header) bool {
	return os.Getenv(envURL) != "" && status == http.StatusServiceUnavailable && header.Get("Retry-After") == "1"
}

func (s *site) sendOnce(ctx context.Context, method, target, token string, body any, header ...string) (answer, error) {
	a := answer{what: method + " " + target, id: fmt.Sprintf("e2e-%d", requests.Add(1))}
	reader, kind, err := encode(body)
	if err != nil {
		return a, err
	}
	req, err := http.NewRequestWithContext(ctx, method, s.URL+target, reader)
	if err != nil {
		return a, err
	}
	req.Header.Set("X-Request-Id", a.id)
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	res, err := s.http.Do(req)
	if err != nil {
		return a, err
	}
	defer res.Body.Close()
	a.status, a.header = res.StatusCode, res.Header
	if a.body, err = io.ReadAll(res.Body); err != nil {
		return a, fmt.Errorf("%s: %w", a.what, err)
	}
	s.learn(a.body)
	return a, nil
}

func encode(body any) (io.Reader, string, error) {
	switch body := body.(type) {
	case nil:
		return http.NoBody, "", nil
	case []byte:
		return bytes.NewReader(body), "application/octet-stream", nil
	case io.Reader:
		return body, "application/octet-stream", nil
	}
	text, err := json.Marshal(body)
	return bytes.NewReader(text), "application/json", err
}

// learn remembers the tokens of an answer as secrets.
func (s *site) learn(body []byte) {
	var envelope struct {
		Data map[string]any `json:"data"`
	}
	if json.Unmarshal(body, &envelope) != nil {
		return
	}
	for _, name := range []string{"access_token", "refresh_token", "challenge"} {
		if text, _ := envelope.Data[name].(string); text != "" {
			s.secrets.Add(name, text)
		}
	}
}

// call is send for tests.
func (s *site) call(t *testing.T, method, target, token string, body any, header ...string) answer {
	t.Helper()
	a, err := s.send(t.Context(), method, target, token, body, header...)
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	return a
}

// data decodes the data member of a successful answer.
func (a answer) data(into any) error {
	if a.status != http.StatusOK {
		return fmt.Errorf("%s: status %d, want 200: %s", a.what, a.status, a.body)
	}
	envelope := struct {
		Data any `json:"data"`
	}{into}
	return json.Unmarshal(a.body, &envelope)
}

// want fails the test unless the answer has this status.
func (a answer) want(t *testing.T, status int) answer {
	t.Helper()
	if a.status != status {
		t.Fatalf("%s: status %d, want %d; reason %q, body %.300q", a.what, a.status, status, a.header.Get("X-Auth-Error"), a.body)
	}
	return a
}

// claims returns what a token says about itself. The tests hold no key: they only read.
func claims(t *testing.T, token string) (c struct {
	Subject string `json:"sub"`
	Expires int64  `json:"exp"`
},
) {
	t.Helper()
	_, rest, _ := strings.Cut(token, ".")
	payload, _, _ := strings.Cut(rest, ".")
	text, err := base64.RawURLEncoding.DecodeString(payload)
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err != nil {
		t.Fatalf("token %q: %v", token, err)
	}
	return c
}

// hostOf returns host:port of the site.
func (s *site) hostOf(t *testing.T) string {
	t.Helper()
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	if u.Port() == "" {
		return u.Hostname() + ":80"
	}
	return u.Host
}

// random returns n random bytes.
func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}
