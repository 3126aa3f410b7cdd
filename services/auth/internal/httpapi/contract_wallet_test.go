package httpapi_test

import (
	"encoding/base64"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/mr-tron/base58"

	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/jsonrpc/jsonrpctest"
	"github.com/calimero-network/mero-go/services/auth/internal/provider/near/neartest"
)

// Checks 42 to 46: NEAR wallets, and tokens for nothing.
var walletChecks = []contractCheck{
	{42, "NEAR wallets", func(t *testing.T, s *site) {
		s.addAlice(t)
		pair := s.wantsPair(t, "calimero, no callback", s.call(t, "POST", "/auth/token", "", s.signedLogin(t, nil, nil)))
		wants(t, "its token", s.validate(t, pair.Access), 200, "")
		bare := s.signedLogin(t, nil, nil)
		bare["public_key"] = strings.TrimPrefix(s.wallet.PublicKey, "ed25519:")
		s.wantsPair(t, "a key without its kind", s.call(t, "POST", "/auth/token", "", bare))

		// decided (design 3.4): a callback must be allow-listed.
		callback := "https://node1.test/auth/login"
		listed := startSite(t, func(c *config.Config) { c.PublicURL = "https://node1.test" })
		listed.addAlice(t)
		signed := listed.signedLogin(t, func(m *neartest.Message) { m.Callback = &callback }, map[string]any{"callback_url": callback})
		listed.wantsPair(t, "signed with the callback", listed.call(t, "POST", "/auth/token", "", signed))
		evil := "https://evil.test/"
		foreign := listed.signedLogin(t, func(m *neartest.Message) { m.Callback = &evil }, map[string]any{"callback_url": evil})
		wants(t, "a callback of another site", listed.call(t, "POST", "/auth/token", "", foreign), 401, "")

		inBase58 := s.signedLogin(t, nil, nil)
		data := inBase58["provider_data"].(map[string]any)
		raw, err := base64.StdEncoding.DecodeString(data["signature"].(string))
		if err != nil {
			t.Fatal(err)
		}
		data["signature"] = base58.Encode(raw)
		wants(t, "signature in base58", s.call(t, "POST", "/auth/token", "", inBase58), 401, "")
	}},
	{43, "NEAR wallets that prove nothing", func(t *testing.T, s *site) {
		s.addAlice(t)
		foreign := "eyJhbGciOiJIUzI1NiIsImtpZCI6IngiLCJ0eXAiOiJjaGFsbGVuZ2Urand0In0.e30.AAAA"
		used := s.signedLogin(t, nil, nil)
		s.wantsPair(t, "the first use", s.call(t, "POST", "/auth/token", "", used))
		wrongKey := s.signedLogin(t, nil, nil)
		wrongKey["public_key"] = neartest.NewWallet("mallory").PublicKey
		for what, body := range map[string]map[string]any{
			"altered recipient":   s.signedLogin(t, nil, map[string]any{"recipient": "evil.test"}),
			"recipient of others": s.signedLogin(t, func(m *neartest.Message) { m.Recipient = "evil.test" }, map[string]any{"recipient": "evil.test"}),
			"wrong key":           wrongKey,
			"foreign challenge":   s.signedLogin(t, func(m *neartest.Message) { m.Text = foreign }, map[string]any{"message": foreign}),
			"replayed challenge":  used, // decided (design 3.4): a challenge is used once
		} {
			wants(t, what, s.call(t, "POST", "/auth/token", "", body), 401, "")
		}
		expired := s.signedLogin(t, nil, nil)
		s.Clock.Advance(5 * time.Minute)
		wants(t, "expired challenge", s.call(t, "POST", "/auth/token", "", expired), 401, "")
		s.rpc.Set(jsonrpctest.Failure(neartest.Cause("UNKNOWN_ACCESS_KEY")))
		wants(t, "a key that the account does not have", s.call(t, "POST", "/auth/token", "", s.signedLogin(t, nil, nil)), 401, "")
		s.rpc.Set(jsonrpctest.Status(500, "")) // decided (design 3.4): an outage is 503 and says nothing about the wallet
		wants(t, "the RPC node is down", s.call(t, "POST", "/auth/token", "", s.signedLogin(t, nil, nil)), 503, "")
	}},
	{44, "a second NEAR account", func(t *testing.T, s *site) {
		wants(t, "nobody's account", s.call(t, "POST", "/auth/token", "", s.signedLogin(t, nil, nil)), 401, "")
	}},
	{45, "what the RPC node is asked", func(t *testing.T, s *site) {
		s.addAlice(t)
		s.rpc.Requests()
		s.wantsPair(t, "login", s.call(t, "POST", "/auth/token", "", s.signedLogin(t, nil, nil)))
		asked := s.rpc.Requests()
		if len(asked) != 1 || asked[0].Version != "2.0" || asked[0].Method != "query" || len(asked[0].ID) == 0 {
			t.Fatalf("requests %+v, want one query", asked)
		}
		var params map[string]string
		if err := json.Unmarshal(asked[0].Params, &params); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"request_type": "view_access_key", "finality": "final", "account_id": "alice.testnet", "public_key": s.wallet.PublicKey}
		if !reflect.DeepEqual(params, want) {
			t.Errorf("params %v, want %v", params, want)
		}
	}},
	{46, "mock tokens", func(t *testing.T, s *site) {
		// decided (design 3.7): they exist only in a build with the tag mock, where TestMockTokens plays the rest.
		r := s.call(t, "POST", "/auth/mock-token", "t", map[string]string{"client_name": "ci"})
		if wants(t, "mock token", r, 404, ""); r.message(t, "mock token") != "Endpoint not found" {
			t.Errorf("mock token: %s", r.body)
		}
	}},
}

