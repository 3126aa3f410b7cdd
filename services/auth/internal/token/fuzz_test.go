package token_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/token"
)

// FuzzVerify: nobody without the secret makes a token, so the only text that may pass is the one that was signed.
func FuzzVerify(f *testing.F) {
	codec := newCodec(f, options(corpusKeyring()))
	good, _, err := codec.Sign(accessClaims())
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		good, good + ".", good[:len(good)-1], "..", ".", "", strings.ToUpper(good), strings.Replace(good, ".", "\n.", 1),
		segment(`{"alg":"none"}`) + ".e30.", forge(nil, goodHeader().text(), goodClaims().text()),
		forge(secretV0, goodHeader().with("kid", `"v9"`).text(), goodClaims().text()),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		_, err := codec.Verify(raw, token.KindAccess)
		switch {
		case err == nil && raw != good:
			t.Errorf("Verify accepted %q", raw)
		case err != nil && !errors.Is(err, token.ErrInvalid):
			t.Errorf("Verify = %v, which is no ErrInvalid", err)
		}
		if c, err := codec.InspectAccess(raw); err == nil && c.State != token.Unproven && raw != good {
			t.Errorf("InspectAccess = %+v for %q", c, raw)
		}
		if _, err := codec.VerifyChallenge(raw); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("VerifyChallenge = %v", err)
		}
	})
}

// FuzzReader holds the reader of header and claims against encoding/json: what ours accepts, under a correct MAC,
// encoding/json must accept with no unknown member, no duplicate and the same values.
func FuzzReader(f *testing.F) {
	for _, seed := range []struct{ header, payload string }{
		{goodHeader().text(), goodClaims().text()},
		{goodHeader().text(), goodClaims().with("node_url", `"https://a.example"`).text()},
		{" { \"typ\" : \"at+jwt\", \"kid\":\"v1\"\n,\"alg\":\"HS256\"}\t", goodClaims().with("permissions", "[ ]").text()},
		{goodHeader().and("alg", `"none"`).text(), goodClaims().and("sub", `"x"`).text()},
		{goodHeader().text(), goodClaims().with("sub", `"\u0061"`).text()},
		{goodHeader().text(), goodClaims().with("permissions", `["a","b","c[d,e]"]`).text() + " "},
		{goodHeader().text(), goodClaims().with("exp", "1767225601.0").text()},
		{goodHeader().text(), goodClaims().text() + "{}"},
		{"{}", "{}"},
	} {
		f.Add(seed.header, seed.payload)
	}
	codec := newCodec(f, options(corpusKeyring()))
	f.Fuzz(func(t *testing.T, header, payload string) {
		v, err := codec.Verify(forge(secretV1, header, payload), token.KindAccess)
		if err != nil {
			if !errors.Is(err, token.ErrInvalid) && !errors.Is(err, token.ErrExpired) {
				t.Errorf("Verify = %v, which is neither ErrInvalid nor ErrExpired", err)
			}
			return
		}
		var h struct {
			Alg string `json:"alg"`
			KID string `json:"kid"`
			Typ string `json:"typ"`
		}
		decodeExactly(t, header, 3, &h)
		if h.Alg != "HS256" || h.KID != "v1" || h.Typ != "at+jwt" {
			t.Errorf("header %q passed as %+v", header, h)
		}
		var p wireClaims
		n := 10
		if v.Claims().NodeURL != "" {
			n++
		}
		decodeExactly(t, payload, n, &p)
		checkSame(t, v.Claims(), p)
	})
}

type wireClaims struct {
	Sub         string   `json:"sub"`
	Iss         string   `json:"iss"`
	Aud         string   `json:"aud"`
	Exp         int64    `json:"exp"`
	Iat         int64    `json:"iat"`
	Nbf         int64    `json:"nbf"`
	JTI         string   `json:"jti"`
	Permissions []string `json:"permissions"`
	NodeURL     string   `json:"node_url"`
	TokenType   string   `json:"token_type"`
	Fam         string   `json:"fam"`
}

func checkSame(t *testing.T, c token.Claims, p wireClaims) {
	t.Helper()
	same := c.Subject == p.Sub && p.Iss == issuer && p.Aud == issuer && c.Expires == p.Exp && c.IssuedAt == p.Iat &&
		p.Nbf <= now+60 && c.ID == p.JTI && slices.Equal(c.Permissions, p.Permissions) && c.NodeURL == p.NodeURL &&
		string(c.Kind) == p.TokenType && c.Family == p.Fam
	if !same {
		t.Errorf("two readings of one payload:\nours          %+v\nencoding/json %+v", c, p)
	}
}

// decodeExactly decodes text, one flat object, into v and reports whatever encoding/json or the count of its
// members finds wrong.
func decodeExactly(t *testing.T, text string, members int, v any) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		t.Fatalf("accepted %q, encoding/json says %v", text, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		t.Fatalf("accepted %q with data after it", text)
	}
	names := map[string]bool{}
	for d := json.NewDecoder(strings.NewReader(text)); ; {
		tok, err := d.Token()
		if err != nil || tok == json.Delim('}') {
			break
		}
		name, ok := tok.(string)
		if !ok {
			continue // the opening brace
		}
		if names[strings.ToLower(name)] {
			t.Fatalf("accepted %q with two members %q", text, name)
		}
		names[strings.ToLower(name)] = true
		var skipped json.RawMessage
		if err := d.Decode(&skipped); err != nil {
			t.Fatal(err)
		}
	}
	if len(names) != members {
		t.Fatalf("accepted %q with %d members, want %d", text, len(names), members)
	}
}

// FuzzChallengeReader does the same for challenges.
func FuzzChallengeReader(f *testing.F) {
	f.Add(goodChallenge().text())
	f.Add(goodChallenge().with("nonce", `"`+base64.StdEncoding.EncodeToString(secretV1)+`"`).text())
	f.Add(goodChallenge().and("exp", "1").text())
	f.Add(goodChallenge().and("method", `"near_wallet"`).text())
	f.Add("{}")
	codec := newCodec(f, options(corpusKeyring()))
	header := goodHeader().with("typ", `"challenge+jwt"`).text()
	f.Fuzz(func(t *testing.T, payload string) {
		c, err := codec.VerifyChallenge(forge(secretChallenge, header, payload))
		if err != nil {
			if !errors.Is(err, token.ErrInvalid) && !errors.Is(err, token.ErrExpired) {
				t.Errorf("VerifyChallenge = %v, which is neither ErrInvalid nor ErrExpired", err)
			}
			return
		}
		var p struct {
			Iss   string `json:"iss"`
			JTI   string `json:"jti"`
			Iat   int64  `json:"iat"`
			Exp   int64  `json:"exp"`
			Nonce []byte `json:"nonce"`

			Method string `json:"method"`
		}
		members := 5
		if c.Method != "" {
			members++
		}
		decodeExactly(t, payload, members, &p)
		if p.Method != c.Method || p.Iss != issuer || c.ID != p.JTI || c.IssuedAt != p.Iat || c.Expires != p.Exp || !bytes.Equal(c.Nonce, p.Nonce) {
			t.Errorf("two readings of one payload:\nours          %+v\nencoding/json %+v", c, p)
		}
	})
}
