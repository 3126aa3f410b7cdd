package near_test

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/challenge"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/jsonrpc"
	"github.com/calimero-network/mero-go/services/auth/internal/jsonrpc/jsonrpctest"
	"github.com/calimero-network/mero-go/services/auth/internal/provider"
	"github.com/calimero-network/mero-go/services/auth/internal/provider/near"
)

func readJSON(t testing.TB, name string, into any) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// text is a text of the corpus, or one that is so long that the corpus holds it compressed.
type text string

func (s *text) UnmarshalJSON(data []byte) error {
	if data[0] == '"' {
		return json.Unmarshal(data, (*string)(s))
	}
	var packed struct {
		Zlib []byte `json:"zlib_b64"`
	}
	if err := json.Unmarshal(data, &packed); err != nil {
		return err
	}
	r, err := zlib.NewReader(bytes.NewReader(packed.Zlib))
	if err != nil {
		return err
	}
	unpacked, err := io.ReadAll(r)
	*s = text(unpacked)
	return err
}

// corpusCase is one of testdata/nep413_cases.json.
type corpusCase struct {
	ID, Group, Expect string
	Request           struct {
		Account      string            `json:"account_id"`
		PublicKey    text              `json:"public_key"`
		Message      string            `json:"message"`
		Nonce        string            `json:"nonce_b64"`
		Recipient    string            `json:"recipient"`
		Callback     *string           `json:"callback_url"`
		Signature    string            `json:"signature"`
		ProviderData map[string]string `json:"provider_data"`
	}
	Server struct {
		Network   string
		Nonce     string   `json:"expected_nonce_b64"`
		Message   string   `json:"expected_message"`
		Recipient string   `json:"expected_recipient"`
		Callbacks []string `json:"allowed_callback_urls"`
		Issued    int64    `json:"challenge_issued_at"`
		Expires   int64    `json:"challenge_expires_at"`
		Used      bool     `json:"challenge_already_used"`
		Method    string   `json:"challenge_bound_to_method"`
		Now       int64
	}
	RPC struct {
		Mode     string
		Status   int `json:"http_status"`
		Body     json.RawMessage
		Location string
	}
	Status int `json:"expect_http"`
}

// decided is what the cases that leave it open, or that our decisions change, come to: nil is accepted.
var decided = map[string]error{
	// An empty message cannot be a challenge of ours: it is refused as an absent one.
	"valid-empty-message": provider.ErrMalformed,
	// design: an implicit account that is not on the chain is decided by its name.
	"policy-implicit-not-on-chain": nil,
	// design: Ed25519 only, and NEP-413 says base64.
	"policy-secp256k1-key": provider.ErrRejected,
	"sig-base58":           provider.ErrRejected, // contract check 42
	"sig-base64url-nopad":  provider.ErrRejected,
	// A node that has no block yet cannot know.
	"rpc-stale-block": provider.ErrUnavailable,
	// design: without a callback URL is tried first, so a client that names an allowed one in vain does no harm.
	"callback-added": nil,
	// No account at all.
	"acct-empty": provider.ErrMalformed,
}

// want is the outcome of the case.
func (c corpusCase) want(t *testing.T) error {
	t.Helper()
	want, special := decided[c.ID]
	switch {
	case special:
		return want
	case c.Expect == "accept":
		return nil
	case c.Expect == "reject" && c.Status == 503:
		return provider.ErrUnavailable
	case c.Expect == "reject":
		return provider.ErrRejected
	}
	t.Fatalf("the case expects %q, which nobody decided", c.Expect)
	return nil
}

func (c corpusCase) reply(s *jsonrpctest.Server) jsonrpctest.Reply {
	switch c.RPC.Mode {
	case "hang":
		return s.Stall()
	case "endless":
		return jsonrpctest.Endless
	case "redirect":
		return jsonrpctest.Redirect(302, c.RPC.Location)
	}
	return jsonrpctest.Status(c.RPC.Status, strings.ReplaceAll(string(c.RPC.Body), `"<same id as request>"`, "$ID"))
}