// Checks 47 to 49: what browsers read, and what is too large.
var webChecks = []contractCheck{
	{47, "CORS", func(t *testing.T, s *site) {
		long := strings.Repeat(" ", 1<<20) + "{}"
		for what, ask := range map[string]func(origin string) answer{
			"401": func(o string) answer { return s.call(t, "GET", "/admin/keys", "", nil, "Origin", o) },
			"404": func(o string) answer { return s.call(t, "GET", "/nothing", "", nil, "Origin", o) },
			"413": func(o string) answer { return s.call(t, "POST", "/auth/token", "", long, "Origin", o) },
		} {
			r := ask("http://app.test")
			if status := map[string]int{"401": 401, "404": 404, "413": 413}[what]; r.status != status || r.header.Get("Access-Control-Allow-Origin") != "http://app.test" ||
				!strings.Contains(strings.ToLower(r.header.Get("Access-Control-Expose-Headers")), "x-auth-error") {
				t.Errorf("%s: %d, headers %v", what, r.status, r.header)
			}
			if got := ask("http://other.test").header.Get("Access-Control-Allow-Origin"); got != "" {
				t.Errorf("%s: another origin may read it: %q", what, got)
			}
		}
		for _, path := range []string{"/auth/token", "/admin/keys", "/admin/client-key"} {
			r := s.call(t, "OPTIONS", path, "", nil, "Origin", "http://app.test", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization")
			if r.status/100 != 2 || r.header.Get("Access-Control-Allow-Origin") != "http://app.test" {
				t.Errorf("preflight of %s: %d %v", path, r.status, r.header)
			}
		}
	}},
	{48, "security headers", func(t *testing.T, _ *site) {
		s := startSite(t, func(c *config.Config) { c.PublicURL = "https://node1.test" })
		for _, path := range []string{"/auth/health", "/auth/login", "/admin/keys", "/nothing"} {
			h := s.call(t, "GET", path, "", nil).header
			referrer := "strict-origin-when-cross-origin"
			if path == "/auth/login" {
				referrer = "no-referrer" // decided (security 7): its address belongs to a login
			}
			for name, want := range map[string]string{
				"Strict-Transport-Security": "max-age=31536000; includeSubDomains", // decided: only where public_url is https
				"X-Frame-Options":           "DENY", "X-Content-Type-Options": "nosniff", "Referrer-Policy": referrer,
			} {
				if h.Get(name) != want {
					t.Errorf("%s: %s is %q, want %q", path, name, h.Get(name), want)
				}
			}
			// decided (design 3.7): no unsafe-inline, no unsafe-eval, no wide connect-src.
			if csp := h.Get("Content-Security-Policy"); csp == "" || strings.Contains(csp, "unsafe") || strings.Contains(csp, "http:") {
				t.Errorf("%s: Content-Security-Policy %q", path, csp)
			}
		}
	}},
	{49, "a body of 1 MiB and a byte", func(t *testing.T, s *site) {
		body := `{"auth_method":"` + strings.Repeat("x", 1<<20-18) + `"}`
		if len(body) != 1<<20 {
			t.Fatalf("%d bytes", len(body))
		}
		wants(t, "1 MiB", s.call(t, "POST", "/auth/token", "", body), 400, "")
		r := s.call(t, "POST", "/auth/token", "", body+" ")
		wants(t, "a byte more", r, 413, "")
		r.message(t, "a byte more")
	}},
}
