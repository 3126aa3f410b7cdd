package httpapi_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/authtest"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/jsonrpc"
	"github.com/calimero-network/mero-go/services/auth/internal/jsonrpc/jsonrpctest"
	"github.com/calimero-network/mero-go/services/auth/internal/provider/near/neartest"
)

const firstSecret = "ABCDEFGHJKMNPQRSTVWXYZ23"

// nearService is a service whose NEAR node is a local server.
type nearService struct {
	*authtest.Service
	rpc    *jsonrpctest.Server
	wallet neartest.Wallet
}

func startNEAR(t *testing.T, changes ...func(*config.Config)) *nearService {
	t.Helper()
	n := &nearService{rpc: jsonrpctest.Start(t, jsonrpctest.Result(neartest.FullAccess)), wallet: neartest.NewWallet("alice")}
	n.Service = authtest.Start(t, append([]func(*config.Config){func(c *config.Config) {
		c.PublicURL = "https://node.example"
		c.Providers.NearWallet = true
		c.Near.RPCURL = config.Endpoint(n.rpc.URL + "/path-key")
		c.Near.APIKey = "api-key"
		c.Bootstrap.Secret = firstSecret
		c.Security.RateLimit = config.RateLimit{RPM: 1_000_000, Burst: 1_000_000} // all logins come from one address
	}}, changes...)...)
	return n
}

func (n *nearService) send(t testing.TB, method, path string, body any) authtest.Answer {
	t.Helper()
	encoded, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+n.Addr+path, bytes.NewReader(encoded))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	var request bytes.Buffer
	if err := r.Write(&request); err != nil {
		t.Fatal(err)
	}
	return n.Exchange(t, "", method, request.Bytes())
}

// signed is the body of a login of alice.testnet with a fresh challenge; members replace parts of provider_data.
func (n *nearService) signed(t testing.TB, recipient string, members map[string]any) map[string]any {
	t.Helper()
	return n.signedFor(t, "/auth/challenge", recipient, members)
}

// signedFor is signed with a challenge from this address.
func (n *nearService) signedFor(t testing.TB, address, recipient string, members map[string]any) map[string]any {
	t.Helper()
	var issued struct {
		Data struct {
			Challenge string
			Nonce     string
		}
	}
	if err := json.Unmarshal([]byte(n.send(t, "GET", address, nil).Body), &issued); err != nil {
		t.Fatal(err)
	}
	nonce, err := base64.StdEncoding.DecodeString(issued.Data.Nonce)
	if err != nil {
		t.Fatal(err)
	}
	data := map[string]any{
		"wallet_address": "alice.testnet", "message": issued.Data.Challenge, "recipient": recipient,
		"signature": n.wallet.Sign(t, neartest.Message{Text: issued.Data.Challenge, Nonce: nonce, Recipient: recipient}),
	}
	maps.Copy(data, members)
	return map[string]any{
		"auth_method": "near_wallet", "public_key": n.wallet.PublicKey, "client_name": "test", "timestamp": 0, "provider_data": data,
	}
}

// first makes alice.testnet the administrator.
func (n *nearService) first(t testing.TB) authtest.Answer {
	t.Helper()
	a := n.send(t, "POST", "/auth/token", n.signed(t, "node.example", map[string]any{"bootstrap_secret": firstSecret}))
	if a.Status != http.StatusOK {
		t.Fatalf("first login: %v", a)
	}
	n.rpc.Requests()
	return a
}

func accessToken(t testing.TB, a authtest.Answer) string {
	t.Helper()
	var body struct {
		Data struct {
			Access string `json:"access_token"`
		}
	}
	if err := json.Unmarshal([]byte(a.Body), &body); err != nil || body.Data.Access == "" {
		t.Fatalf("no token: %v, %v", a, err)
	}
	return body.Data.Access
}

