package httpapi_test

import (
	"bytes"
	"compress/zlib"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/services/auth/internal/authtest"
)

// forwardedCase is one case of testdata/uri_cases.json: what a proxy asks, and how it must be answered.
type forwardedCase struct {
	ID      string          `json:"id"`
	Proxy   string          `json:"proxy"`
	Method  string          `json:"subrequest_method"`
	Headers [][2]corpusText `json:"headers"`
	Token   string          `json:"token"`
	Expect  string          `json:"expect"`
	Why     string          `json:"why"`
	Extra   string          `json:"token_extra"`
	Check   struct {
		NotContains string `json:"not_contains"` // that each identity header occurs once is checked for every case
	} `json:"check_response"`
}

// corpusText is a string, or a long one compressed: {"zlib_b64": base64 of zlib, "chars": its length}.
type corpusText string

func (c *corpusText) UnmarshalJSON(raw []byte) error {
	if bytes.HasPrefix(raw, []byte(`"`)) {
		return json.Unmarshal(raw, (*string)(c))
	}
	var packed struct {
		Zlib  []byte `json:"zlib_b64"`
		Chars int    `json:"chars"`
	}
	if err := json.Unmarshal(raw, &packed); err != nil {
		return err
	}
	r, err := zlib.NewReader(bytes.NewReader(packed.Zlib))
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(r, 1<<20))
	if err != nil {
		return err
	}
	if len(text) != packed.Chars {
		return fmt.Errorf("%d characters, want %d", len(text), packed.Chars)
	}
	*c = corpusText(text)
	return nil
}

// corpusTokens are the tokens that the cases name.
func corpusTokens(t *testing.T, s *authtest.Service) map[string]authtest.Token {
	t.Helper()
	root := s.Root(t, "admin")
	expired := s.Mint(t, authtest.Mint{Key: root.Key, Permissions: []string{"admin"}, Machine: time.Minute})
	s.Clock.Advance(time.Minute)
	fresh := s.Mint(t, authtest.Mint{Key: root.Key, Permissions: []string{"admin"}})
	refresh := fresh
	refresh.Access = fresh.Refresh
	return map[string]authtest.Token{
		"none":      {},
		"T_admin":   fresh,
		"T_refresh": refresh,
		"T_expired": expired,
		"T_app":     s.Client(t, root, "application:list"),
		"T_ctx1":    s.Client(t, root, "context:read:specific:ctx-1"),
		"T_ctxlist": s.Client(t, root, "context:list"),
		"T_ctxlist node_url=https://node.example.com": s.Mint(t, authtest.Mint{
			Root: root.Key, Permissions: []string{"context:list"}, NodeURL: "https://node.example.com",
		}),
	}
}

// TestForwardedTargets sends every case of the corpus to the running service.
func TestForwardedTargets(t *testing.T) {
	raw, err := os.ReadFile("testdata/uri_cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var corpus struct{ Cases []forwardedCase }
	if err := json.Unmarshal(raw, &corpus); err != nil {
		t.Fatal(err)
	}
	if len(corpus.Cases) != 169 {
		t.Fatalf("%d cases, want all 169", len(corpus.Cases))
	}
	s := authtest.Start(t)
	tokens := corpusTokens(t, s)
	for _, c := range corpus.Cases {
		t.Run(c.ID, func(t *testing.T) { c.run(t, s, tokens) })
	}
}

func (c *forwardedCase) run(t *testing.T, s *authtest.Service, tokens map[string]authtest.Token) {
	name := strings.TrimSpace(c.Token + " " + c.Extra)
	token, known := tokens[name]
	if !known {
		t.Fatalf("unknown token %q", name)
	}
	q := authtest.Question{Form: c.Proxy, Via: c.Method, Token: token.Access}
	var method, target string
	for _, h := range c.Headers {
		value := string(h[1])
		for name, inline := range tokens {
			if strings.Contains(value, "{"+name+"}") {
				value = strings.ReplaceAll(value, "{"+name+"}", inline.Access)
				if c.Token == "none" {
					token = inline // the credential is where the case puts it
				}
			}
		}
		switch name := strings.ToLower(string(h[0])); {
		case strings.HasSuffix(name, "-method"):
			method = strings.TrimSpace(value)
		case strings.HasSuffix(name, "-uri"):
			target = value
		}
		q.Headers = append(q.Headers, string(h[0])+": "+value)
	}
	got := s.Ask(t, q)
	if c.ID == "space-before-colon" {
		// What is no header line never reaches the gate: the HTTP library refuses it (RFC 9112 section 5.1).
		if got.Status != http.StatusBadRequest {
			t.Fatalf("got %v, want 400", got)
		}
		return
	}
	if !decidedAs(c.Expect, got.Status) {
		t.Fatalf("got %v, want %s: %s", got, c.Expect, c.Why)
	}
	if got.Status != http.StatusOK {
		return
	}
	c.checkIdentity(t, got, token)
	proof := got.Header.Get(identity.HeaderAssertion)
	switch public := target == "/" || target == "/admin-api/health"; {
	case public || token.Key == "":
		if proof != "" {
			t.Errorf("%s %s needs no assertion and got %q", method, target, proof)
		}
	default:
		if err := s.VerifyAssertion(got, method, target); err != nil {
			t.Errorf("%s %s: %v", method, target, err)
		}
	}
}

// decidedAs reports whether a status belongs to a decision class of the corpus.
func decidedAs(class string, status int) bool {
	switch class {
	case "allow":
		return status == http.StatusOK
	case "deny-401":
		return status == http.StatusUnauthorized
	case "deny-403":
		return status == http.StatusForbidden
	case "deny":
		return status == http.StatusUnauthorized || status == http.StatusForbidden
	}
	return false
}

func (c *forwardedCase) checkIdentity(t *testing.T, got authtest.Answer, token authtest.Token) {
	t.Helper()
	found := got.Identity(t)
	for name, value := range found {
		// The assertion is random text that may spell anything.
		if name != identity.HeaderAssertion && c.Check.NotContains != "" && strings.Contains(value, c.Check.NotContains) {
			t.Errorf("%s is %q, which must not contain %q", name, value, c.Check.NotContains)
		}
	}
	if found[identity.HeaderKey] != token.Key || found[identity.HeaderUser] != token.Key {
		t.Errorf("X-Auth-Key is %q and X-Auth-User %q, want the token's %q", found[identity.HeaderKey], found[identity.HeaderUser], token.Key)
	}
	if token.Key == "" && found[identity.HeaderPermissions]+found[identity.HeaderExpires] != "" {
		t.Errorf("identity without a token: %v", found)
	}
}
