package token_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/token"
)

func TestVerify_HeaderForms(t *testing.T) {
	codec := newCodec(t, options(corpusKeyring()))
	h := goodHeader()
	for _, tt := range []struct{ name, header string }{
		{"crit", h.with("crit", `["exp"]`).text()},
		{"empty crit", h.with("crit", `[]`).text()},
		{"b64", h.with("b64", `false`).text()},
		{"b64 with crit", h.with("b64", `false`).with("crit", `["b64"]`).text()},
		{"zip", h.with("zip", `"DEF"`).text()},
		{"jwk", h.with("jwk", `{"kty":"oct","k":"AA"}`).text()},
		{"x5u", h.with("x5u", `"https://evil.example/c.pem"`).text()},
		{"x5c", h.with("x5c", `["MIIB"]`).text()},
		{"x5t", h.with("x5t", `"AA"`).text()},
		{"x5t#S256", h.with("x5t#S256", `"AA"`).text()},
		{"cty", h.with("cty", `"JWT"`).text()},
		{"enc", h.with("enc", `"A128GCM"`).text()},
		{"case-folded alg", h.with("ALG", `"none"`).text()},
		{"case-folded alg alone", h.without("alg").with("Alg", `"HS256"`).text()},
		{"long s in a name", h.without("alg").with("alg\u017f", `"HS256"`).text()},
		{"kelvin sign for k", h.without("kid").with("\u212aid", `"v1"`).text()},
		{"duplicate kid", h.and("kid", `"v0"`).text()},
		{"duplicate typ", h.and("typ", `"rt+jwt"`).text()},
		{"no alg", h.without("alg").text()},
		{"no typ", h.without("typ").text()},
		{"null alg", h.with("alg", "null").text()},
		{"lower-case alg", h.with("alg", `"hs256"`).text()},
		{"alg with blank", h.with("alg", `"HS256 "`).text()},
		{"application/at+jwt", h.with("typ", `"application/at+jwt"`).text()},
		{"upper-case typ", h.with("typ", `"AT+JWT"`).text()},
		{"empty typ", h.with("typ", `""`).text()},
		{"long kid", h.with("kid", `"`+strings.Repeat("k", 129)+`"`).text()},
		{"path as kid", h.with("kid", `"../../dev/null"`).text()},
		{"empty", ""},
		{"empty object", "{}"},
		{"null", "null"},
		{"list", "[" + h.text() + "]"},
		{"byte order mark", "\xef\xbb\xbf" + h.text()},
		{"trailing NUL", h.text() + "\x00"},
		{"comment", h.text() + "//"},
		{"trailing comma", strings.Replace(h.text(), "}", ",}", 1)},
		{"single quotes", strings.ReplaceAll(h.text(), `"`, "'")},
	} {
		if _, err := codec.Verify(forge(secretV1, tt.header, goodClaims().text()), token.KindAccess); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%s: Verify = %v, want ErrInvalid; header %s", tt.name, err, tt.header)
		}
	}
	// White space is insignificant (RFC 8259 section 2), so other writers of JSON may use it.
	spaced := " { \"typ\" : \"at+jwt\" ,\r\n\t\"kid\":\"v1\", \"alg\":\"HS256\" } "
	if _, err := codec.Verify(forge(secretV1, spaced, goodClaims().text()), token.KindAccess); err != nil {
		t.Errorf("Verify with blanks in the header = %v", err)
	}
}

