package httpapi_test

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/challenge"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/provider/ethereum"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

func TestPublicPages(t *testing.T) {
	a := startAPI(t, func(o *apiOptions) { o.publicURL = "https://node.example" })
	var health struct {
		Status  string
		Storage bool
		Uptime  *int64 `json:"uptime_seconds"`
	}
	a.advance(90 * time.Second)
	a.call(t, "GET", "/auth/health", "", nil).data(t, &health)
	if health.Status != "alive" || !health.Storage || health.Uptime == nil || *health.Uptime != 90 {
		t.Errorf("health: %+v", health)
	}
	wantIdentity := map[string]any{
		"service": "calimero-auth", "version": "1.2.3", "authentication_mode": "forward", "providers": []any{"eth_wallet", "user_password"},
	}
	pair := a.logIn(t, "alice")
	for path, token := range map[string]string{"/auth/identity": "", "/admin/identity": pair.Access} {
		var got map[string]any
		a.call(t, "GET", path, token, nil).data(t, &got)
		if !reflect.DeepEqual(got, wantIdentity) {
			t.Errorf("%s: %v, want %v", path, got, wantIdentity)
		}
	}
	if r := a.call(t, "GET", "/auth/login?callback-url=https://evil.example/<script>", "", nil); r.status != 200 ||
		!strings.HasPrefix(r.header.Get("Content-Type"), "text/html") || r.header.Get("Cache-Control") != "no-store" ||
		!strings.Contains(r.body, "https://node.example/auth/token") || strings.Contains(r.body, "evil") {
		t.Errorf("login page: %d %v %s", r.status, r.header, r.body)
	}
	for path, want := range map[string]string{
		"/admin": "/admin-dashboard/", "/admin/": "/admin-dashboard/", "/admin?x=//evil.example": "/admin-dashboard/",
		"/auth/callback": "/auth/login", "/auth/callback?callback-url=http://127.0.0.1:9080/callback": "/auth/login?callback-url=http://127.0.0.1:9080/callback",
	} {
		r := a.call(t, "GET", path, "", nil, "Host", "evil.example", "X-Forwarded-Host", "evil.example")
		if r.status != http.StatusFound || r.header.Get("Location") != want {
			t.Errorf("GET %s: %d to %q, want 302 to %q", path, r.status, r.header.Get("Location"), want)
		}
	}
}

// Somebody else's Host header must not end up as markup or script in the page that people read.
func TestLoginPage_HostileHost(t *testing.T) {
	a := startAPI(t)
	for _, host := range []string{`x"><script>alert(1)</script>`, "x'onload=alert(1)"} {
		r, _ := a.raw(t, "GET", []byte("GET /auth/login HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n"))
		if strings.Contains(r.body, "<script") || strings.Contains(r.body, "'onload") {
			t.Errorf("Host %s: %d %s", host, r.status, r.body)
		}
	}
}

func TestHealth_StoreDown(t *testing.T) {
	a := startAPI(t)
	if err := a.db.Close(); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	a.call(t, "GET", "/auth/health", "", nil).data(t, &got) // always 200: readiness is for the operators
	if want := map[string]any{"status": "not_alive", "storage": false, "uptime_seconds": 0.0}; !reflect.DeepEqual(got, want) {
		t.Errorf("health: %v, want %v", got, want)
	}
	if r := a.call(t, "GET", "/auth/providers", "", nil); r.status != 503 || r.header.Get("Retry-After") != "30" || r.message(t, "providers") != "the store is unavailable at present" {
		t.Errorf("providers: %d %s", r.status, r.body)
	}
}

func TestChallengeEndpoint(t *testing.T) {
	a := startAPI(t)
	seen := map[string]bool{}
	for range 3 {
		var got map[string]string
		a.call(t, "GET", "/auth/challenge", "", nil).data(t, &got)
		nonce, err := base64.StdEncoding.DecodeString(got["nonce"])
		if err != nil || len(nonce) != 32 || len(got["nonce"]) != 44 || len(got["message_nonce"]) != 32 || strings.Count(got["challenge"], ".") != 2 || len(got) != 3 {
			t.Errorf("challenge: %v, %v", got, err)
		}
		claims, err := a.deps.Challenges.Verify(got["challenge"])
		if err != nil || claims.ID != got["message_nonce"] || string(claims.Nonce) != string(nonce) || !claims.Expires.Equal(apiStart.Add(5*time.Minute)) {
			t.Errorf("claims %+v, %v do not fit %v", claims, err, got)
		}
		seen[got["challenge"]], seen[got["nonce"]] = true, true
	}
	if len(seen) != 6 {
		t.Error("challenges repeat")
	}
}

