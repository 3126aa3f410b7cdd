package assertion_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/assertion"
)

const (
	leeway = 30 * time.Second
	maxTTL = time.Hour
)

// at is the moment at which the tests verify, exp the end that the vectors carry: one minute later.
var (
	at  = time.Unix(1767225600, 0)
	exp = at.Add(time.Minute)
)

func testKey(t testing.TB, first byte) assertion.Key {
	t.Helper()
	secret := make([]byte, assertion.KeySize)
	for i := range secret {
		secret[i] = first + byte(i)
	}
	k, err := assertion.NewKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func testRing(t testing.TB, keys ...assertion.Key) *assertion.Ring {
	t.Helper()
	r, err := assertion.NewRing(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var claim = assertion.Claim{
	Key:         "k1",
	Permissions: "context:list,context:execute[c1,u1,get]",
	Expires:     "1767229200",
	Method:      "GET",
	Target:      "/admin-api/contexts?limit=1",
}

func identity(c assertion.Claim) assertion.Claim {
	c.Bind = assertion.BindIdentity
	return c
}

// The expected texts come from a separate implementation in Python (hmac, struct.pack(">I", len)), under the
// key 00 01 … 1f.
func TestSign_Vectors(t *testing.T) {
	ring := testRing(t, testKey(t, 0))
	tests := []struct {
		name  string
		claim assertion.Claim
		exp   time.Time
		want  string
	}{
		{"request", claim, exp, "v1.630dcd29.1767225660.2uQa3inj9lC4DPzRPkOF6z9ZnLh7kjouFXBQW17uc1A"},
		{"identity", identity(claim), exp, "v1.630dcd29.1767225660.B-QUQnNAaFinXLjnCb5YrnhdmqSCtC3mJGaGnIBC53I"},
		{"empty", assertion.Claim{}, time.Unix(0, 0), "v1.630dcd29.0.0hqZP00qMPQWwHFfC59u4OdVS1I6xE_h7hrceNdof44"},
		{"fraction of a second is dropped", claim, exp.Add(999 * time.Millisecond), "v1.630dcd29.1767225660.2uQa3inj9lC4DPzRPkOF6z9ZnLh7kjouFXBQW17uc1A"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ring.Sign(tt.claim, tt.exp)
			if got != tt.want {
				t.Errorf("Sign(%+v, %v) = %q, want %q", tt.claim, tt.exp, got, tt.want)
			}
			if err := ring.Verify(got, tt.claim, tt.exp, time.Second, 0); err != nil {
				t.Errorf("Verify(%q) = %v", got, err)
			}
		})
	}
}

func TestVerify_ReplayForAnotherRequestOrIdentity(t *testing.T) {
	ring := testRing(t, testKey(t, 0))
	header := ring.Sign(claim, exp)
	changes := map[string]func(*assertion.Claim){
		"method":                func(c *assertion.Claim) { c.Method = "DELETE" },
		"HEAD for GET":          func(c *assertion.Claim) { c.Method = "HEAD" },
		"method in lower case":  func(c *assertion.Claim) { c.Method = "get" },
		"target":                func(c *assertion.Claim) { c.Target = "/admin-api/blobs" },
		"target in other bytes": func(c *assertion.Claim) { c.Target = "/admin-api/%63ontexts?limit=1" },
		"query":                 func(c *assertion.Claim) { c.Target = "/admin-api/contexts?limit=2" },
		"no query":              func(c *assertion.Claim) { c.Target = "/admin-api/contexts" },
		"key":                   func(c *assertion.Claim) { c.Key = "k2" },
		"permissions":           func(c *assertion.Claim) { c.Permissions = "admin" },
		"more permissions":      func(c *assertion.Claim) { c.Permissions += ",admin" },
		"no permissions":        func(c *assertion.Claim) { c.Permissions = "" },
		"expires":               func(c *assertion.Claim) { c.Expires = "9999999999" },
		"no expires":            func(c *assertion.Claim) { c.Expires = "" },
		"bind":                  func(c *assertion.Claim) { c.Bind = assertion.BindIdentity },
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			c := claim
			change(&c)
			if err := ring.Verify(header, c, at, leeway, maxTTL); !errors.Is(err, assertion.ErrBadMAC) {
				t.Errorf("Verify for %+v = %v, want ErrBadMAC", c, err)
			}
		})
	}
	if err := ring.Verify(header, claim, at, leeway, maxTTL); err != nil {
		t.Errorf("Verify of the untouched claim = %v", err)
	}
}