// contract check 43
func TestCorpus(t *testing.T) {
	var file struct{ Cases []corpusCase }
	readJSON(t, "testdata/nep413_cases.json", &file)
	if len(file.Cases) != 65 {
		t.Fatalf("%d cases, want 65", len(file.Cases))
	}
	known := map[string]bool{}
	for _, c := range file.Cases {
		known[c.ID] = true
		t.Run(c.ID, func(t *testing.T) { c.run(t) })
	}
	for id := range decided {
		if !known[id] {
			t.Errorf("%s was decided and is no case", id)
		}
	}
}

func (c corpusCase) run(t *testing.T) {
	t.Helper()
	rpc := jsonrpctest.Start(t, nil)
	rpc.Set(c.reply(rpc))
	address, timeout := rpc.URL, time.Minute
	switch c.RPC.Mode {
	case "hang":
		timeout = 50 * time.Millisecond
	case "refused":
		address = "http://127.0.0.1:1" // tcpmux: nobody listens
	}
	client := jsonrpc.New(jsonrpc.Options{Name: "near", URL: address, Timeout: timeout, Now: time.Now})
	defer client.Close()
	nonce, err := base64.StdEncoding.DecodeString(c.Server.Nonce)
	if err != nil {
		t.Fatal(err)
	}
	if c.Server.Used || c.Server.Now < c.Server.Issued || c.Server.Now >= c.Server.Expires {
		t.Fatal("the challenge of the case is no live one: this test does not play that")
	}
	p := &near.Provider{
		Config: config.Near{Network: c.Server.Network, Recipients: []string{c.Server.Recipient}, CallbackURLs: c.Server.Callbacks},
		RPC:    client,
		VerifyChallenge: func(text string) (challenge.Claims, error) {
			if text != c.Server.Message {
				return challenge.Claims{}, errors.New("invalid token")
			}
			return challenge.Claims{ID: "id", Nonce: nonce, Expires: time.Unix(c.Server.Expires, 0), Method: c.Server.Method}, nil
		},
	}
	data := map[string]any{
		"wallet_address": c.Request.Account, "message": c.Request.Message, "signature": c.Request.Signature,
		"recipient": c.Request.Recipient, "nonce": c.Request.Nonce, "callback_url": c.Request.Callback,
	}
	if c.ID == "recipient-empty" {
		// For us an absent recipient means the first allowed one; the signature over "" is not one over that.
		data["recipient"] = nil
	}
	for name, value := range c.Request.ProviderData {
		data[name] = value
	}
	got, err := p.Authenticate(t.Context(), attemptOf(t, login{string(c.Request.PublicKey), data}))
	if want := c.want(t); !errors.Is(err, want) || (want == nil) != (err == nil) {
		t.Fatalf("Authenticate = %+v, %v, want %v", got, err, want)
	}
	if err != nil && got != (provider.Proof{}) {
		t.Errorf("a refused login has the proof %+v", got)
	}
}

// The preimages of the corpus and of the wallets' own libraries.
func TestDigest(t *testing.T) {
	var corpus struct {
		Cases []struct {
			ID      string
			Request struct {
				Message   string
				Recipient string
				Callback  *string `json:"callback_url"`
				Nonce     []byte  `json:"nonce_b64"`
			}
			Intermediate struct {
				Digest string `json:"sha256_hex"`
			}
		}
	}
	readJSON(t, "testdata/nep413_cases.json", &corpus)
	checked := 0
	for _, c := range corpus.Cases {
		if c.Intermediate.Digest == "" {
			continue
		}
		checked++
		got, err := near.Digest(c.Request.Message, c.Request.Nonce, c.Request.Recipient, c.Request.Callback)
		if err != nil || hex.EncodeToString(got[:]) != c.Intermediate.Digest {
			t.Errorf("%s: digest %x, %v, want %s", c.ID, got, err, c.Intermediate.Digest)
		}
	}
	if checked == 0 {
		t.Error("no case of the corpus has a digest")
	}
	for _, v := range loadVectors(t).NEP413 {
		got, err := near.Digest(v.Message, fromHex(t, v.Nonce), v.Recipient, v.Callback)
		if err != nil || hex.EncodeToString(got[:]) != v.Digest {
			t.Errorf("%s: digest %x, %v, want %s", v.Name, got, err, v.Digest)
		}
	}
	for _, length := range []int{0, 31, 33} {
		if _, err := near.Digest("m", make([]byte, length), "r", nil); err == nil {
			t.Errorf("a nonce of %d bytes was signed", length)
		}
	}
}