func TestProvidersEndpoint(t *testing.T) {
	type listed struct {
		Count     int
		Providers []struct {
			Name, Type, Description string
			Configured              bool
			Config                  map[string]any
		}
		Open *bool `json:"bootstrap_required"`
	}
	for _, empty := range []bool{true, false} {
		a := startAPI(t, func(o *apiOptions) { o.empty = empty })
		var got listed
		a.call(t, "GET", "/auth/providers", "stale token", nil).data(t, &got)
		if got.Count != 2 || len(got.Providers) != 2 || got.Open == nil || *got.Open != empty {
			t.Fatalf("providers: %+v", got)
		}
		eth, pw := got.Providers[0], got.Providers[1]
		if eth.Name != "eth_wallet" || eth.Type != "wallet" || eth.Configured || eth.Config["reason"] == nil {
			t.Errorf("eth_wallet without an address: %+v", eth)
		}
		if pw.Name != "user_password" || pw.Type != "credentials" || !pw.Configured || pw.Description == "" || pw.Config["min_password_length"] != 8.0 {
			t.Errorf("user_password: %+v", pw)
		}
	}
}

// The body of a login, as the clients send it and as they must not.
func TestTokenEndpoint_Bodies(t *testing.T) {
	a := startAPI(t)
	change := func(members map[string]any) map[string]any {
		body := a.loginBody("alice")
		for name, value := range members {
			if body[name] = value; value == "absent" {
				delete(body, name)
			}
		}
		return body
	}
	families := func() int {
		n := 0
		for range strings.Lines(a.digest(t)) {
			n++
		}
		return n
	}
	for name, tt := range map[string]struct {
		members map[string]any
		status  int
		message string
	}{
		"as it is":                {nil, 200, ""},
		"the provider's alias":    {map[string]any{"auth_method": "username_password"}, 200, ""},
		"timestamp in seconds":    {map[string]any{"timestamp": 1760000000}, 200, ""},
		"timestamp 0":             {map[string]any{"timestamp": 0}, 200, ""},
		"largest timestamp":       {map[string]any{"timestamp": uint64(1<<64 - 1)}, 200, ""},
		"no permissions":          {map[string]any{"permissions": "absent"}, 200, ""},
		"null permissions":        {map[string]any{"permissions": nil}, 200, ""},
		"wished permissions":      {map[string]any{"permissions": []string{"admin", "nonsense"}}, 200, ""},
		"unknown members":         {map[string]any{"target_node_url": "http://x", "is_admin": true}, 200, ""},
		"longest client_name":     {map[string]any{"client_name": strings.Repeat("c", 4096)}, 200, ""},
		"client_name too long":    {map[string]any{"client_name": strings.Repeat("c", 4097)}, 422, "client_name"},
		"no auth_method":          {map[string]any{"auth_method": "absent"}, 400, "missing field `auth_method`"},
		"null auth_method":        {map[string]any{"auth_method": nil}, 400, "missing field `auth_method`"},
		"empty auth_method":       {map[string]any{"auth_method": ""}, 422, "auth_method"},
		"odd auth_method":         {map[string]any{"auth_method": "!!!"}, 400, "Authentication method must contain valid characters"},
		"auth_method to clean":    {map[string]any{"auth_method": "user_password\x00"}, 400, "Authentication method must contain valid characters"},
		"auth_method with blanks": {map[string]any{"auth_method": " user_password"}, 400, "Authentication method must contain valid characters"},
		"unknown auth_method":     {map[string]any{"auth_method": "foo"}, 401, "unsupported authentication method"},
		"auth_method in capitals": {map[string]any{"auth_method": "USER_PASSWORD"}, 401, "unsupported authentication method"},
		"no public_key":           {map[string]any{"public_key": "absent"}, 400, "missing field `public_key`"},
		"empty public_key":        {map[string]any{"public_key": ""}, 422, "public_key"},
		"public_key of controls":  {map[string]any{"public_key": "\x01\u00e9"}, 400, "Public key cannot be empty after sanitization"},
		"no client_name":          {map[string]any{"client_name": "absent"}, 400, "missing field `client_name`"},
		"empty client_name":       {map[string]any{"client_name": ""}, 422, "client_name"},
		"client_name of controls": {map[string]any{"client_name": "\x02\u65e5"}, 400, "Client name cannot be empty after sanitization"},
		"no timestamp":            {map[string]any{"timestamp": "absent"}, 400, "missing field `timestamp`"},
		"negative timestamp":      {map[string]any{"timestamp": -1}, 400, "timestamp"},
		"fractional timestamp":    {map[string]any{"timestamp": 1.5}, 400, "timestamp"},
		"timestamp as text":       {map[string]any{"timestamp": "1760000000"}, 400, "timestamp"},
		"no provider_data":        {map[string]any{"provider_data": "absent"}, 400, "missing field `provider_data`"},
		"null provider_data":      {map[string]any{"provider_data": nil}, 400, ""},
		"array provider_data":     {map[string]any{"provider_data": []int{1}}, 400, ""},
		"text provider_data":      {map[string]any{"provider_data": "x"}, 400, ""},
		"permissions as text":     {map[string]any{"permissions": "admin"}, 400, "permissions"},
		"permissions of numbers":  {map[string]any{"permissions": []int{1}}, 400, "permissions"},
	} {
		before := families()
		r := a.call(t, "POST", "/auth/token", "", change(tt.members))
		if r.status != tt.status {
			t.Errorf("%s: %d %s, want %d", name, r.status, r.body, tt.status)
			continue
		}
		if r.header.Get("X-Auth-Error") != "" {
			t.Errorf("%s: X-Auth-Error %q on a login", name, r.header.Get("X-Auth-Error"))
		}
		if tt.status != 200 {
			if got := r.message(t, name); !strings.Contains(got, tt.message) {
				t.Errorf("%s: %q, want %q", name, got, tt.message)
			}
			if families() != before {
				t.Errorf("%s: the refused login stored something", name)
			}
			continue
		}
		var envelope map[string]any
		r.json(t, &envelope)
		data, _ := envelope["data"].(map[string]any)
		access, _ := data["access_token"].(string)
		if _, has := envelope["error"]; !has || envelope["error"] != nil || len(envelope) != 2 || len(data) != 3 || data["error"] != nil || data["refresh_token"] == "" {
			t.Errorf("%s: body %s", name, r.body)
		}
		if got := parse(t, access).Permissions; !slices.Equal(got, []string{"admin"}) {
			t.Errorf("%s: permissions %q, want those of the stored key", name, got)
		}
	}
}

