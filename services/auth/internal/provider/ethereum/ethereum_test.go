package ethereum_test

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/calimero-network/mero-go/services/auth/internal/challenge"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/provider"
	"github.com/calimero-network/mero-go/services/auth/internal/provider/ethereum"
)

var _ provider.Provider = (*ethereum.Provider)(nil)

var instant = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// site is the configuration of a test.
type site struct {
	domain, uri string
	chainIDs    []uint64
}

// provider makes a provider that takes every challenge token but "stale" for the one with these claims.
func (s site) provider(claims challenge.Claims, now time.Time) *ethereum.Provider {
	return &ethereum.Provider{
		Config: config.Eth{Domain: s.domain, URI: s.uri, ChainIDs: s.chainIDs},
		VerifyChallenge: func(token string) (challenge.Claims, error) {
			if token == "stale" || token == "another" {
				return challenge.Claims{}, errors.New("expired")
			}
			return claims, nil
		},
		Now: func() time.Time { return now },
	}
}

func claimsOf(id string, issued time.Time) challenge.Claims {
	return challenge.Claims{ID: id, IssuedAt: issued, Expires: issued.Add(challenge.Lifetime)}
}

// login is a provider_data.
type login struct {
	Address   string `json:"wallet_address"`
	Message   string `json:"message"`
	Signature string `json:"signature"`
	Challenge string `json:"challenge,omitempty"`
}

func authenticate(t testing.TB, p *ethereum.Provider, in login) (provider.Proof, error) {
	t.Helper()
	data, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	return p.Authenticate(t.Context(), provider.Attempt{PublicKey: "ignored", Data: data})
}

// wantRejected fails unless p rejects in with a text that holds want and gives no proof.
func wantRejected(t *testing.T, p *ethereum.Provider, in login, want string) {
	t.Helper()
	got, err := authenticate(t, p, in)
	if !errors.Is(err, provider.ErrRejected) || !strings.Contains(err.Error(), want) {
		t.Errorf("Authenticate = %+v, %v, want ErrRejected with %q", got, err, want)
	}
	if got != (provider.Proof{}) {
		t.Errorf("Authenticate failed and gave the proof %+v", got)
	}
}

// wallet signs as a wallet does.
type wallet struct {
	key     *ecdsa.PrivateKey
	address string
}

func newWallet(t testing.TB, seed string) wallet {
	t.Helper()
	sum := sha256.Sum256([]byte(seed))
	key, err := crypto.ToECDSA(sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return wallet{key, crypto.PubkeyToAddress(key.PublicKey).Hex()}
}

func (w wallet) sign(t testing.TB, text string) string {
	t.Helper()
	sig, err := crypto.Sign(ethereum.PersonalHash([]byte(text)), w.key)
	if err != nil {
		t.Fatal(err)
	}
	sig[64] += 27
	return "0x" + hex.EncodeToString(sig)
}

// ours is a provider of auth.example.com with a challenge issued at instant, and a wallet.
func ours(t testing.TB) (*ethereum.Provider, wallet) {
	t.Helper()
	s := site{domain: "auth.example.com", uri: "https://auth.example.com/auth/login", chainIDs: []uint64{1, 10}}
	return s.provider(claimsOf("0123456789abcdef0123456789abcdef", instant), instant.Add(time.Minute)), newWallet(t, "wallet 1")
}

func messageOf(w wallet) string {
	return strings.Join([]string{
		"auth.example.com wants you to sign in with your Ethereum account:", w.address, "", "Sign in.", "",
		"URI: https://auth.example.com/auth/login", "Version: 1", "Chain ID: 1", "Nonce: 0123456789abcdef0123456789abcdef",
		"Issued At: 2026-03-01T12:00:30Z", "Expiration Time: 2026-03-01T12:05:00Z", "Not Before: 2026-03-01T12:00:00Z",
		"Request ID: r1", "Resources:", "- https://auth.example.com/terms",
	}, "\n")
}

func TestAuthenticate(t *testing.T) {
	p, w := ours(t)
	text := messageOf(w)
	got, err := authenticate(t, p, login{w.address, text, w.sign(t, text), "token"})
	if err != nil {
		t.Fatal(err)
	}
	claims := claimsOf("0123456789abcdef0123456789abcdef", instant)
	sum := sha256.Sum256([]byte("eth:" + strings.ToLower(w.address)))
	want := provider.Proof{KeyID: hex.EncodeToString(sum[:]), PublicKey: w.address, Account: w.address, Challenge: &claims}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Authenticate = %+v, want %+v", got, want)
	}
	for _, spelling := range []string{strings.ToLower(w.address), "0x" + strings.ToUpper(w.address[2:])} {
		text := strings.Replace(text, w.address, spelling, 1)
		got, err := authenticate(t, p, login{spelling, text, w.sign(t, text), "token"})
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("with the address as %s: %+v, %v, want %+v", spelling, got, err, want)
		}
	}
}

