package near_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/challenge"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/jsonrpc"
	"github.com/calimero-network/mero-go/services/auth/internal/jsonrpc/jsonrpctest"
	"github.com/calimero-network/mero-go/services/auth/internal/provider"
	"github.com/calimero-network/mero-go/services/auth/internal/provider/near"
	"github.com/calimero-network/mero-go/services/auth/internal/provider/near/neartest"
)

var _ provider.Provider = (*near.Provider)(nil)

const (
	challengeText = "the challenge"
	recipient     = "auth.example.com"
	callback      = "https://auth.example.com/auth/login"
)

var nonce = sha256.Sum256([]byte("a nonce"))

// site is a provider with its RPC server, the challenge that it takes, and what it did with it.
type site struct {
	*near.Provider
	rpc   *jsonrpctest.Server
	spent []string // ids of the challenges that were used up, and how many RPC requests came before
}

// newSite makes a testnet site that takes the one challenge and that every key has full access to.
func newSite(t testing.TB, change ...func(*config.Near)) *site {
	t.Helper()
	c := config.Near{Network: "testnet", Recipients: []string{recipient}, CallbackURLs: []string{callback}}
	for _, f := range change {
		f(&c)
	}
	s := &site{rpc: jsonrpctest.Start(t, jsonrpctest.Result(neartest.FullAccess))}
	client := jsonrpc.New(jsonrpc.Options{Name: "near", URL: s.rpc.URL, Timeout: time.Minute, Now: time.Now})
	t.Cleanup(client.Close)
	s.Provider = &near.Provider{
		Config: c, RPC: client,
		VerifyChallenge: func(text string) (challenge.Claims, error) {
			if text != challengeText {
				return challenge.Claims{}, errors.New("challenge: invalid token")
			}
			return challenge.Claims{ID: "id", Nonce: nonce[:]}, nil
		},
	}
	return s
}

// login is an attempt before it is encoded.
type login struct {
	publicKey string
	data      map[string]any
}

// signed is the attempt of a wallet that signed what it should; alice.testnet is the account.
func signed(t testing.TB, w neartest.Wallet) login {
	t.Helper()
	signature := w.Sign(t, neartest.Message{Text: challengeText, Nonce: nonce[:], Recipient: recipient})
	return login{w.PublicKey, map[string]any{
		"wallet_address": "alice.testnet", "message": challengeText, "signature": signature, "recipient": recipient,
	}}
}

// with replaces members; nil removes one.
func (l login) with(members map[string]any) login {
	l.data = maps.Clone(l.data)
	for name, value := range members {
		if l.data[name] = value; value == nil {
			delete(l.data, name)
		}
	}
	return l
}

func (s *site) authenticate(t testing.TB, l login) (provider.Proof, error) {
	t.Helper()
	data, err := json.Marshal(l.data)
	if err != nil {
		t.Fatal(err)
	}
	return s.Authenticate(t.Context(), provider.Attempt{
		Method: "near_wallet", PublicKey: l.publicKey, Data: data,
		UseChallenge: func(_ context.Context, c challenge.Claims) error {
			s.spent = append(s.spent, c.ID)
			return nil
		},
	})
}

// wantRefused fails unless s refuses l for that reason, with a text that holds want and without a proof, and neither
// asks anybody nor uses the challenge up.
func (s *site) wantRefused(t testing.TB, what string, l login, reason error, want string) {
	t.Helper()
	got, err := s.authenticate(t, l)
	if !errors.Is(err, reason) || !strings.Contains(err.Error(), want) || got != (provider.Proof{}) {
		t.Errorf("%s: %+v, %v, want %v with %q", what, got, err, reason, want)
	}
	if n := len(s.rpc.Requests()); n != 0 || len(s.spent) != 0 {
		t.Errorf("%s: %d RPC requests and %q used up, want neither before the signature is good", what, n, s.spent)
	}
}

func TestAuthenticate(t *testing.T) {
	s, w := newSite(t), neartest.NewWallet("alice")
	got, err := s.authenticate(t, signed(t, w))
	sum := sha256.Sum256([]byte("near:testnet:alice.testnet"))
	want := provider.Proof{KeyID: hex.EncodeToString(sum[:]), PublicKey: w.PublicKey, Account: "alice.testnet"}
	want.Renewal = "testnet alice.testnet " + w.PublicKey
	if err != nil || got != want {
		t.Errorf("Authenticate = %+v, %v, want %+v and no challenge left to use", got, err, want)
	}
	if !reflect.DeepEqual(s.spent, []string{"id"}) {
		t.Errorf("used up: %q", s.spent)
	}
	// contract check 45
	requests := s.rpc.Requests()
	if len(requests) != 1 || requests[0].Method != "query" {
		t.Fatalf("RPC requests: %+v, want one query", requests)
	}
	var params map[string]string
	if err := json.Unmarshal(requests[0].Params, &params); err != nil {
		t.Fatal(err)
	}
	if want := map[string]string{
		"request_type": "view_access_key", "finality": "final", "account_id": "alice.testnet", "public_key": w.PublicKey,
	}; !maps.Equal(params, want) {
		t.Errorf("params = %v, want %v", params, want)
	}
}