// An assertion that binds only the identity must not pass where the node binds the request, whatever method
// and target the attacker picks: also not the empty ones that such an assertion signs.
func TestVerify_IdentityAssertionReplayedWhereRequestIsBound(t *testing.T) {
	ring := testRing(t, testKey(t, 0))
	header := ring.Sign(identity(claim), exp)
	bare := claim
	bare.Method, bare.Target = "", ""
	for _, c := range []assertion.Claim{claim, bare} {
		if err := ring.Verify(header, c, at, leeway, maxTTL); !errors.Is(err, assertion.ErrBadMAC) {
			t.Errorf("Verify(identity assertion, %+v) = %v, want ErrBadMAC", c, err)
		}
	}
	other := identity(claim)
	other.Method, other.Target = "DELETE", "/admin-api/blobs/x"
	if err := ring.Verify(header, other, at, leeway, maxTTL); err != nil {
		t.Errorf("Verify with bind identity for another request = %v, want nil", err)
	}
	other.Key = "k2"
	if err := ring.Verify(header, other, at, leeway, maxTTL); !errors.Is(err, assertion.ErrBadMAC) {
		t.Errorf("Verify with bind identity for another key = %v, want ErrBadMAC", err)
	}
}

// Without the lengths, each of these pairs would have the same bytes under the MAC.
func TestVerify_BytesMovedBetweenFields(t *testing.T) {
	ring := testRing(t, testKey(t, 0))
	c := assertion.Claim{Key: "ab", Permissions: "cd", Expires: "12", Method: "GET", Target: "/x"}
	header := ring.Sign(c, exp)
	moved := []assertion.Claim{
		{Key: "abc", Permissions: "d", Expires: "12", Method: "GET", Target: "/x"},
		{Key: "a", Permissions: "bcd", Expires: "12", Method: "GET", Target: "/x"},
		{Key: "", Permissions: "abcd", Expires: "12", Method: "GET", Target: "/x"},
		{Key: "ab", Permissions: "cd1", Expires: "2", Method: "GET", Target: "/x"},
		{Key: "ab", Permissions: "cd", Expires: "12G", Method: "ET", Target: "/x"},
		{Key: "ab", Permissions: "cd", Expires: "12", Method: "GET/", Target: "x"},
		{Key: "ab", Permissions: "cd", Expires: "12", Method: "", Target: "GET/x"},
		{Key: "ab\x00\x00\x00\x02cd", Permissions: "", Expires: "12", Method: "GET", Target: "/x"},
	}
	for _, m := range moved {
		if err := ring.Verify(header, m, at, leeway, maxTTL); !errors.Is(err, assertion.ErrBadMAC) {
			t.Errorf("Verify(%+v) = %v, want ErrBadMAC", m, err)
		}
	}
	// The last field in front of exp must not swallow its digits either.
	kid := testKey(t, 0).ID()
	mac := header[strings.LastIndexByte(header, '.')+1:]
	c.Target = "/x17672"
	if err := ring.Verify("v1."+kid+".25660."+mac, c, at, leeway, maxTTL); !errors.Is(err, assertion.ErrBadMAC) {
		t.Errorf("Verify with digits moved from exp to target = %v, want ErrBadMAC", err)
	}
}