// Messages that a wallet really signed, with one line that is not what this server asked for.
func TestAuthenticate_SignedForAnotherPurpose(t *testing.T) {
	p, w := ours(t)
	for _, tt := range []struct{ name, old, new, want string }{
		{"phishing site", "auth.example.com wants", "evil.example wants", `the first line must be "auth.example.com wants you`},
		{"domain in upper case", "auth.example.com wants", "AUTH.example.com wants", "the first line must be"},
		{"domain with user information", "auth.example.com wants", "auth.example.com@evil.example wants", "line 1: the domain"},
		{"domain with user information of ours", "auth.example.com wants", "evil@auth.example.com wants", "line 1: the domain"},
		{"domain with a trailing dot", "auth.example.com wants", "auth.example.com. wants", "the first line must be"},
		{"domain with default port", "auth.example.com wants", "auth.example.com:443 wants", "the first line must be"},
		{"domain with path", "auth.example.com wants", "auth.example.com/x wants", "line 1: the domain"},
		{"domain with empty port", "auth.example.com wants", "auth.example.com: wants", "line 1: the domain"},
		{"empty scheme", "auth.example.com wants", "://auth.example.com wants", "line 1: the scheme"},
		{"another scheme", "auth.example.com wants", "ftp://auth.example.com wants", "the first line must begin with"},
		{"scheme in upper case", "auth.example.com wants", "HTTPS://auth.example.com wants", "the first line must begin with"},
		{"wrong checksum", w.address, swapCase(w.address), "line 2: the address has a wrong EIP-55 checksum"},
		{"address with 0X", w.address, "0X" + w.address[2:], "line 2: an address is"},
		{"address twice", w.address, w.address + "\n" + w.address, "line 3: must be empty"},
		{"no empty line after the address", w.address + "\n\n", w.address + "\n", "line 3: must be empty"},
		{"no empty line after the statement", "Sign in.\n\n", "Sign in.\n", "line 5: must be empty"},
		{"one empty line without a statement", "\n\nSign in.\n\nURI", "\n\nURI", "line 5: must be empty"},
		{"statement with quotation mark", "Sign in.", `Sign "in".`, "line 4: must be empty, or a statement"},
		{"statement with percent sign", "Sign in.", "100%", "line 4: must be empty, or a statement"},
		{"another path", "/auth/login", "/auth/other", `the line "URI" must be https://auth.example.com/auth/login`},
		{"path in another spelling", "/auth/login", "/auth/./login", `the line "URI" must be`},
		{"path with a trailing slash", "/auth/login", "/auth/login/", `the line "URI" must be`},
		{"another host in the URI", "URI: https://auth.example.com", "URI: https://evil.example", `the line "URI" must be`},
		{"URI with user information", "URI: https://auth", "URI: https://evil@auth", `the line "URI" must be`},
		{"URI with a space", "/auth/login", "/auth/login x", `line 6: must be "URI: "`},
		{"label in lower case", "URI: ", "uri: ", `line 6: must be "URI: "`},
		{"label without space", "URI: ", "URI:", `line 6: must be "URI: "`},
		{"label with two spaces", "Nonce: ", "Nonce:  ", `line 9: must be "Nonce: "`},
		{"version 2", "Version: 1", "Version: 2", `line 7: must be "Version: 1"`},
		{"chain that is not allowed", "Chain ID: 1", "Chain ID: 5", `the line "Chain ID" must be one of [1 10]`},
		{"chain 2^64+1 wraps to 1", "Chain ID: 1", "Chain ID: 18446744073709551617", `line 8: must be "Chain ID: "`},
		{"chain with leading zero", "Chain ID: 1", "Chain ID: 01", `line 8: must be "Chain ID: "`},
		{"chain with sign", "Chain ID: 1", "Chain ID: +1", `line 8: must be "Chain ID: "`},
		{"chain with underscore", "Chain ID: 1", "Chain ID: 1_0", `line 8: must be "Chain ID: "`},
		{"another challenge's nonce", "Nonce: 01", "Nonce: 10", `the line "Nonce" must be the challenge's message_nonce`},
		{"nonce in upper case", "Nonce: 0123456789abcdef", "Nonce: 0123456789ABCDEF", `the line "Nonce" must be`},
		{"nonce with a suffix", "abcdef\nIssued", "abcdef0\nIssued", `the line "Nonce" must be`},
		{
			"right nonce in the statement only",
			"Sign in.\n\nURI: https://auth.example.com/auth/login\nVersion: 1\nChain ID: 1\nNonce: 0123456789abcdef0123456789abcdef",
			"Nonce: 0123456789abcdef0123456789abcdef\n\nURI: https://auth.example.com/auth/login\nVersion: 1\nChain ID: 1\nNonce: AAAAAAAAAAAA",
			`the line "Nonce" must be`,
		},
		{"right URI in the statement only", "Sign in.\n\nURI: https://auth", "URI: https://auth.example.com/auth/login\n\nURI: https://evil", `the line "URI" must be`},
		{"issued before the challenge", "12:00:30Z", "11:58:59Z", `the line "Issued At" must be within the challenge's life, 2026-03-01T11:59:00Z to 2026-03-01T12:06:00Z`},
		{"issued after the challenge", "12:00:30Z", "12:06:00.001Z", `the line "Issued At" must be within`},
		{"issued at with a comma", "12:00:30Z", "12:00:30,5Z", `line 10: must be "Issued At: "`},
		{"issued at with an hour of one digit", "T12:00:30Z", "T2:00:30Z", `line 10: must be "Issued At: "`},
		{"issued at with offset 24:60", "12:00:30Z", "12:00:30+24:60", `line 10: must be "Issued At: "`},
		{"issued at in lower case", "T12:00:30Z", "t12:00:30z", `line 10: must be "Issued At: "`},
		{"issued at as a date", "2026-03-01T12:00:30Z", "2026-03-01", `line 10: must be "Issued At: "`},
		{"issued at in a month 13", "2026-03-01T12:00:30Z", "2026-13-01T12:00:30Z", `line 10: must be "Issued At: "`},
		{"issued at second 60", "12:00:30Z", "12:00:60Z", `line 10: must be "Issued At: "`},
		{"expired this instant", "12:05:00Z", "12:01:00Z", `the line "Expiration Time" must be later than the server's time, 2026-03-01T12:01:00Z`},
		{"expires before it was issued", "12:00:30Z", "12:05:30Z", `the line "Expiration Time" must be later than Issued At`},
		{"expires before it is valid", "12:05:00Z\nNot Before: 2026-03-01T12:00:00Z", "12:01:30Z\nNot Before: 2026-03-01T12:01:30Z", `the line "Expiration Time" must be later than Not Before`},
		{"not valid yet", "Not Before: 2026-03-01T12:00:00Z", "Not Before: 2026-03-01T12:02:00.001Z", `the line "Not Before" must be no later than the server's time`},
		{"malformed expiration", "12:05:00Z", "never", `line 11: must be "Expiration Time: "`},
		{"malformed not before", "Not Before: 2026", "Not Before: 26", `line 12: must be "Not Before: "`},
		{"request id with slash", "r1", "r/1", "line 13: the request id"},
		{"request id with half a triplet", "r1", "r%1", "line 13: the request id"},
		{"resource without scheme", "- https://auth.example.com/terms", "- /terms", `line 15: must be "- "`},
		{"resource with a percent sign alone", "/terms", "/te%rms", `line 15: must be "- "`},
		{"resource with half a triplet at its end", "/terms", "/terms%2", `line 15: must be "- "`},
		{"resource with two fragments", "/terms", "/terms#a#b", `line 15: must be "- "`},
		{"resource with a port beyond 65535", "example.com/terms", "example.com:65536/terms", `line 15: must be "- "`},
		{"resource with an open bracket", "auth.example.com/terms", "[::1/terms", `line 15: must be "- "`},
		{"resource with an IPv6 zone", "auth.example.com/terms", "[fe80::1%25eth0]/terms", `line 15: must be "- "`},
		{"resource with an IPv4 in brackets", "auth.example.com/terms", "[127.0.0.1]/terms", `line 15: must be "- "`},
		{"resource with bad user information", "- https://auth", "- https://a[b@auth", `line 15: must be "- "`},
		{"resource with a bracket in its path", "/terms", "/[terms]", `line 15: must be "- "`},
		{"text after the resources", "/terms", "/terms\nmore", `line 16: must be "- "`},
		{"resources in one line", "Resources:\n", "Resources: ", "line 14: is not expected here"},
		{"optional lines in another order", "Not Before: 2026-03-01T12:00:00Z\nRequest ID: r1", "Request ID: r1\nNot Before: 2026-03-01T12:00:00Z", "line 13: is not expected here"},
		{"expiration twice", "Not Before: 2026-03-01T12:00:00Z", "Expiration Time: 2027-03-01T12:00:00Z", "line 12: is not expected here"},
		{"tab", "Sign in.", "Sign\tin.", "line 4: byte 0x09 is not allowed"},
		{"line feed first", "auth.example.com wants", "\nauth.example.com wants", "line 1: must end in"},
		{"padding to 4 KiB and one byte", "Sign in.", strings.Repeat("x", 4097-len(messageOf(w))+len("Sign in.")), "longer than 4096 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(messageOf(w), tt.old, tt.new, 1)
			if text == messageOf(w) {
				t.Fatalf("%q is not in the message", tt.old)
			}
			wantRejected(t, p, login{w.address, text, w.sign(t, text), "token"}, tt.want)
		})
	}
}