// Clients send whatever token they have on every call. On public routes it must not matter.
func TestStaleTokenOnPublicRoutes(t *testing.T) {
	a := startAPI(t)
	pair := a.logIn(t, "alice")
	a.advance(2 * time.Hour)
	for _, authorization := range []string{"Bearer junk", "Bearer " + pair.Access, "Bearer " + pair.Refresh, "Bearer ", "Basic x", "Bearer a, Bearer b"} {
		for _, path := range []string{"/auth/health", "/auth/providers", "/auth/challenge", "/auth/identity", "/auth/login"} {
			if r := a.call(t, "GET", path, "", nil, "Authorization", authorization); r.status != 200 || r.header.Get("X-Auth-Error") != "" {
				t.Errorf("GET %s with %.20q: %d %v", path, authorization, r.status, r.header)
			}
		}
		if r := a.call(t, "POST", "/auth/token", "", a.loginBody("alice"), "Authorization", authorization); r.status != 200 {
			t.Errorf("login with %.20q: %d %s", authorization, r.status, r.body)
		}
	}
	r := a.call(t, "POST", "/auth/refresh", "", map[string]string{"access_token": pair.Access, "refresh_token": pair.Refresh}, "Authorization", "Bearer junk")
	if r.status != 200 {
		t.Errorf("refresh with a stale token: %d %s", r.status, r.body)
	}
}