// contract check 42
func TestNEARLogin(t *testing.T) {
	n := startNEAR(t)
	token := accessToken(t, n.first(t))
	if a := n.Ask(t, authtest.Question{Form: "nginx", Target: contexts, Token: token}); a.Status != http.StatusOK {
		t.Errorf("validate: %v", a)
	}
	for _, recipient := range []string{"node.example", "calimero"} {
		body := n.signed(t, recipient, nil)
		body["auth_method"] = "near"
		if a := n.send(t, "POST", "/auth/token", body); a.Status != http.StatusOK {
			t.Errorf("recipient %s, by the alias: %v", recipient, a)
		}
	}
	requests := n.rpc.Requests()
	if len(requests) != 2 || requests[0].HTTP.Header.Get("X-Api-Key") != "api-key" {
		t.Errorf("RPC requests: %+v, want one for each login, with the key", requests)
	}
	if h := n.RPC[0].Health(); len(n.RPC) != 1 || h != (jsonrpc.Health{Name: "near", Calls: 3, State: jsonrpc.Closed}) {
		t.Errorf("Health = %+v of %d clients, want near alone with three calls", h, len(n.RPC))
	}
}

// contract check 43, and 44: a second account has no key.
func TestNEARLogin_Refusals(t *testing.T) {
	n := startNEAR(t)
	n.first(t)
	other := n.signed(t, "node.example", nil)
	other["public_key"] = neartest.NewWallet("mallory").PublicKey
	for name, tt := range map[string]struct {
		body  map[string]any
		reply jsonrpctest.Reply
		want  string
	}{
		"recipient":       {n.signed(t, "evil.example", nil), nil, "recipient must be one of"},
		"key":             {other, nil, "not one of this challenge"},
		"challenge":       {n.signed(t, "node.example", map[string]any{"message": "eyJhbGciOiJub25lIn0.e30."}), nil, "message: challenge: "},
		"unknown key":     {n.signed(t, "node.example", nil), jsonrpctest.Failure(neartest.Cause("UNKNOWN_ACCESS_KEY")), "no full access"},
		"function calls":  {n.signed(t, "node.example", nil), jsonrpctest.Result(strings.Replace(neartest.FullAccess, `"FullAccess"`, `{"FunctionCall":{}}`, 1)), "no full access"},
		"a second person": {n.signed(t, "node.example", map[string]any{"wallet_address": "bob.testnet"}), nil, "this identity has no key"},
	} {
		n.rpc.Set(jsonrpctest.Result(neartest.FullAccess))
		if tt.reply != nil {
			n.rpc.Set(tt.reply)
		}
		a := n.send(t, "POST", "/auth/token", tt.body)
		if a.Status != http.StatusUnauthorized || !strings.Contains(a.Body, tt.want) || a.Reason() != "" {
			t.Errorf("%s: %v, want 401 with %q and no X-Auth-Error", name, a, tt.want)
		}
	}
	expired := n.signed(t, "node.example", nil)
	n.Clock.Advance(5 * time.Minute)
	if a := n.send(t, "POST", "/auth/token", expired); a.Status != http.StatusUnauthorized || !strings.Contains(a.Body, "expired") || a.Reason() != "" {
		t.Errorf("expired challenge: %v, want 401 and no X-Auth-Error", a)
	}
}