func swapCase(address string) string {
	return "0x" + strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'f':
			return r - 'a' + 'A'
		case 'A' <= r && r <= 'F':
			return r - 'A' + 'a'
		}
		return r
	}, address[2:])
}

// Messages at the edge of what is allowed.
func TestAuthenticate_Accepted(t *testing.T) {
	p, w := ours(t)
	for _, tt := range []struct{ name, old, new string }{
		{"as it is", "", ""},
		{"explicit scheme", "auth.example.com wants", "https://auth.example.com wants"},
		{"no statement", "Sign in.\n", ""},
		{"statement that looks like fields", "Sign in.", "Nonce: AAAAAAAAAAAA"},
		{"another allowed chain", "Chain ID: 1", "Chain ID: 10"},
		{"clock of the client a minute behind", "12:00:30Z", "11:59:00Z"},
		{"issued at with offset", "12:00:30Z", "13:30:30+01:30"},
		{"issued at with 12 digits of fraction", "12:00:30Z", "12:00:30.123456789012Z"},
		{"expires next instant", "12:05:00Z", "12:01:00.000000001Z"},
		{"clock of the client a minute ahead", "Not Before: 2026-03-01T12:00:00Z", "Not Before: 2026-03-01T12:02:00Z"},
		{"no optional line", messageOf(w)[strings.Index(messageOf(w), "\nExpiration"):], ""},
		{"empty request id", "r1", ""},
		{"request id of every kind of character", "r1", "a-Z_0.~%C3%a9!$&'()*+,;=:@"},
		{"statement of every kind of character", "Sign in.", "a-Z_0.~ :/?#[]@!$&'()*+,;="},
		{"empty resources", "\n- https://auth.example.com/terms", ""},
		{"resources of other kinds", "- https://auth.example.com/terms", "- urn:a:b\n- ipfs://x/\n- file:///p\n- http://u:p@[::1]:80/?q#f\n- x:\n- https://a%20b/%7Ec?%3F"},
		{"exactly 4 KiB", "Sign in.", strings.Repeat("x", 4096-len(messageOf(w))+len("Sign in."))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(messageOf(w), tt.old, tt.new, 1)
			if tt.old != "" && text == messageOf(w) {
				t.Fatalf("%q is not in the message", tt.old)
			}
			if _, err := authenticate(t, p, login{w.address, text, w.sign(t, text), "token"}); err != nil {
				t.Errorf("Authenticate: %v\n%s", err, text)
			}
		})
	}
}