func (a *api) refresh(t *testing.T, pair tokens, headers ...string) answer {
	t.Helper()
	return a.call(t, "POST", "/auth/refresh", "", map[string]string{"access_token": pair.Access, "refresh_token": pair.Refresh}, headers...)
}

func TestRefreshEndpoint(t *testing.T) {
	a := startAPI(t)
	body := a.loginBody("alice")
	body["client_name"] = "https://node.example/auth/login"
	var first, second tokens
	a.call(t, "POST", "/auth/token", "", body).data(t, &first)
	refused := func(what string, pair tokens, status int, reason, message string, headers ...string) {
		t.Helper()
		r := a.refresh(t, pair, headers...)
		if r.status != status || r.header.Get("X-Auth-Error") != reason || !strings.Contains(r.message(t, what), message) {
			t.Errorf("%s: %d %q %s, want %d %q %q", what, r.status, r.header.Get("X-Auth-Error"), r.body, status, reason, message)
		}
	}
	refused("too early", first, 401, "", "Access token still valid", "Host", "node.example")
	a.advance(time.Hour)
	refused("another host", first, 403, "invalid_node", "not valid for this host", "Host", "evil.example")
	refused("another host behind our proxy", first, 403, "invalid_node", "", "Host", "node.example", "X-Forwarded-Host", "evil.example")
	refused("swapped", tokens{Access: first.Refresh, Refresh: first.Access}, 401, "", "invalid refresh token", "Host", "node.example")
	a.refresh(t, first, "Host", "anything", "X-Forwarded-Host", "Node.example:443").data(t, &second)
	if r := a.refresh(t, first, "Host", "node.example"); !strings.Contains(r.body, second.Access) || !strings.Contains(r.body, second.Refresh) {
		t.Error("the repeat within the grace period got another pair")
	}
	a.advance(11 * time.Second)
	refused("reuse", first, 401, "token_reuse", "used already", "Host", "node.example")
	refused("the ended session", first, 401, "token_revoked", "revoked", "Host", "node.example")
}

// X-Forwarded-Host counts only from a peer that may speak for others.
func TestRefreshEndpoint_ForwardedHostOfAStranger(t *testing.T) {
	a := startAPI(t, func(o *apiOptions) { o.trusted = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} })
	body := a.loginBody("alice")
	body["client_name"] = "https://node.example"
	var pair tokens
	a.call(t, "POST", "/auth/token", "", body).data(t, &pair)
	a.advance(time.Hour)
	if r := a.refresh(t, pair, "Host", "evil.example", "X-Forwarded-Host", "node.example"); r.status != 403 {
		t.Errorf("%d %s, want 403", r.status, r.body)
	}
	if r := a.refresh(t, pair, "Host", "node.example", "X-Forwarded-Host", "evil.example"); r.status != 200 {
		t.Errorf("%d %s, want 200: the header of a stranger is nobody's", r.status, r.body)
	}
}

func TestSessionsRememberTheClientNetwork(t *testing.T) {
	for name, tt := range map[string]struct {
		trusted string
		headers []string
		want    string
	}{
		"direct":                          {"192.0.2.0/24", []string{"X-Forwarded-For", "203.0.113.9"}, "127.0.0.1"},
		"behind a proxy":                  {"127.0.0.0/8", []string{"X-Forwarded-For", "203.0.113.9"}, "203.0.113.9"},
		"own claim left of the proxy's":   {"127.0.0.0/8", []string{"X-Forwarded-For", "10.9.9.9, 203.0.113.9"}, "203.0.113.9"},
		"own claim in a line of its own":  {"127.0.0.0/8", []string{"X-Forwarded-For", "10.9.9.9", "X-Forwarded-For", "203.0.113.9"}, "203.0.113.9"},
		"two proxies":                     {"127.0.0.0/8", []string{"X-Forwarded-For", "203.0.113.9, 127.0.0.2"}, "203.0.113.9"},
		"IPv6 is a /64":                   {"127.0.0.0/8", []string{"X-Forwarded-For", "2001:db8:1:2:3:4:5:6"}, "2001:db8:1:2::/64"},
		"IPv4 in IPv6":                    {"127.0.0.0/8", []string{"X-Forwarded-For", "::ffff:203.0.113.9"}, "203.0.113.9"},
		"garbage":                         {"127.0.0.0/8", []string{"X-Forwarded-For", "203.0.113.9, <script>"}, "127.0.0.1"},
		"nothing behind the proxy's name": {"127.0.0.0/8", nil, "127.0.0.1"},
	} {
		a := startAPI(t, func(o *apiOptions) { o.trusted = []netip.Prefix{netip.MustParsePrefix(tt.trusted)} })
		var pair tokens
		a.call(t, "POST", "/auth/token", "", a.loginBody("alice"), tt.headers...).data(t, &pair)
		a.update(t, func(tx *store.Tx) error {
			f, err := tx.Family(parse(t, pair.Access).Fam)
			if f.Peer != tt.want {
				t.Errorf("%s: the session is of %q, want %q", name, f.Peer, tt.want)
			}
			return err
		})
	}
}