// Of 100 uses of one signed challenge at the same time one is a login, and the node is asked once.
func TestNEARLogin_ParallelReplays(t *testing.T) {
	n := startNEAR(t, authtest.OnDisk)
	n.first(t)
	body := n.signed(t, "node.example", nil)
	var won, lost atomic.Int64
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			switch a := n.send(t, "POST", "/auth/token", body); {
			case a.Status == http.StatusOK:
				won.Add(1)
			case a.Status == http.StatusUnauthorized && strings.Contains(a.Body, "used already"):
				lost.Add(1)
			default:
				t.Errorf("replay: %v", a)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || lost.Load() != 99 {
		t.Errorf("%d logins, %d refused, want 1 and 99", won.Load(), lost.Load())
	}
	if asked := len(n.rpc.Requests()); asked != 1 {
		t.Errorf("the node was asked %d times, want once", asked)
	}
}

// While the node is down nobody logs in with a NEAR wallet, and nobody is told that the wallet is wrong; sessions go on.
func TestNEARLogin_Outage(t *testing.T) {
	n := startNEAR(t)
	token := accessToken(t, n.first(t))
	for name, reply := range map[string]jsonrpctest.Reply{
		"hangs up": jsonrpctest.HangUp, "status 500": jsonrpctest.Status(500, ""), "garbage": jsonrpctest.Raw("<html>"),
		"to another": jsonrpctest.Raw(`{"jsonrpc":"2.0","id":0,"result":` + neartest.FullAccess + `}`),
		"redirect":   jsonrpctest.Redirect(302, "http://169.254.169.254/"),
		"not synced": jsonrpctest.Failure(neartest.Cause("NO_SYNCED_BLOCKS")),
	} {
		n.rpc.Set(reply)
		body := n.signed(t, "node.example", nil)
		a := n.send(t, "POST", "/auth/token", body)
		if a.Status != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" || !strings.Contains(a.Body, "unavailable, try again") {
			t.Errorf("%s: %v, want 503 with Retry-After", name, a)
		}
		// The challenge is gone: whoever repeats the login asks for a new one.
		n.rpc.Set(jsonrpctest.Result(neartest.FullAccess))
		if a := n.send(t, "POST", "/auth/token", body); a.Status != http.StatusUnauthorized || !strings.Contains(a.Body, "used already, ask for a new one") {
			t.Errorf("%s, again: %v, want 401 that says what to do", name, a)
		}
	}
	n.rpc.Set(jsonrpctest.Status(500, ""))
	var wg sync.WaitGroup
	for range 200 {
		body := n.signed(t, "node.example", nil)
		wg.Go(func() {
			if a := n.send(t, "POST", "/auth/token", body); a.Status != http.StatusServiceUnavailable {
				t.Errorf("a login of many: %v, want 503", a)
			}
		})
		if a := n.Ask(t, authtest.Question{Form: "nginx", Target: contexts, Token: token}); a.Status != http.StatusOK {
			t.Fatalf("validate during the outage: %v", a)
		}
	}
	wg.Wait()
	if h := n.RPC[0].Health(); h.State != jsonrpc.Open {
		t.Errorf("Health = %+v, want an open breaker", h)
	}
	n.rpc.Set(jsonrpctest.Result(neartest.FullAccess))
	n.Clock.Advance(10 * time.Second)
	if a := n.send(t, "POST", "/auth/token", n.signed(t, "node.example", nil)); a.Status != http.StatusOK {
		t.Errorf("after the outage: %v", a)
	}
	for _, secret := range []string{"path-key", "api-key", firstSecret, token} {
		if lines := n.Log.Lines(secret); len(lines) > 0 {
			t.Errorf("the log holds %q: %s", secret, lines[0])
		}
	}
	if len(n.Log.Lines(`"status":503`)) == 0 {
		t.Error("the log does not tell of the outage")
	}
}

// contract check 2 and 3
func TestNEARProviderIsListed(t *testing.T) {
	n := startNEAR(t)
	a := n.send(t, "GET", "/auth/providers", nil)
	var body struct {
		Data struct {
			Providers []struct {
				Name, Type string
				Configured bool
				Config     map[string]any
			}
		}
	}
	if err := json.Unmarshal([]byte(a.Body), &body); err != nil || len(body.Data.Providers) != 2 {
		t.Fatalf("%v, %v", a, err)
	}
	p := body.Data.Providers[0]
	if p.Name != "near_wallet" || p.Type != "wallet" || !p.Configured || p.Config["network"] != "testnet" ||
		p.Config["rpc_url"] != "https://rpc.testnet.near.org" || p.Config["wallet_url"] == "" {
		t.Errorf("near_wallet is listed as %+v", p)
	}
	if strings.Contains(a.Body, "path-key") {
		t.Errorf("the list shows the key in the address of the node: %s", a.Body)
	}
}

// contract check 38: the body that the dashboard sends.
func TestNEARAccountAddedByAnAdministrator(t *testing.T) {
	n := startNEAR(t)
	root := n.Root(t, "admin")
	bob := neartest.NewWallet("bob")
	add := func(data string) authtest.Answer {
		t.Helper()
		body := `{"public_key":"` + bob.PublicKey + `","auth_method":"near_wallet","provider_data":` + data + `}`
		return n.Exchange(t, "", "POST", []byte("POST /admin/keys HTTP/1.1\r\nHost: auth\r\nContent-Type: application/json\r\nAuthorization: Bearer "+
			root.Access+"\r\nContent-Length: "+strconv.Itoa(len(body))+"\r\n\r\n"+body))
	}
	if a := add(`{"account_id":"bob.testnet"}`); a.Status != http.StatusOK || !strings.Contains(a.Body, "Key was created") {
		t.Fatalf("POST /admin/keys: %v", a)
	}
	if a := add(`{"account_id":"BOB.testnet"}`); a.Status != http.StatusBadRequest {
		t.Errorf("not an account: %v, want 400", a)
	}
	n.wallet = bob
	if a := n.send(t, "POST", "/auth/token", n.signed(t, "node.example", map[string]any{"wallet_address": "bob.testnet"})); a.Status != http.StatusOK {
		t.Errorf("login of the added account: %v", a)
	}
}