// The same account name is somebody else's on another network.
func TestAuthenticate_KeyIDsOfTwoNetworksDiffer(t *testing.T) {
	w := neartest.NewWallet("alice")
	l := signed(t, w).with(map[string]any{"wallet_address": "alice.example"})
	ids := map[string]string{}
	for _, network := range []string{"testnet", "mainnet", "localnet"} {
		got, err := newSite(t, func(c *config.Near) { c.Network = network }).authenticate(t, l)
		if other, taken := ids[got.KeyID]; err != nil || taken {
			t.Errorf("%s: %v, key id %s, also of %q", network, err, got.KeyID, other)
		}
		ids[got.KeyID] = network
	}
}

// The challenge is used up before the first RPC request, and when it cannot be there is none.
func TestAuthenticate_ChallengeIsUsedUpBeforeTheRPC(t *testing.T) {
	s, w := newSite(t), neartest.NewWallet("alice")
	l := signed(t, w)
	data, err := json.Marshal(l.data)
	if err != nil {
		t.Fatal(err)
	}
	used := fmt.Errorf("%w: used already", provider.ErrRejected)
	down := errors.New("the disk is on fire")
	for _, want := range []error{used, down} {
		_, err := s.Authenticate(t.Context(), provider.Attempt{
			PublicKey: l.publicKey, Data: data, UseChallenge: func(context.Context, challenge.Claims) error { return want },
		})
		if !errors.Is(err, want) || len(s.rpc.Requests()) != 0 {
			t.Errorf("Authenticate = %v after a use that failed with %v, want that and no RPC request", err, want)
		}
	}
	if _, err := s.Authenticate(t.Context(), provider.Attempt{PublicKey: l.publicKey, Data: data}); err == nil || len(s.rpc.Requests()) != 0 {
		t.Errorf("without a way to use the challenge up: %v, want an error and no RPC request", err)
	}
}

func TestAuthenticate_Recipient(t *testing.T) {
	w := neartest.NewWallet("alice")
	sign := func(recipient string) string {
		return w.Sign(t, neartest.Message{Text: challengeText, Nonce: nonce[:], Recipient: recipient})
	}
	legacy := func(on bool) func(*config.Near) {
		return func(c *config.Near) { c.AllowLegacyRecipient = on }
	}
	for _, tt := range []struct {
		name, named string // named: provider_data.recipient, "" for none
		signed      string
		legacy, ok  bool
	}{
		{"ours", recipient, recipient, false, true},
		{"none named, ours signed", "", recipient, false, true},
		{"none named, legacy signed", "", "calimero", true, true},
		{"legacy", "calimero", "calimero", true, true},
		{"ours beside legacy", recipient, recipient, true, true},
		{"none named, ours signed, legacy on", "", recipient, true, false},
		{"legacy switched off", "calimero", "calimero", false, false},
		{"none named, legacy signed, switched off", "", "calimero", false, false},
		{"of another site", "evil.example", "evil.example", true, false},
		{"signed for another site", recipient, "evil.example", true, false},
		{"another case", "Auth.example.com", "Auth.example.com", true, false},
	} {
		s := newSite(t, legacy(tt.legacy))
		l := signed(t, w).with(map[string]any{"recipient": nil, "signature": sign(tt.signed)})
		if tt.named != "" {
			l = l.with(map[string]any{"recipient": tt.named})
		}
		if _, err := s.authenticate(t, l); (err == nil) != tt.ok || (err != nil && !errors.Is(err, provider.ErrRejected)) {
			t.Errorf("%s: %v, want success %t", tt.name, err, tt.ok)
		}
	}
}