func TestBootstrapOverHTTP(t *testing.T) {
	a := startAPI(t, func(o *apiOptions) { o.empty = true })
	shown, err := a.login.Bootstrap.Ensure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	body := a.loginBody("alice")
	with := func(secret any) map[string]any {
		data := map[string]any{"bootstrap_secret": secret}
		for name, value := range body["provider_data"].(map[string]string) {
			data[name] = value
		}
		b := maps.Clone(body)
		b["provider_data"] = data
		return b
	}
	if r := a.call(t, "POST", "/auth/token", "", body); r.status != 401 || !strings.Contains(r.message(t, "no secret"), "mero-auth bootstrap show") {
		t.Errorf("without the secret: %d %s", r.status, r.body)
	}
	for i := range 6 {
		r := a.call(t, "POST", "/auth/token", "", with(fmt.Sprint("guess ", i)))
		if want := map[bool]int{true: 429, false: 401}[i == 5]; r.status != want || (r.header.Get("Retry-After") == "60") != (i == 5) {
			t.Errorf("guess %d: %d %v, want %d", i, r.status, r.header, want)
		}
	}
	a.advance(time.Minute)
	if r := a.call(t, "POST", "/auth/token", "", with(1)); r.status != 400 {
		t.Errorf("a secret that is a number: %d %s", r.status, r.body)
	}
	if r := a.call(t, "POST", "/auth/token", "", with(shown.Secret)); r.status != 200 {
		t.Errorf("with the secret: %d %s", r.status, r.body)
	}
	a.logIn(t, "alice")
	if strings.Contains(a.log.String(), shown.Secret) || strings.Contains(a.log.String(), "guess 0") {
		t.Error("the log holds a bootstrap secret")
	}
}