func TestAuthenticate_ChallengeNotOurs(t *testing.T) {
	p, w := ours(t)
	text := messageOf(w)
	wantRejected(t, p, login{w.address, text, w.sign(t, text), "stale"}, "authentication failed: challenge: expired")
}

func TestAuthenticate_Malformed(t *testing.T) {
	p, w := ours(t)
	text := messageOf(w)
	good := map[string]any{"wallet_address": w.address, "message": text, "signature": w.sign(t, text), "challenge": "token", "chainId": 5}
	for name := range good {
		for _, value := range []any{nil, "", 1, []string{"x"}} {
			data := map[string]any{}
			for k, v := range good {
				data[k] = v
			}
			data[name] = value
			raw, err := json.Marshal(data)
			if err != nil {
				t.Fatal(err)
			}
			_, err = p.Authenticate(t.Context(), provider.Attempt{Data: raw})
			if name == "chainId" { // not one of ours: the signed message says which chain
				if err != nil {
					t.Errorf("unknown member %s = %v: %v", name, value, err)
				}
			} else if !errors.Is(err, provider.ErrMalformed) || !strings.Contains(err.Error(), name) {
				t.Errorf("%s = %v: %v, want ErrMalformed naming it", name, value, err)
			}
		}
	}
	raw, err := json.Marshal(good)
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range []string{
		"", "null", "[]", string(raw[1:]), string(raw) + "{}",
		strings.Replace(string(raw), `{`, `{"message":"first",`, 1),
		strings.Replace(string(raw), `{`, `{"Message":"first",`, 1),
	} {
		if got, err := p.Authenticate(t.Context(), provider.Attempt{Data: json.RawMessage(data)}); !errors.Is(err, provider.ErrMalformed) {
			t.Errorf("provider_data %.60q: %+v, %v, want ErrMalformed", data, got, err)
		}
	}
}