func TestAuthenticate_CallbackURL(t *testing.T) {
	w := neartest.NewWallet("alice")
	evil, empty, ours := "https://evil.example/cb", "", callback
	sign := func(url *string) string {
		return w.Sign(t, neartest.Message{Text: challengeText, Nonce: nonce[:], Recipient: recipient, Callback: url})
	}
	for _, tt := range []struct {
		name  string
		named any
		with  *string
		ok    bool
	}{
		{"none", nil, nil, true},
		{"allowed and signed", callback, &ours, true},
		{"named and not signed", callback, nil, true}, // without one is tried first
		{"a foreign one named and none signed", evil, nil, true},
		{"null", json.RawMessage("null"), nil, true},
		{"signed and not named", nil, &ours, false},
		{"foreign", evil, &evil, false},
		{"another named than signed", callback, &evil, false},
		{"empty", "", &empty, false}, // Some("") is not None, and not allowed
		{"with a query", callback + "?x=1", ptr(callback + "?x=1"), false},
		{"with a fragment", callback + "#x", ptr(callback + "#x"), false},
		{"in another case", strings.ToUpper(callback), ptr(strings.ToUpper(callback)), false},
	} {
		l := signed(t, w).with(map[string]any{"callback_url": tt.named, "signature": sign(tt.with)})
		if _, err := newSite(t).authenticate(t, l); (err == nil) != tt.ok || (err != nil && !errors.Is(err, provider.ErrRejected)) {
			t.Errorf("%s: %v, want success %t", tt.name, err, tt.ok)
		}
	}
}

func ptr(s string) *string { return &s }

func TestAuthenticate_Refusals(t *testing.T) {
	w, other := neartest.NewWallet("alice"), neartest.NewWallet("mallory")
	good := signed(t, w)
	key := func(text string) login { l := good; l.publicKey = text; return l }
	with := func(name string, value any) login { return good.with(map[string]any{name: value}) }
	signature := good.data["signature"].(string)
	raw, err := base64.StdEncoding.DecodeString(signature)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		login  login
		reason error
		want   string
	}{
		"key of somebody else":            {key(other.PublicKey), provider.ErrRejected, "not one of this challenge"},
		"no key":                          {key(""), provider.ErrRejected, "public_key"},
		"secp256k1 key":                   {key("secp256k1:" + w.PublicKey[8:]), provider.ErrRejected, "public_key: must be ed25519:"},
		"two prefixes":                    {key("ed25519:" + w.PublicKey), provider.ErrRejected, "public_key"},
		"key with a space":                {key(w.PublicKey + " "), provider.ErrRejected, "public_key"},
		"public_key that contradicts":     {with("public_key", other.PublicKey), provider.ErrRejected, "differ"},
		"public_key that is none":         {with("public_key", "x"), provider.ErrRejected, "differ"},
		"nonce that contradicts":          {with("nonce", base64.StdEncoding.EncodeToString(make([]byte, 32))), provider.ErrRejected, "nonce"},
		"another message":                 {with("message", "another challenge"), provider.ErrRejected, "message: challenge: invalid token"},
		"signature of 63 bytes":           {with("signature", base64.StdEncoding.EncodeToString(raw[:63])), provider.ErrRejected, "signature must be"},
		"signature of 65 bytes":           {with("signature", base64.StdEncoding.EncodeToString(append(raw, 0))), provider.ErrRejected, "signature must be"},
		"signature in hex":                {with("signature", hex.EncodeToString(raw)), provider.ErrRejected, "signature must be"},
		"signature in the URL alphabet":   {with("signature", strings.NewReplacer("+", "-", "/", "_").Replace(signature)+"_"), provider.ErrRejected, "signature must be"},
		"signature with a line end":       {with("signature", signature[:87]+"\n"), provider.ErrRejected, "signature must be"},
		"zeros for a signature":           {with("signature", base64.StdEncoding.EncodeToString(make([]byte, 64))), provider.ErrRejected, "not one of this challenge"},
		"no account":                      {with("wallet_address", nil), provider.ErrMalformed, "wallet_address is required"},
		"no message":                      {with("message", ""), provider.ErrMalformed, "message is required"},
		"no signature":                    {with("signature", nil), provider.ErrMalformed, "signature is required"},
		"a number for an account":         {with("wallet_address", 7), provider.ErrMalformed, "wallet_address must be a string"},
		"a list of callback URLs":         {with("callback_url", []string{callback}), provider.ErrMalformed, "callback_url must be a string"},
		"a member in another case":        {good.with(map[string]any{"recipient": nil, "Recipient": recipient}), provider.ErrMalformed, "lower case"},
		"account with an upper-case name": {with("wallet_address", "Alice.testnet"), provider.ErrRejected, "wallet_address: not a NEAR account id"},
	} {
		newSite(t).wantRefused(t, name, tt.login, tt.reason, tt.want)
	}
	s := newSite(t)
	if _, err := s.Authenticate(t.Context(), provider.Attempt{Data: json.RawMessage(`[]`)}); !errors.Is(err, provider.ErrMalformed) {
		t.Errorf("a list: %v, want ErrMalformed", err)
	}
}