// refreshAs refreshes a pair in an answer after the access token has expired.
func (n *nearService) refreshAs(t testing.TB, of authtest.Answer) authtest.Answer {
	t.Helper()
	var body struct {
		Data struct {
			Access  string `json:"access_token"`
			Refresh string `json:"refresh_token"`
		}
	}
	if err := json.Unmarshal([]byte(of.Body), &body); err != nil || body.Data.Refresh == "" {
		t.Fatalf("no pair: %v, %v", of, err)
	}
	return n.send(t, "POST", "/auth/refresh", map[string]string{"access_token": body.Data.Access, "refresh_token": body.Data.Refresh})
}

// Whoever stole a key of an account and logged in with it stays logged in until the owner takes the key off the account,
// and not for the thirty days of a refresh token.
func TestNEARRefresh_AccessKeyTakenAway(t *testing.T) {
	for name, reply := range map[string]jsonrpctest.Reply{
		"the key is gone":     jsonrpctest.Failure(neartest.Cause("UNKNOWN_ACCESS_KEY")),
		"the account is gone": jsonrpctest.Failure(neartest.Cause("UNKNOWN_ACCOUNT")),
		"function calls":      jsonrpctest.Result(strings.Replace(neartest.FullAccess, `"FullAccess"`, `{"FunctionCall":{}}`, 1)),
	} {
		n := startNEAR(t)
		first := n.first(t)
		n.Clock.Advance(time.Hour)
		second := n.refreshAs(t, first)
		if asked := n.rpc.Requests(); second.Status != http.StatusOK || len(asked) != 1 || !strings.Contains(string(asked[0].Params), n.wallet.PublicKey) {
			t.Fatalf("%s: a refresh while the key is there: %v, %d questions", name, second, len(asked))
		}
		// The repeat of a lost answer was decided with it.
		if again := n.refreshAs(t, first); again.Status != http.StatusOK || again.Body != second.Body || len(n.rpc.Requests()) != 0 {
			t.Errorf("%s: the repeat: %v", name, again)
		}
		n.rpc.Set(reply)
		if a := n.refreshAs(t, second); a.Status != http.StatusUnauthorized || !strings.Contains(a.Body, "Access token still valid") || len(n.rpc.Requests()) != 0 {
			t.Errorf("%s: an early refresh: %v, want it refused without a question", name, a)
		}
		n.Clock.Advance(time.Hour - time.Minute)
		access := accessToken(t, second)
		if a := n.Ask(t, authtest.Question{Form: "nginx", Target: contexts, Token: access}); a.Status != http.StatusOK {
			t.Fatalf("%s: the last minute of the access token: %v", name, a)
		}
		a := n.refreshAs(t, second)
		if a.Status != http.StatusUnauthorized || a.Reason() != "token_revoked" || !strings.Contains(a.Body, "log in again") {
			t.Errorf("%s: %v, want 401 token_revoked", name, a)
		}
		if a := n.Ask(t, authtest.Question{Form: "nginx", Target: contexts, Token: access}); a.Status != http.StatusUnauthorized || a.Reason() != "token_revoked" {
			t.Errorf("%s: the access token of the ended session: %v", name, a)
		}
		n.rpc.Set(jsonrpctest.Result(neartest.FullAccess))
		if a := n.refreshAs(t, second); a.Status != http.StatusUnauthorized || a.Reason() != "token_revoked" {
			t.Errorf("%s: the session came back: %v", name, a)
		}
		login := n.send(t, "POST", "/auth/token", n.signed(t, "node.example", nil))
		r := n.Exchange(t, "", "GET", []byte("GET /admin/audit HTTP/1.1\r\nHost: auth\r\nAuthorization: Bearer "+accessToken(t, login)+"\r\n\r\n"))
		if !strings.Contains(r.Body, `"identity_unproved"`) || !strings.Contains(r.Body, "no full access to the account") {
			t.Errorf("%s: the audit: %v", name, r)
		}
		figures := n.scrape(t)
		for outcome, count := range map[string]string{"confirmed": "1", "denied": "1"} {
			if want := `mero_auth_renewals_total{outcome="` + outcome + `",provider="near_wallet"} ` + count; !strings.Contains(figures, want) {
				t.Errorf("%s: the figures lack %s", name, want)
			}
		}
	}
}

