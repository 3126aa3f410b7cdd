package ethereum_test

import (
	"bytes"
	"compress/zlib"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/challenge"
	"github.com/calimero-network/mero-go/services/auth/internal/jsonrpc"
	"github.com/calimero-network/mero-go/services/auth/internal/jsonrpc/jsonrpctest"
	"github.com/calimero-network/mero-go/services/auth/internal/provider"
	"github.com/calimero-network/mero-go/services/auth/internal/provider/ethereum"
)

// vectors is testdata/wallets.json: signatures by viem and ethers.
type vectors struct {
	Address string
	EIP191  []struct {
		Name, Address, Signature string
		Message                  *string
		MessageHex               string `json:"message_hex"`
		Hash                     string `json:"eip191_hash"`
	}
	EIP4361 []struct {
		Name   string
		Fields struct {
			Domain, URI, Nonce string
			ChainID            uint64
		}
		Message, Address, Signature string
		Hash                        string `json:"eip191_hash"`
	}
	Negative []struct{ Name, Base, Message, Signature, Expect string } `json:"eip4361_negative"`
	EIP712   []struct{ Signature string }
}

func loadVectors(t testing.TB) vectors {
	t.Helper()
	var file struct{ Ethereum vectors }
	readJSON(t, "testdata/wallets.json", &file)
	v := file.Ethereum
	if len(v.EIP191) != 8 || len(v.EIP4361) != 7 || len(v.Negative) != 7 || len(v.EIP712) != 1 {
		t.Fatalf("testdata/wallets.json has %d, %d, %d, %d entries, want 8, 7, 7, 1",
			len(v.EIP191), len(v.EIP4361), len(v.Negative), len(v.EIP712))
	}
	return v
}

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