func fromHex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// vector is a signature by the wallets' own libraries.
type vector struct {
	Name, Message, Recipient string
	Nonce                    string  `json:"nonce_hex"`
	Callback                 *string `json:"callbackUrl"`
	Account                  string  `json:"account_id"`
	PublicKey                string  `json:"public_key"`
	Signature                string  `json:"signature_base64"`
	Digest                   string  `json:"sha256_hex"`
}

type vectors struct {
	NEP413   []vector
	Negative []struct {
		Name, Base, Expect string
		Override           map[string]*string
	} `json:"nep413_negative"`
}

func loadVectors(t testing.TB) vectors {
	t.Helper()
	var file struct{ Near vectors }
	readJSON(t, "testdata/wallets.json", &file)
	if len(file.Near.NEP413) != 10 || len(file.Near.Negative) != 9 {
		t.Fatalf("testdata/wallets.json has %d and %d entries, want 10 and 9", len(file.Near.NEP413), len(file.Near.Negative))
	}
	return file.Near
}

// authenticate plays a vector against a server that issued its message, with its own nonce, as a challenge, and allows
// its recipient and its callback URL.
func (v vector) authenticate(t *testing.T, message string, nonce []byte, recipient string, callback *string) error {
	t.Helper()
	s := newSite(t, func(c *config.Near) {
		c.Recipients = []string{recipient}
		if c.CallbackURLs = nil; callback != nil {
			c.CallbackURLs = []string{*callback}
		}
	})
	s.VerifyChallenge = func(text string) (challenge.Claims, error) {
		if text != message {
			return challenge.Claims{}, errors.New("invalid token")
		}
		return challenge.Claims{ID: "id", Nonce: nonce}, nil
	}
	_, err := s.authenticate(t, login{v.PublicKey, map[string]any{
		"wallet_address": v.Account, "message": v.Message, "signature": v.Signature, "recipient": v.Recipient, "callback_url": v.Callback,
	}})
	return err
}

func TestVectors(t *testing.T) {
	decided := map[string]error{
		"empty-message": provider.ErrMalformed, // no challenge of ours is empty
		// Wallets encode "" as no callback URL, this one did not. It is an absent one for us, as for wallet-selector.
		"empty-callback": provider.ErrRejected,
	}
	for _, v := range loadVectors(t).NEP413 {
		want := decided[v.Name]
		if err := v.authenticate(t, v.Message, fromHex(t, v.Nonce), v.Recipient, v.Callback); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%s: %v, want %v", v.Name, err, want)
		}
	}
}

func TestVectors_Negative(t *testing.T) {
	all := loadVectors(t)
	for _, n := range all.Negative {
		i := slices.IndexFunc(all.NEP413, func(v vector) bool { return v.Name == n.Base })
		if i < 0 || n.Expect != "reject" {
			t.Fatalf("%s: base %q, expect %q", n.Name, n.Base, n.Expect)
		}
		v, nonce := all.NEP413[i], fromHex(t, all.NEP413[i].Nonce)
		message, recipient, callback := v.Message, v.Recipient, v.Callback
		for name, value := range n.Override {
			switch name {
			case "signature_base64":
				v.Signature = *value
			case "callbackUrl":
				v.Callback = value
			case "recipient":
				v.Recipient = *value
			case "nonce_base64":
				var err error
				if nonce, err = base64.StdEncoding.DecodeString(*value); err != nil {
					t.Fatal(err)
				}
			default:
				t.Fatalf("%s overrides %s", n.Name, name)
			}
		}
		if err := v.authenticate(t, message, nonce, recipient, callback); !errors.Is(err, provider.ErrRejected) {
			t.Errorf("%s: %v, want ErrRejected", n.Name, err)
		}
	}
}