// A login with a signature that a wallet library made (viem; a published test key).
func TestEthereumLogin_RecordedSignature(t *testing.T) {
	const (
		address = "0x8A0B243A0d4Fd01E7d4EF4B65A709Ea01469DCb9"
		message = "auth.example.com wants you to sign in with your Ethereum account:\n" + address + "\n\n\n" +
			"URI: https://auth.example.com/login\nVersion: 1\nChain ID: 1\nNonce: k3d8f0a1b2c4d6e8\nIssued At: 2026-01-02T03:04:05.678Z"
		signature = "0xf23dab756383e84df10fac24851c99abdbca729796ff366fc7139ee2fc5ade1c" +
			"35e1e72a42934e9880a3232e8e58e59575d1d8e8dc14ede201f0d6694850dd1e1b"
	)
	issued := apiStart.Add(-2 * time.Minute)
	recorded := challenge.Claims{ID: "k3d8f0a1b2c4d6e8", Nonce: make([]byte, 32), IssuedAt: issued, Expires: issued.Add(challenge.Lifetime)}
	a := startAPI(t, func(o *apiOptions) { o.empty = true })
	a.login.Providers[0] = &ethereum.Provider{
		Config:          config.Eth{Domain: "auth.example.com", URI: "https://auth.example.com/login", ChainIDs: []uint64{1}},
		VerifyChallenge: func(string) (challenge.Claims, error) { return recorded, nil },
		Now:             a.now,
	}
	shown, err := a.login.Bootstrap.Ensure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	data := map[string]string{
		"wallet_address": address, "message": message, "signature": signature, "challenge": "recorded", "bootstrap_secret": shown.Secret,
	}
	body := map[string]any{"auth_method": "ethereum", "public_key": address, "client_name": "mero-js-sdk", "timestamp": 1, "provider_data": data}
	changed := maps.Clone(data)
	changed["message"] = strings.Replace(message, "Version: 1", "Version: 2", 1)
	body["provider_data"] = changed
	if r := a.call(t, "POST", "/auth/token", "", body); r.status != 401 || r.header.Get("X-Auth-Error") != "" {
		t.Errorf("another message: %d %s", r.status, r.body)
	}
	body["provider_data"] = data
	var pair tokens
	a.call(t, "POST", "/auth/token", "", body).data(t, &pair)
	var roots []map[string]any
	a.call(t, "GET", "/admin/keys", pair.Access, nil).data(t, &roots)
	if len(roots) != 1 || roots[0]["key_id"] != parse(t, pair.Access).Sub || roots[0]["public_key"] != address || roots[0]["auth_method"] != "eth_wallet" {
		t.Errorf("root keys: %v", roots)
	}
	if r := a.call(t, "POST", "/auth/token", "", body); r.status != 401 || !strings.Contains(r.message(t, "replay"), "used already") {
		t.Errorf("the same signature again: %d %s", r.status, r.body)
	}
	for _, secret := range []string{signature, pair.Access, pair.Refresh} {
		if strings.Contains(a.log.String(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
}

// What carries tokens is not kept on its way (RFC 6749 section 5.1), nor is what holds only for the moment; documents that
// never change between requests may be.
func TestCacheControl(t *testing.T) {
	a := startAPI(t)
	pair := a.logIn(t, "alice")
	for _, r := range []struct {
		method, path, token string
		body                any
		status              int
		want                string
	}{
		{"POST", "/auth/token", "", a.loginBody("alice"), 200, "no-store"},
		{"GET", "/auth/challenge", "", nil, 200, "no-store"},
		{"POST", "/admin/client-key", pair.Access, map[string]any{"permissions": []string{"context:list"}}, 200, "no-store"},
		{"GET", "/admin/keys", pair.Access, nil, 200, "no-store"},
		{"GET", "/auth/providers", "", nil, 200, "no-store"},
		{"GET", "/auth/health", "", nil, 200, "no-store"},
		{"GET", "/auth/login", "", nil, 200, "no-store"},
		{"GET", "/auth/callback?token=x", "", nil, 302, "no-store"},
		{"GET", "/nothing", "", nil, 404, "no-store"},
		{"GET", "/auth/openapi.json", "", nil, 200, "public, max-age=300"},
	} {
		got := a.call(t, r.method, r.path, r.token, r.body)
		if got.status != r.status || len(got.header.Values("Cache-Control")) != 1 || got.header.Get("Cache-Control") != r.want {
			t.Errorf("%s %s: %d, Cache-Control %q, want %q", r.method, r.path, got.status, got.header.Values("Cache-Control"), r.want)
		}
	}
	a.advance(2 * time.Hour)
	if got := a.refresh(t, pair); got.status != 200 || got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("POST /auth/refresh: %d, Cache-Control %q, want no-store", got.status, got.header.Get("Cache-Control"))
	}
}

// The addresses of the login's pages stay with the browser: their query belongs to a login.
func TestLoginPages_NoReferrer(t *testing.T) {
	a := startAPI(t, func(o *apiOptions) { o.headers.ReferrerPolicy = "strict-origin-when-cross-origin" })
	for path, want := range map[string]string{"/auth/login?x=1": "no-referrer", "/auth/callback?x=1": "no-referrer", "/auth/health": "strict-origin-when-cross-origin"} {
		if got := a.call(t, "GET", path, "", nil).header.Values("Referrer-Policy"); len(got) != 1 || got[0] != want {
			t.Errorf("%s: Referrer-Policy %q, want %q", path, got, want)
		}
	}
}