// Whoever stops the RPC node logs nobody out.
func TestNEARRefresh_Outage(t *testing.T) {
	n := startNEAR(t)
	pair := n.first(t)
	for name, reply := range map[string]jsonrpctest.Reply{
		"HTTP 500":    jsonrpctest.Status(500, ""),
		"nonsense":    jsonrpctest.Raw("[]"),
		"hangs up":    jsonrpctest.HangUp,
		"lies":        jsonrpctest.Result(`{"error":"access key does not exist","block_height":1}`),
		"has nothing": jsonrpctest.Failure(neartest.Cause("UNAVAILABLE_SHARD")),
	} {
		n.rpc.Set(reply)
		n.Clock.Advance(time.Hour)
		if pair = n.refreshAs(t, pair); pair.Status != http.StatusOK {
			t.Fatalf("%s: %v, want the session to go on", name, pair)
		}
		if len(n.rpc.Requests()) == 0 {
			t.Errorf("%s: nobody was asked", name)
		}
	}
	lines := n.Log.Lines("without the word of its provider")
	if log := strings.Join(lines, ""); len(lines) != 5 || strings.Contains(log, "path-key") || strings.Contains(log, "api-key") {
		t.Errorf("the log: %s", log)
	}
	if figures := n.scrape(t); !strings.Contains(figures, `mero_auth_renewals_total{outcome="unanswered",provider="near_wallet"} 5`) {
		t.Errorf("the figures: %s", figures)
	}
	// Sessions of other identities ask nobody.
	n.rpc.Requests()
	client := n.Client(t, n.Root(t, "admin"), "context:list")
	n.Clock.Advance(time.Hour)
	body := map[string]string{"access_token": client.Access, "refresh_token": client.Refresh}
	if a := n.send(t, "POST", "/auth/refresh", body); a.Status != http.StatusOK || len(n.rpc.Requests()) != 0 {
		t.Errorf("a client key: %v", a)
	}
}

// scrape returns the figures of the operators' listener.
func (n *nearService) scrape(t testing.TB) string {
	t.Helper()
	return authtest.Exchange(t, n.Operators, "", "GET", []byte("GET /metrics HTTP/1.1\r\nHost: ops\r\n\r\n")).Body
}

// A challenge that was asked for one method logs nobody in by another, and whoever is asked about signatures is not asked.
func TestNEARLogin_ChallengeOfAnotherMethod(t *testing.T) {
	n := startNEAR(t, func(c *config.Config) { c.Providers.EthWallet, c.Providers.UserPassword = true, true })
	n.first(t)
	for _, method := range []string{"eth_wallet", "ethereum", "user_password"} {
		a := n.send(t, "POST", "/auth/token", n.signedFor(t, "/auth/challenge?method="+method, "node.example", nil))
		if a.Status != http.StatusUnauthorized || !strings.Contains(a.Body, "issued for another auth_method") || a.Reason() != "" {
			t.Errorf("%s: %v", method, a)
		}
	}
	if asked := len(n.rpc.Requests()); asked != 0 {
		t.Errorf("the node was asked %d times", asked)
	}
	for _, address := range []string{"/auth/challenge?method=near_wallet", "/auth/challenge?method=near", "/auth/challenge?other=1", "/auth/challenge"} {
		if a := n.send(t, "POST", "/auth/token", n.signedFor(t, address, "node.example", nil)); a.Status != http.StatusOK {
			t.Errorf("%s: %v", address, a)
		}
	}
	for _, query := range []string{"method=", "method", "method=nobody", "method=Near_Wallet", "method=near&method=near", "method=near_wallet%00", "method=%zz", "method=a;b"} {
		if a := n.send(t, "GET", "/auth/challenge?"+query, nil); a.Status != http.StatusBadRequest {
			t.Errorf("%s: %v, want 400", query, a)
		}
	}
}