func TestVerify_Time(t *testing.T) {
	ring := testRing(t, testKey(t, 0))
	tests := []struct {
		name string
		exp  time.Time
		want error
	}{
		{"still valid", at.Add(time.Second), nil},
		{"ended at the edge of the leeway", at.Add(-leeway), nil},
		{"ended past the leeway", at.Add(-leeway - time.Second), assertion.ErrExpired},
		{"ended years ago", time.Unix(0, 0), assertion.ErrExpired},
		{"at the edge of the longest life", at.Add(maxTTL + leeway), nil},
		{"past the longest life", at.Add(maxTTL + leeway + time.Second), assertion.ErrTooFar},
		{"at the end of time", time.Unix(999_999_999_999, 0), assertion.ErrTooFar},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			header := ring.Sign(claim, tt.exp)
			if err := ring.Verify(header, claim, at, leeway, maxTTL); !errors.Is(err, tt.want) {
				t.Errorf("Verify(exp %v) at %v = %v, want %v", tt.exp, at, err, tt.want)
			}
		})
	}
	late := ring.Sign(claim, at.Add(-time.Minute))
	if err := ring.Verify(late, claim, at, leeway, maxTTL); err == nil || !strings.Contains(err.Error(), "1m0s ago") {
		t.Errorf("Verify of an assertion that ended a minute ago = %v, want an error that says so", err)
	}
}

// Only a signed end may be reported as expired: an attacker's number must not steer the logs.
func TestVerify_ForgedExpiry(t *testing.T) {
	ring := testRing(t, testKey(t, 0))
	header := ring.Sign(claim, at.Add(-time.Hour))
	forged := strings.Replace(header, "1767222000", "1767225660", 1)
	if forged == header {
		t.Fatalf("%q does not hold the expected end", header)
	}
	if err := ring.Verify(forged, claim, at, leeway, maxTTL); !errors.Is(err, assertion.ErrBadMAC) {
		t.Errorf("Verify with a later end than signed = %v, want ErrBadMAC", err)
	}
}

func TestVerify_ForeignKeyRefused(t *testing.T) {
	ours, theirs := testKey(t, 0), testKey(t, 1)
	header := testRing(t, theirs).Sign(claim, exp)
	if err := testRing(t, ours).Verify(header, claim, at, leeway, maxTTL); !errors.Is(err, assertion.ErrUnknownKey) {
		t.Errorf("Verify of a foreign key's assertion = %v, want ErrUnknownKey", err)
	}
	relabelled := strings.Replace(header, theirs.ID(), ours.ID(), 1)
	if err := testRing(t, ours).Verify(relabelled, claim, at, leeway, maxTTL); !errors.Is(err, assertion.ErrBadMAC) {
		t.Errorf("Verify of a foreign MAC under our kid = %v, want ErrBadMAC", err)
	}
}

func TestVerify_EveryKeyOfTheRing(t *testing.T) {
	keys := []assertion.Key{testKey(t, 0), testKey(t, 1), testKey(t, 2)}
	ring := testRing(t, keys...)
	for _, k := range keys {
		if err := ring.Verify(testRing(t, k).Sign(claim, exp), claim, at, leeway, maxTTL); err != nil {
			t.Errorf("Verify of an assertion by %s = %v", k.ID(), err)
		}
	}
	if got := ring.Sign(claim, exp); !strings.HasPrefix(got, "v1."+keys[0].ID()+".") {
		t.Errorf("Sign = %q, want the first key %s", got, keys[0].ID())
	}
}

func TestVerify_TruncatedOrFlipped(t *testing.T) {
	ring := testRing(t, testKey(t, 0))
	header := ring.Sign(claim, exp)
	for n := range len(header) {
		if err := ring.Verify(header[:n], claim, at, leeway, maxTTL); err == nil {
			t.Errorf("Verify(%q), the first %d bytes = nil", header[:n], n)
		}
	}
	for i := range len(header) {
		for bit := range 8 {
			b := []byte(header)
			b[i] ^= 1 << bit
			if err := ring.Verify(string(b), claim, at, leeway, maxTTL); err == nil {
				t.Errorf("Verify(%q), bit %d of byte %d flipped = nil", b, bit, i)
			}
		}
	}
}