func fromHex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.TrimPrefix(s, "0x"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestVectors_EIP191(t *testing.T) {
	for _, v := range loadVectors(t).EIP191 {
		t.Run(v.Name, func(t *testing.T) {
			hash := ethereum.PersonalHash(fromHex(t, v.MessageHex))
			if want := fromHex(t, v.Hash); !bytes.Equal(hash, want) {
				t.Errorf("PersonalHash(%s) = %x, want %x", v.MessageHex, hash, want)
			}
			sig, err := ethereum.DecodeSignature(v.Signature)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := ethereum.Recover(hash, sig); err != nil || got != v.Address {
				t.Errorf("Recover = %s, %v, want %s", got, err, v.Address)
			}
		})
	}
}

// A signature over the bare challenge shows nobody what is being signed and where it is valid, so it counts only
// when the operator asks for it.
func TestAuthenticate_PersonalSignOnlyBehindItsSwitch(t *testing.T) {
	expressible := 0
	for _, v := range loadVectors(t).EIP191 {
		if v.Message == nil || *v.Message == "" { // raw bytes are no JSON text; an empty member is an absent one
			continue
		}
		expressible++
		t.Run(v.Name, func(t *testing.T) {
			p := site{domain: "auth.example.com", uri: "https://auth.example.com/login"}.provider(claimsOf("abcdefgh", instant), instant)
			for _, token := range []string{*v.Message, ""} {
				in := login{Address: v.Address, Message: *v.Message, Signature: v.Signature, Challenge: token}
				p.Config.AllowPersonalSign = false
				if _, err := authenticate(t, p, in); err == nil {
					t.Errorf("challenge %.20q: accepted with the switch off", token)
				}
				p.Config.AllowPersonalSign = true
				got, err := authenticate(t, p, in)
				if err != nil {
					t.Fatalf("challenge %.20q: %v with the switch on", token, err)
				}
				if got.PublicKey != v.Address || got.Challenge == nil || got.Challenge.ID != "abcdefgh" {
					t.Errorf("challenge %.20q: proof %+v, want %s and the challenge", token, got, v.Address)
				}
			}
			in := login{Address: v.Address, Message: *v.Message, Signature: v.Signature, Challenge: "another"}
			if _, err := authenticate(t, p, in); !errors.Is(err, provider.ErrRejected) {
				t.Errorf("message that is not the challenge, with the switch on: %v, want ErrRejected", err)
			}
		})
	}
	if expressible != 6 {
		t.Errorf("%d vectors can be sent, want 6", expressible)
	}
}

// vectorTime is after "expired" has expired and within the life of a challenge that the vectors could answer.
var vectorTime = time.Date(2026, 1, 2, 3, 6, 0, 0, time.UTC)

func (v vectors) provider(i int) *ethereum.Provider {
	f := v.EIP4361[i].Fields
	s := site{domain: f.Domain, uri: f.URI, chainIDs: []uint64{f.ChainID}}
	return s.provider(claimsOf(f.Nonce, vectorTime.Add(-2*time.Minute)), vectorTime)
}

func TestVectors_EIP4361(t *testing.T) {
	v := loadVectors(t)
	for i, c := range v.EIP4361 {
		t.Run(c.Name, func(t *testing.T) {
			if got, err := ethereum.Reserialise(c.Message); err != nil || got != c.Message {
				t.Errorf("Reserialise = %q, %v", got, err)
			}
			if got, want := ethereum.PersonalHash([]byte(c.Message)), fromHex(t, c.Hash); !bytes.Equal(got, want) {
				t.Errorf("PersonalHash = %x, want %x", got, want)
			}
			p := v.provider(i)
			in := login{Address: c.Address, Message: c.Message, Signature: c.Signature, Challenge: "token"}
			if c.Name == "expired" {
				wantRejected(t, p, in, `the line "Expiration Time" must be later than the server's time`)
				before := vectorTime.Add(-time.Minute)
				p.Now = func() time.Time { return before } // 03:05:00; it expires at 03:05:05.678
			}
			got, err := authenticate(t, p, in)
			if err != nil {
				t.Fatal(err)
			}
			if got.PublicKey != v.Address {
				t.Errorf("PublicKey = %s, want %s", got.PublicKey, v.Address)
			}
			// The signature of an EIP-712 login is no signature of this message.
			in.Signature = v.EIP712[0].Signature
			wantRejected(t, p, in, "the signature is not one of this message by "+v.Address)
		})
	}
}

func TestVectors_EIP4361Negative(t *testing.T) {
	// What each entry comes to. "" is accepted.
	want := map[string]string{
		"high-s-malleated": "s is not the lower of its two values",
		"v-29":             "v is 29, not 0, 1, 27 or 28",
		"r-zero":           "r or s is out of range",
		"other-message":    "the signature is not one of this message",
		// Policy: hardware wallets write v as 0 and 1; it names the same key.
		"v-0-1-form": "",
		// Policy: letters of one case carry no checksum that could be wrong (EIP-55), and wallets hand out addresses
		// in lower case. The signature binds the account in either spelling.
		"address-lowercase-in-message": "",
		// The entry expects a refusal, but r and s of a signature with v = 27 are, byte for byte, its EIP-2098 form,
		// which the design accepts. It is the same signature by the same key over the same one-time challenge.
		"truncated-64": "",
	}
	v := loadVectors(t)
	base := v.EIP4361[0]
	for _, c := range v.Negative {
		t.Run(c.Name, func(t *testing.T) {
			text, known := want[c.Name]
			if !known || c.Base != "siwe/"+base.Name {
				t.Fatalf("unexpected entry on base %s", c.Base)
			}
			p := v.provider(0)
			in := login{Address: base.Address, Message: base.Message, Signature: c.Signature, Challenge: "token"}
			if c.Message != "" {
				in.Message = c.Message
			}
			if text != "" {
				wantRejected(t, p, in, text)
				return
			}
			if got, err := authenticate(t, p, in); err != nil || got.PublicKey != v.Address {
				t.Errorf("Authenticate = %+v, %v, want %s", got, err, v.Address)
			}
		})
	}
}

// A signature that merely lost its v is not the EIP-2098 form when v was 28: it is another key's.
func TestAuthenticate_TruncatedSignatureOfOddParity(t *testing.T) {
	v := loadVectors(t)
	for i, c := range v.EIP4361 {
		sig, isOdd := strings.CutSuffix(c.Signature, "1c")
		if !isOdd {
			continue
		}
		in := login{Address: c.Address, Message: c.Message, Signature: sig, Challenge: "token"}
		wantRejected(t, v.provider(i), in, "the signature is not one of this message")
		return
	}
	t.Fatal("no vector with v = 28")
}

// corpusCase is an entry of testdata/siwe_cases.json.
type corpusCase struct {
	ID, Expect string
	Request    struct{ Address, Message, Signature packed }
	Server     struct {
		Domain   string   `json:"expected_domain"`
		URI      string   `json:"expected_uri"`
		ChainIDs []uint64 `json:"allowed_chain_ids"`
		Nonce    string   `json:"expected_nonce"`
		Issued   int64    `json:"challenge_issued_at"`
		Expires  int64    `json:"challenge_expires_at"`
		Now      int64
	}
	RPC struct {
		Code string `json:"eth_getCode"`
		Call string `json:"eth_call"`
	}
}

// packed is a string, or {"zlib_b64": …} of a long one.
type packed string

func (p *packed) UnmarshalJSON(data []byte) error {
	var long struct {
		Zlib []byte `json:"zlib_b64"`
	}
	if data[0] != '{' {
		return json.Unmarshal(data, (*string)(p))
	}
	if err := json.Unmarshal(data, &long); err != nil {
		return err
	}
	r, err := zlib.NewReader(bytes.NewReader(long.Zlib))
	if err != nil {
		return err
	}
	text, err := io.ReadAll(r)
	*p = packed(text)
	return err
}

func loadCorpus(t testing.TB) []corpusCase {
	t.Helper()
	var file struct{ Cases []corpusCase }
	readJSON(t, "testdata/siwe_cases.json", &file)
	return file.Cases
}

func (c corpusCase) provider() *ethereum.Provider {
	claims := challenge.Claims{ID: c.Server.Nonce, IssuedAt: time.Unix(c.Server.Issued, 0), Expires: time.Unix(c.Server.Expires, 0)}
	s := site{domain: c.Server.Domain, uri: c.Server.URI, chainIDs: c.Server.ChainIDs}
	return s.provider(claims, time.Unix(c.Server.Now, 0))
}

// Every message of the corpus bears a valid signature unless the case is about the signature, so each refusal has
// to come from the one rule that the case is about.
func TestCorpus(t *testing.T) {
	const (
		length   = "a signature is 0x and 130 hex digits"
		scalars  = "r or s is out of range"
		notBy    = "the signature is not one of this message"
		first    = `the first line must be "auth.example.com wants you`
		head     = "line 1: the domain must be a host"
		ascii    = "is not allowed (lines end in LF, text is ASCII)"
		account  = "an address is 0x and 40 hex digits"
		extra    = "is not expected here"
		chain    = `line 8: must be "Chain ID: " and a decimal number`
		nonce    = `line 9: must be "Nonce: " and at least 8 letters and digits`
		issued   = `line 10: must be "Issued At: " and a date-time`
		version  = `line 7: must be "Version: 1"`
		resource = `line 13: must be "- " and an absolute URI`
	)
	// What each case comes to. "" is accepted.
	want := map[string]string{
		"valid-basic": "", "valid-no-statement": "", "valid-all-fields": "", "valid-scheme": "", "valid-rfc3339-offset-fraction": "",
		// Policy: the grammar admits an empty request id, and it grants nothing.
		"policy-empty-request-id": "",
		// Policy: the design accepts EIP-2098, which implies a low s.
		"policy-eip2098-compact": "",
		// Policy: one spelling of a signature; wallets write the 0x.
		"policy-no-0x": length,
		// Policy: the grammar has no other characters.
		"statement-nonascii": "line 4: byte 0xc5 " + ascii,
		// Policy: contract wallets are refused while no RPC is configured; TestCorpus_WithNode has one.
		"erc1271-disabled-code": length, "erc1271-eoa-empty-return": length, "erc1271-true": length, "erc1271-short": length,

		"sig-high-s": "s is not the lower of its two values",
		"sig-v-2":    "v is 2,", "sig-v-26": "v is 26,", "sig-v-29": "v is 29,", "sig-v-37": "v is 37,", "sig-v-38": "v is 38,",
		"sig-v-255": "v is 255,", "sig-r-0": scalars, "sig-s-0": scalars,
		"sig-64": notBy, "sig-66": length, "sig-63": length, "sig-100k": length,
		"zero-address":  "the zero address",
		"hash-sha3-256": notBy, "hash-length-hex": notBy, "hash-fixed-32": notBy, "hash-hex-string": notBy,
		"hash-codepoint-length": ascii,

		"domain-suffix": first, "domain-prefix": first, "domain-port": first, "domain-empty": head, "domain-space": head,
		"scheme-http": `must begin with "https://", or without a scheme`, "scheme-js": `must begin with "https://", or without a scheme`,
		"uri-relative": `line 6: must be "URI: " and an absolute URI`,
		"version-2":    version, "version-01": version, "version-one": version,
		"chain-goerli": `the line "Chain ID" must be one of [1]`,
		"chain-hex":    chain, "chain-neg": chain, "chain-empty": chain, "chain-arabic": "line 8: byte 0xd9 " + ascii,
		"nonce-7": nonce, "nonce-nonalnum": nonce,
		"iat-old": `the line "Issued At" must be within the challenge's life`, "time-feb30": issued,
		"exp-before-iat": `the line "Expiration Time" must be later than the server's time`,

		"crlf": "line 1: byte 0x0d " + ascii, "nul-in-statement": "line 4: byte 0x00 " + ascii, "rtl-override": "line 4: byte 0xe2 " + ascii,
		"one-mb": "longer than 4096 bytes", "trailing-newline": "line 12: " + extra, "dup-nonce": issued, "order": chain,
		"statement-with-newline": "line 11: " + extra, "exp-after-resources": resource, "resource-bad": resource, "resource-no-dash": resource,
		"header-phrase-case": "line 1: must end in",

		"addr-request-vs-message": "line 2 must be the same address as wallet_address", "addr-other-signer": notBy,
		"addr-39": account, "addr-41": account, "addr-ens": account,
	}
	cases := loadCorpus(t)
	if len(cases) != len(want) {
		t.Errorf("%d cases, want %d", len(cases), len(want))
	}
	for _, c := range cases {
		t.Run(c.ID, func(t *testing.T) {
			text, known := want[c.ID]
			if !known || c.Expect == "accept" && text != "" || c.Expect == "reject" && text == "" {
				t.Fatalf("the corpus says %s, this table %q", c.Expect, text)
			}
			in, p := c.login(), c.provider()
			if text != "" {
				wantRejected(t, p, in, text)
				return
			}
			if got, err := authenticate(t, p, in); err != nil || got.PublicKey != in.Address {
				t.Errorf("Authenticate = %+v, %v, want %s", got, err, in.Address)
			}
		})
	}
}

// The corpus again, with the node that each case describes: a contract may now say yes, and nothing else changes.
func TestCorpus_WithNode(t *testing.T) {
	contracts := map[string]bool{"erc1271-disabled-code": true, "erc1271-eoa-empty-return": false, "erc1271-true": false, "erc1271-short": false}
	node := jsonrpctest.Start(t, nil)
	asked := 0
	for _, c := range loadCorpus(t) {
		node.Set(jsonrpctest.ByMethod(map[string]jsonrpctest.Reply{
			"eth_chainId": jsonrpctest.Result(fmt.Sprintf(`"0x%x"`, c.Server.ChainIDs[0])),
			"eth_getCode": jsonrpctest.Result(`"` + c.RPC.Code + `"`), "eth_call": jsonrpctest.Result(`"` + c.RPC.Call + `"`),
		}))
		client := jsonrpc.New(jsonrpc.Options{Name: "eth", URL: node.URL, Timeout: 20 * time.Second, Now: time.Now})
		s := &contractSite{Provider: c.provider(), rpc: node}
		alone, errAlone := s.authenticate(t, c.login())
		s.RPC = client
		got, err := s.authenticate(t, c.login())
		client.Close()
		yes, isContract := contracts[c.ID]
		switch {
		case isContract && (yes != (err == nil) || errAlone == nil):
			t.Errorf("%s: %v, without a node %v; want a yes of the contract: %t", c.ID, err, errAlone, yes)
		case !isContract && (err == nil) != (errAlone == nil), alone.KeyID != "" && got.KeyID != alone.KeyID:
			t.Errorf("%s: %+v, %v with a node and %+v, %v without", c.ID, got, err, alone, errAlone)
		case err != nil && !errors.Is(err, provider.ErrRejected):
			t.Errorf("%s: %v, want ErrRejected", c.ID, err)
		}
		asked += len(node.Requests())
	}
	if asked < 10 {
		t.Errorf("the node was asked %d times; the cases about contracts alone are more", asked)
	}
}

func (c corpusCase) login() login {
	return login{
		Address: string(c.Request.Address), Message: string(c.Request.Message),
		Signature: string(c.Request.Signature), Challenge: "token",
	}
}