// Errors are shown to the client: they say what is expected and repeat nothing that was sent.
func TestAuthenticate_NoReflection(t *testing.T) {
	p, w := ours(t)
	const mark = "canary"
	for _, in := range []login{
		{mark, messageOf(w), "0x", "token"},
		{w.address, mark, "0x", "token"},
		{w.address, strings.Replace(messageOf(w), "auth.example.com wants", mark+" wants", 1), "0x", "token"},
		{w.address, strings.Replace(messageOf(w), "/auth/login", "/"+mark, 1), "0x", "token"},
		{w.address, messageOf(w), mark, "token"},
	} {
		if _, err := authenticate(t, p, in); err == nil || strings.Contains(err.Error(), mark) {
			t.Errorf("Authenticate(%+v): %v", in, err)
		}
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	p, w := ours(b)
	text := messageOf(w)
	data, err := json.Marshal(login{w.address, text, w.sign(b, text), "token"})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Authenticate(b.Context(), provider.Attempt{Data: data}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRecover is the share of the curve in BenchmarkAuthenticate.
func BenchmarkRecover(b *testing.B) {
	_, w := ours(b)
	text := messageOf(w)
	sig, err := ethereum.DecodeSignature(w.sign(b, text))
	if err != nil {
		b.Fatal(err)
	}
	hash := ethereum.PersonalHash([]byte(text))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := crypto.Ecrecover(hash, sig[:]); err != nil {
			b.Fatal(err)
		}
	}
}