func TestVerify_OneSpellingOnly(t *testing.T) {
	ring := testRing(t, testKey(t, 0))
	good := ring.Sign(claim, exp)
	kid, mac := testKey(t, 0).ID(), good[strings.LastIndexByte(good, '.')+1:]
	join := func(parts ...string) string { return strings.Join(parts, ".") }
	tests := []struct {
		name, header string
		want         error
	}{
		{"empty", "", assertion.ErrMissing},
		{"blank", " ", assertion.ErrMalformed},
		{"leading blank", " " + good, assertion.ErrMalformed},
		{"trailing blank", good + " ", assertion.ErrMalformed},
		{"trailing line feed", good + "\n", assertion.ErrMalformed},
		{"other version", join("v2", kid, "1767225660", mac), assertion.ErrMalformed},
		{"upper case version", join("V1", kid, "1767225660", mac), assertion.ErrMalformed},
		{"no version", join(kid, "1767225660", mac), assertion.ErrMalformed},
		{"upper case kid", join("v1", strings.ToUpper(kid), "1767225660", mac), assertion.ErrMalformed},
		{"short kid", join("v1", kid[:7], "1767225660", mac), assertion.ErrMalformed},
		{"long kid", join("v1", kid+"0", "1767225660", mac), assertion.ErrMalformed},
		{"empty kid", join("v1", "", "1767225660", mac), assertion.ErrMalformed},
		{"leading zero", join("v1", kid, "01767225660", mac), assertion.ErrMalformed},
		{"plus sign", join("v1", kid, "+1767225660", mac), assertion.ErrMalformed},
		{"minus sign", join("v1", kid, "-1767225660", mac), assertion.ErrMalformed},
		{"underscore", join("v1", kid, "1_767225660", mac), assertion.ErrMalformed},
		{"hexadecimal", join("v1", kid, "0x6955B97C", mac), assertion.ErrMalformed},
		{"exponent", join("v1", kid, "1e9", mac), assertion.ErrMalformed},
		{"13 digits", join("v1", kid, "1767225660000", mac), assertion.ErrMalformed},
		{"other digits", join("v1", kid, "１７６７", mac), assertion.ErrMalformed},
		{"empty end", join("v1", kid, "", mac), assertion.ErrMalformed},
		{"padded", good + "=", assertion.ErrMalformed},
		{"standard alphabet", join("v1", kid, "1767225660", "/"+mac[1:]), assertion.ErrMalformed},
		{"plus of the standard alphabet", join("v1", kid, "1767225660", "+"+mac[1:]), assertion.ErrMalformed},
		{"line feed in the mac", join("v1", kid, "1767225660", mac[:20]+"\n"+mac[21:]), assertion.ErrMalformed},
		{"line feed added to the mac", join("v1", kid, "1767225660", mac[:20]+"\n"+mac[20:]), assertion.ErrMalformed},
		{"stray last bits", good[:len(good)-1] + "B", assertion.ErrMalformed},
		{"fourth part", good + ".x", assertion.ErrMalformed},
		{"two values merged", good + ", " + good, assertion.ErrMalformed},
		{"placeholder", "$auth_assertion", assertion.ErrMalformed},
		{"dots", strings.Repeat(".", 60_000), assertion.ErrMalformed},
		{"MAC of zeros", join("v1", kid, "1767225660", strings.Repeat("A", 43)), assertion.ErrBadMAC},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := ring.Verify(tt.header, claim, at, leeway, maxTTL); !errors.Is(err, tt.want) {
				t.Errorf("Verify(%.80q) = %v, want %v", tt.header, err, tt.want)
			}
		})
	}
}