// Each claim in each wrong form, under a correct MAC.
func TestVerify_ClaimForms(t *testing.T) {
	codec := newCodec(t, options(corpusKeyring()))
	refused := func(name string, o object) {
		t.Helper()
		if _, err := codec.Verify(forgeClaims(o), token.KindAccess); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%s: Verify = %v, want ErrInvalid; claims %s", name, err, o.text())
		}
	}
	good := goodClaims().with("node_url", `"https://node.example.com"`)
	if _, err := codec.Verify(forgeClaims(good), token.KindAccess); err != nil {
		t.Fatalf("the token that this test mutates is itself refused: %v", err)
	}
	odd := []string{
		"null", "true", "-1", "0.5", "1e9", "01", "+1", "NaN", "[]", "{}", `""`, `[[]]`, `{"a":{}}`, `"\ud800"`, "\"\xff\"", `"a`,
		"\"\x01\"", `"` + strings.Repeat("a", 600) + `"`, strings.Repeat("[", 2000), "",
	}
	for _, m := range good {
		for _, value := range odd {
			if m.name == "permissions" && value == "[]" {
				continue // no rights, but well-formed
			}
			refused(m.name+"="+value[:min(len(value), 20)], good.with(m.name, value))
		}
		refused("duplicate "+m.name, good.and(m.name, m.value))
		refused("case-folded "+m.name, good.without(m.name).with(strings.ToUpper(m.name), m.value))
		refused("second spelling of "+m.name, good.and(strings.ToUpper(m.name[:1])+m.name[1:], m.value))
		refused("escaped name of "+m.name, good.without(m.name).with(fmt.Sprintf(`\u%04x%s`, m.name[0], m.name[1:]), m.value))
		if m.name != "node_url" {
			refused("without "+m.name, good.without(m.name))
		}
	}
	for _, tt := range []struct{ name, claim, value string }{
		{"unknown claim", "scope", `"admin"`},
		{"confirmation", "cnf", `{"jkt":"x"}`},
		{"empty name", "", `1`},
		{"refresh token_type", "token_type", `"refresh"`},
		{"challenge token_type", "token_type", `"challenge"`},
		{"issuer with suffix", "iss", `"calimero-auth "`},
		{"issuer in another case", "iss", `"Calimero-Auth"`},
		{"exp as float", "exp", fmt.Sprintf("%d.0", now+60)},
		{"exp as exponent", "exp", "17672256e2"},
		{"exp in milliseconds", "exp", fmt.Sprintf("%d000", now+60)},
		{"exp with a leading zero", "exp", fmt.Sprintf("0%d", now+60)},
		{"exp past int64", "exp", "9223372036854775808"},
		{"exp that wraps to a good one", "exp", "18446744075476781076"},
		{"minus zero", "nbf", "-0"},
		{"iat past skew", "iat", strconv.Itoa(now + 61)},
		{"nbf past skew", "nbf", strconv.Itoa(now + 61)},
		{"exp at iat", "exp", strconv.Itoa(now - 60)},
		{"two permissions in one", "permissions", `["blob,admin"]`},
		{"permission with CRLF", "permissions", "[\"a\\r\\nX: y\"]"},
		{"nested permissions", "permissions", `[["admin"]]`},
		{"permission object", "permissions", `[{"admin":true}]`},
		{"null permission", "permissions", `["admin",null]`},
		{"empty permission", "permissions", `[""]`},
		{"trailing comma", "permissions", `["admin",]`},
		{"missing comma", "permissions", `["admin" "blob"]`},
		{"too many permissions", "permissions", `[` + strings.Repeat(`"admin",`, token.MaxPermissions) + `"admin"]`},
		{"permissions as text", "permissions", `"admin"`},
		{"family of another alphabet", "fam", `"family:1"`},
	} {
		refused(tt.name, good.with(tt.claim, tt.value))
	}
}

// One token has one text: whatever is changed, in whatever place, is refused.
func TestVerify_EveryMutationRefused(t *testing.T) {
	codec := newCodec(t, options(corpusKeyring()))
	good, _, err := codec.Sign(accessClaims())
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what, raw string) {
		if _, err := codec.Verify(raw, token.KindAccess); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%s: Verify = %v, want ErrInvalid; token %q", what, err, raw)
		}
	}
	for i := range len(good) {
		for bit := range 8 {
			b := []byte(good)
			b[i] ^= 1 << bit
			refused(fmt.Sprintf("bit %d of byte %d", bit, i), string(b))
		}
		refused(fmt.Sprintf("first %d bytes", i), good[:i])
		refused(fmt.Sprintf("without the first %d bytes", i+1), good[i+1:])
		refused(fmt.Sprintf("byte %d doubled", i), good[:i]+good[i:i+1]+good[i:])
		for _, c := range []string{"\n", "\r", "\r\n", "=", " ", ".", "A", "\x00"} {
			refused(fmt.Sprintf("%q before byte %d", c, i), good[:i]+c+good[i:])
		}
	}
	for c := range 256 {
		refused(fmt.Sprintf("suffix %#x", c), good+string([]byte{byte(c)}))
		refused(fmt.Sprintf("prefix %#x", c), string([]byte{byte(c)})+good)
	}
	p := strings.Split(good, ".")
	for _, order := range [][3]int{{0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}, {0, 0, 2}, {0, 1, 1}} {
		refused(fmt.Sprint("segments ", order), p[order[0]]+"."+p[order[1]]+"."+p[order[2]])
	}
	refused("twice", good+good)
	refused("twice with a comma", good+","+good)
	refused("scheme", "Bearer "+good)
}

