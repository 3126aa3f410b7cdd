package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/calimero-network/mero-go/deploy/e2e/internal/stack"
)

// nearNode stands for an RPC node of NEAR: it knows the access keys of accounts, or is down.
type nearNode struct {
	url string

	mu     sync.Mutex
	access map[string]string // "account key" → permission, as JSON
	down   bool
}

func startNEARNode(t *testing.T) *nearNode {
	t.Helper()
	n := &nearNode{access: map[string]string{}}
	s := httptest.NewServer(n)
	t.Cleanup(s.Close)
	n.url = s.URL
	return n
}

func (n *nearNode) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var query struct {
		ID     json.RawMessage
		Method string
		Params struct {
			RequestType string `json:"request_type"`
			Finality    string
			Account     string `json:"account_id"`
			Key         string `json:"public_key"`
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&query); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down || query.Method != "query" || query.Params.RequestType != "view_access_key" || query.Params.Finality != "final" {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	answer := `"error":{"name":"HANDLER_ERROR","cause":{"name":"UNKNOWN_ACCESS_KEY","info":{}},"code":-32000}`
	if permission, known := n.access[query.Params.Account+" "+query.Params.Key]; known {
		answer = `"result":{"nonce":85,"permission":` + permission + `,"block_height":19884918,"block_hash":"GGJQ8yjmo7aEoj8ZpAhGehnq9BSWFx4xswHYzDwwAP2n"}`
	}
	_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":`+string(query.ID)+`,`+answer+`}`) // the client may be gone
}

func (n *nearNode) set(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
}

// nearLogin is the provider_data of a login by near-api-js, and its key.
type nearLogin struct {
	publicKey string
	data      map[string]string
}

// signNEAR asks for a challenge and has near-api-js sign it for what /auth/providers publishes.
func (s *site) signNEAR(t *testing.T, account, callbackURL string) nearLogin {
	t.Helper()
	var challenge struct{ Challenge, Nonce string }
	if err := s.call(t, "GET", "/auth/challenge?method=near_wallet", "", nil).data(&challenge); err != nil {
		t.Fatal(err)
	}
	var published struct {
		Providers []struct {
			Name       string
			Configured bool
			Config     struct{ Recipients []string }
		}
	}
	if err := s.call(t, "GET", "/auth/providers", "", nil).data(&published); err != nil {
		t.Fatal(err)
	}
	if p := published.Providers[0]; p.Name != "near_wallet" || !p.Configured || len(p.Config.Recipients) == 0 {
		t.Fatalf("near_wallet is not offered: %+v", published)
	}
	recipient := published.Providers[0].Config.Recipients[0]
	if want := strings.TrimPrefix(s.URL, "http://"); recipient != want {
		t.Errorf("the recipient is %q, want %q", recipient, want)
	}
	input, err := json.Marshal(map[string]string{
		"account": account, "message": challenge.Challenge, "nonce": challenge.Nonce, "recipient": recipient, "callback_url": callbackURL,
	})
	if err != nil {
		t.Fatal(err)
	}
	var proof struct {
		PublicKey string `json:"public_key"`
		Signature string
	}
	askWallet(t, "near.mjs", input, &proof)
	s.secrets.Add("wallet signature", proof.Signature)
	data := map[string]string{
		"wallet_address": account, "message": challenge.Challenge, "signature": proof.Signature, "recipient": recipient,
	}
	if callbackURL != "" {
		data["callback_url"] = callbackURL
	}
	return nearLogin{proof.PublicKey, data}
}

func (s *site) loginNEAR(t *testing.T, l nearLogin) answer {
	t.Helper()
	return s.call(t, "POST", "/auth/token", "", map[string]any{
		"auth_method": "near_wallet", "public_key": l.publicKey, "client_name": "e2e", "timestamp": 0, "provider_data": l.data,
	})
}

func TestNEARLoginSignedByNearAPIJS(t *testing.T) {
	t.Parallel()
	const account = "alice.testnet"
	node := startNEARNode(t)
	st := start(t, stack.Settings{Auth: map[string]string{
		"AUTH_PROVIDERS__NEAR_WALLET": "true", "AUTH_NEAR__RPC_URL": node.url,
	}})
	s := siteOf(st)
	secret, err := st.BootstrapSecret(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.secrets.Add("bootstrap secret", secret)

	first := s.signNEAR(t, account, "")
	first.data["bootstrap_secret"] = secret
	s.loginNEAR(t, first).want(t, http.StatusUnauthorized) // the chain does not know the key

	access := func(permission string) func() {
		return func() { node.access[account+" "+first.publicKey] = permission }
	}
	node.set(access(`"FullAccess"`))
	s.loginNEAR(t, first).want(t, http.StatusUnauthorized) // the challenge was used up by the first try
	first = s.signNEAR(t, account, "")
	first.data["bootstrap_secret"] = secret
	p := tokens(t, s.loginNEAR(t, first))
	s.call(t, "GET", "/admin-api/contexts", p.Access, nil).want(t, http.StatusOK)

	// A wallet in a browser signs the address that it returns to as well.
	p = tokens(t, s.loginNEAR(t, s.signNEAR(t, account, s.URL+"/auth/login")))
	s.call(t, "GET", "/admin-api/blobs", p.Access, nil).want(t, http.StatusOK)
	s.loginNEAR(t, s.signNEAR(t, account, "https://evil.example/cb")).want(t, http.StatusUnauthorized)

	s.loginNEAR(t, s.signNEAR(t, "bob.testnet", "")).want(t, http.StatusUnauthorized)
	node.set(access(`{"FunctionCall":{"allowance":"1","receiver_id":"app.testnet","method_names":[]}}`))
	s.loginNEAR(t, s.signNEAR(t, account, "")).want(t, http.StatusUnauthorized)

	node.set(func() { node.down = true })
	down := s.loginNEAR(t, s.signNEAR(t, account, "")).want(t, http.StatusServiceUnavailable)
	if down.header.Get("Retry-After") == "" {
		t.Errorf("an outage of the chain's node: %v, want Retry-After", down.header)
	}
	s.call(t, "GET", "/admin-api/blobs", p.Access, nil).want(t, http.StatusOK)
}