func TestParseBind(t *testing.T) {
	for _, b := range []assertion.Bind{assertion.BindRequest, assertion.BindIdentity} {
		if got, err := assertion.ParseBind(b.String()); got != b || err != nil {
			t.Errorf("ParseBind(%q) = %v, %v", b.String(), got, err)
		}
	}
	for _, s := range []string{"", "Request", "none", "identity "} {
		if _, err := assertion.ParseBind(s); err == nil {
			t.Errorf("ParseBind(%q) = nil error", s)
		}
	}
}

// Whatever Verify accepts is byte for byte what Sign writes.
func FuzzVerify(f *testing.F) {
	ring := testRing(f, testKey(f, 0))
	f.Add(ring.Sign(claim, exp))
	f.Add(ring.Sign(identity(claim), exp))
	f.Add("v1.630dcd29.1767225660.2uQa3inj9lC4DPzRPkOF6z9ZnLh7kjouFXBQW17uc1B")
	f.Add("v1.630dcd29.01767225660.2uQa3inj9lC4DPzRPkOF6z9ZnLh7kjouFXBQW17uc1A")
	f.Add("v1.630dcd29.-1.\n\r")
	f.Add("v1...")
	f.Add("")
	f.Fuzz(func(t *testing.T, header string) {
		err := ring.Verify(header, claim, at, leeway, maxTTL)
		if err == nil && header != ring.Sign(claim, exp) {
			t.Fatalf("Verify(%q) = nil, but Sign never wrote it", header)
		}
		known := false
		for _, want := range []error{
			nil, assertion.ErrMissing, assertion.ErrMalformed, assertion.ErrUnknownKey,
			assertion.ErrBadMAC, assertion.ErrExpired, assertion.ErrTooFar,
		} {
			known = known || errors.Is(err, want)
		}
		if !known {
			t.Fatalf("Verify(%q) = %v, which is none of the sentinels", header, err)
		}
	})
}

// An assertion for one claim verifies for another only if both are the same.
func FuzzClaims(f *testing.F) {
	f.Add("k1", "admin", "1", "GET", "/x", "k1", "admin", "1", "GET", "/x")
	f.Add("a", "b", "", "", "", "ab", "", "", "", "")
	f.Add("", "", "", "GET", "/", "", "", "", "GE", "T/")
	f.Fuzz(func(t *testing.T, k1, p1, e1, m1, t1, k2, p2, e2, m2, t2 string) {
		ring := testRing(t, testKey(t, 0))
		a := assertion.Claim{Key: k1, Permissions: p1, Expires: e1, Method: m1, Target: t1}
		b := assertion.Claim{Key: k2, Permissions: p2, Expires: e2, Method: m2, Target: t2}
		if err := ring.Verify(ring.Sign(a, exp), b, at, leeway, maxTTL); (err == nil) != (a == b) {
			t.Fatalf("Verify of %+v as %+v = %v", a, b, err)
		}
		ai, bi := identity(a), identity(b)
		same := k1 == k2 && p1 == p2 && e1 == e2
		if err := ring.Verify(ring.Sign(ai, exp), bi, at, leeway, maxTTL); (err == nil) != same {
			t.Fatalf("Verify with bind identity of %+v as %+v = %v", ai, bi, err)
		}
	})
}

func TestEnd(t *testing.T) {
	for header, want := range map[string]int64{
		"v1.01234567.1800000060.mac": 1_800_000_060, "v2.01234567.1800000061.signature": 1_800_000_061,
		"": 0, "v1.01234567.x.mac": 0, "v1.01234567.1800000060": 0, "v1.01234567.1800000060.mac.more": 0,
	} {
		if got := assertion.End(header); got.Unix() != want {
			t.Errorf("End(%q) = %v, want %d", header, got, want)
		}
	}
}