// What is neither needed nor contradicts does no harm, and a key without its prefix is one of Ed25519.
func TestAuthenticate_Spellings(t *testing.T) {
	w := neartest.NewWallet("alice")
	good := signed(t, w)
	good.data["nonce"], good.data["public_key"], good.data["bootstrap_secret"] = base64.StdEncoding.EncodeToString(nonce[:]), w.PublicKey, "x"
	// contract check 42
	for _, text := range []string{w.PublicKey, w.PublicKey[8:], "ED25519:" + w.PublicKey[8:], "Ed25519:" + w.PublicKey[8:]} {
		l := good
		l.publicKey = text
		if got, err := newSite(t).authenticate(t, l); err != nil || got.PublicKey != w.PublicKey {
			t.Errorf("public_key %q: %+v, %v, want %s", text, got, err, w.PublicKey)
		}
	}
}

// For a point of small order there is a signature that fits every message. A key that is spelled in a second way would
// be a second key.
func TestAuthenticate_WeakKeys(t *testing.T) {
	for name, text := range map[string]string{
		"identity":              "0100000000000000000000000000000000000000000000000000000000000000",
		"identity, sign set":    "0100000000000000000000000000000000000000000000000000000000000080",
		"order 2":               "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"order 2, sign set":     "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"order 4":               "0000000000000000000000000000000000000000000000000000000000000000",
		"order 4, sign set":     "0000000000000000000000000000000000000000000000000000000000000080",
		"order 8, first":        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"order 8, first, sign":  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
		"order 8, second":       "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"order 8, second, sign": "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
		"zero beyond the prime": "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"one beyond the prime":  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"two beyond the prime":  "efffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"largest, sign set":     "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"18 beyond the prime":   "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		b, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		// R = identity, S = 0: what verifies every message for the identity.
		forged := make([]byte, 64)
		forged[0] = 1
		s := newSite(t)
		l := signed(t, neartest.NewWallet("alice")).with(map[string]any{"signature": base64.StdEncoding.EncodeToString(forged)})
		l.publicKey = near.KeyText(b)
		s.wantRefused(t, name, l, provider.ErrRejected, "public_key: nobody can have this key")
	}
}

func TestAuthenticate_AccountIDs(t *testing.T) {
	w := neartest.NewWallet("alice")
	for _, tt := range []struct {
		network, account string
		ok               bool
	}{
		{"testnet", "alice.testnet", true},
		{"testnet", "a-b_c.alice.testnet", true},
		{"testnet", "aa", true},
		{"testnet", strings.Repeat("a", 64), true},
		{"testnet", "dev-1234", true},
		{"testnet", "near.testnet", true},
		{"mainnet", "alice.near", true},
		{"mainnet", "sweat", true},
		{"mainnet", "alice.tg", true},
		{"mainnet", "alicetestnet", true},
		{"localnet", "alice.near", true},
		{"localnet", "alice.testnet", true},
		{"testnet", "alice.near", false},
		{"testnet", "near", false},
		{"mainnet", "alice.testnet", false},
		{"mainnet", "testnet", false},
		{"testnet", "a", false},
		{"testnet", strings.Repeat("a", 65), false},
		{"testnet", "alice..testnet", false},
		{"testnet", ".alice", false},
		{"testnet", "alice.", false},
		{"testnet", "-alice", false},
		{"testnet", "alice-", false},
		{"testnet", "a--b", false},
		{"testnet", "alice testnet", false},
		{"testnet", "alice.testnet\n", false},
		{"testnet", "alice/../bob.testnet", false},
		{"testnet", "near:alice.testnet", false},
		{"testnet", "ALICE.testnet", false},
		{"testnet", "al\u0131ce.testnet", false},
		{"testnet", "0x" + strings.Repeat("ab", 20), false},
		{"testnet", "0s" + strings.Repeat("ab", 20), false},
		{"testnet", "0x" + strings.Repeat("ab", 19), true},
	} {
		s := newSite(t, func(c *config.Near) { c.Network = tt.network })
		l := signed(t, w).with(map[string]any{"wallet_address": tt.account})
		if !tt.ok {
			s.wantRefused(t, tt.account+" on "+tt.network, l, provider.ErrRejected, "wallet_address: ")
			continue
		}
		if got, err := s.authenticate(t, l); err != nil || got.Account != tt.account {
			t.Errorf("%s on %s: %+v, %v, want success", tt.account, tt.network, got, err)
		}
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	s := newSite(b)
	l := signed(b, neartest.NewWallet("alice"))
	data, err := json.Marshal(l.data)
	if err != nil {
		b.Fatal(err)
	}
	stop := errors.New("before the RPC")
	attempt := provider.Attempt{
		PublicKey: l.publicKey, Data: data, UseChallenge: func(context.Context, challenge.Claims) error { return stop },
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Authenticate(b.Context(), attempt); !errors.Is(err, stop) {
			b.Fatal(err)
		}
	}
}