// Base64url has a second spelling for every length that is no multiple of three: bits that encode nothing, and
// padding. Under a MAC over that very spelling it is still refused.
func TestVerify_NonCanonicalBase64(t *testing.T) {
	codec := newCodec(t, options(corpusKeyring()))
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for pad := range 3 { // each remainder, for header and payload
		header := goodHeader().text() + strings.Repeat(" ", pad)
		payload := goodClaims().text() + strings.Repeat(" ", pad)
		input := segment(header) + "." + segment(payload)
		sig := segment(macSHA256(secretV1, input))
		for _, tt := range []struct{ name, header, payload, sig string }{
			{"header", segment(header), segment(payload), ""},
			{"payload", segment(payload), segment(header), ""},
		} {
			spare := map[int]int{0: 0, 2: 15, 3: 3}[len(tt.header)%4]
			last := strings.IndexByte(alphabet, tt.header[len(tt.header)-1])
			for bits := 1; bits <= spare; bits++ {
				odd := tt.header[:len(tt.header)-1] + string(alphabet[last|bits])
				signing := odd + "." + tt.payload
				if tt.name == "payload" {
					signing = tt.payload + "." + odd
				}
				raw := signing + "." + segment(macSHA256(secretV1, signing))
				if _, err := codec.Verify(raw, token.KindAccess); !errors.Is(err, token.ErrInvalid) {
					t.Errorf("%s with spare bits %b: Verify = %v, want ErrInvalid", tt.name, bits, err)
				}
			}
		}
		padded := base64.URLEncoding.EncodeToString
		for name, raw := range map[string]string{
			"padded signature": input + "." + padded([]byte(macSHA256(secretV1, input))),
			"padded payload":   resign(segment(header) + "." + segment(payload) + "="),
			"padded header":    resign(segment(header) + "=." + segment(payload)),
			"spare bit of the MAC": input + "." + sig[:len(sig)-1] +
				string(alphabet[strings.IndexByte(alphabet, sig[len(sig)-1])|1]),
			"line break in the payload": resign(segment(header) + "." + segment(payload)[:8] + "\n" + segment(payload)[8:]),
			"line break in the MAC":     input + "." + sig[:8] + "\r\n" + sig[8:],
		} {
			if _, err := codec.Verify(raw, token.KindAccess); !errors.Is(err, token.ErrInvalid) {
				t.Errorf("%s: Verify = %v, want ErrInvalid; token %q", name, err, raw)
			}
		}
		if _, err := codec.Verify(input+"."+sig, token.KindAccess); err != nil {
			t.Errorf("canonical text with %d blanks: Verify = %v", pad, err)
		}
	}
}

// Oversized input is refused before it costs anything: memory does not grow with it.
func TestVerify_OversizedInputIsCheap(t *testing.T) {
	codec := newCodec(t, options(corpusKeyring()))
	good := forgeClaims(goodClaims())
	for name, raw := range map[string]string{
		"60000 dots":            strings.Repeat(".", 60000),
		"8000 dots":             strings.Repeat(".", 8000),
		"60 kB of payload":      forgeClaims(goodClaims().with("sub", `"`+strings.Repeat("a", 45000)+`"`)),
		"60 kB of signature":    good + strings.Repeat("A", 60000),
		"60 kB without a dot":   strings.Repeat("a", 60000),
		"dots after a good one": good + strings.Repeat(".", 7000),
	} {
		if _, err := codec.Verify(raw, token.KindAccess); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%s: Verify = %v, want ErrInvalid", name, err)
		}
		if allocs := testing.AllocsPerRun(100, func() { _, _ = codec.Verify(raw, token.KindAccess) }); allocs > 0 {
			t.Errorf("%s: %v allocations, want none", name, allocs)
		}
	}
}

func TestVerify_MaxSize(t *testing.T) {
	codec := newCodec(t, options(corpusKeyring()))
	grown := func(blanks int) string {
		return forge(secretV1, goodHeader().text(), goodClaims().text()+strings.Repeat(" ", blanks))
	}
	blanks := (token.MaxSize - len(grown(0))) * 3 / 4
	for len(grown(blanks)) > token.MaxSize {
		blanks--
	}
	if _, err := codec.Verify(grown(blanks), token.KindAccess); err != nil {
		t.Errorf("Verify of %d bytes = %v", len(grown(blanks)), err)
	}
	for len(grown(blanks)) <= token.MaxSize {
		blanks++
	}
	if _, err := codec.Verify(grown(blanks), token.KindAccess); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("Verify of %d bytes = %v, want ErrInvalid", len(grown(blanks)), err)
	}
}

// Errors end up in logs; nothing of the token may be in them.
func TestVerify_ErrorsDoNotQuoteTheToken(t *testing.T) {
	codec := newCodec(t, options(corpusKeyring()))
	const marker = "S3cretMarker"
	for _, raw := range []string{
		marker,
		marker + ".a.b",
		forgeHeader(goodHeader().with("kid", `"`+marker+`"`)),
		forgeHeader(goodHeader().with("alg", `"`+marker+`"`)),
		forgeHeader(goodHeader().with(marker, `1`)),
		forgeClaims(goodClaims().with(marker, `1`)),
		forgeClaims(goodClaims().with("sub", `":`+marker+`"`)),
		forgeClaims(goodClaims().with("iss", `"`+marker+`"`)),
		forgeClaims(goodClaims().with("permissions", `[",`+marker+`"]`)),
		forgeClaims(goodClaims().with("exp", marker)),
	} {
		if _, err := codec.Verify(raw, token.KindAccess); err == nil || strings.Contains(err.Error(), marker) {
			t.Errorf("Verify(%s) = %v, want an error without a part of the token", raw, err)
		}
	}
}
