package route_test

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/pkg/route"
)

// corpusCase is a case of testdata/uri_cases.json: forwarded targets and methods as an attacker would send them.
type corpusCase struct {
	ID      string
	Group   string
	Headers [][2]json.RawMessage
	Token   string
	Expect  string
	Why     string
}

// corpusGrants are what the tokens of the corpus hold. Those that no gate accepts hold nothing here, which is
// enough for everything but public routes.
var corpusGrants = map[string][]string{
	"T_app":     {"application:list"},
	"T_ctx1":    {"context:read:specific:ctx-1"},
	"T_ctxlist": {"context:list"},
	"T_admin":   {"admin"},
	"T_refresh": nil,
	"T_expired": nil,
	"none":      nil,
}

// request returns the target and method that the case forwards, or false if it is about something else than
// them: other headers, or the same one twice.
func (c *corpusCase) request(t *testing.T) (target, method string, ok bool) {
	t.Helper()
	var targets, methods []string
	for _, h := range c.Headers {
		var name string
		if err := json.Unmarshal(h[0], &name); err != nil {
			t.Fatalf("%s: %v", c.ID, err)
		}
		switch strings.ToLower(name) {
		case "x-original-uri", "x-forwarded-uri":
			targets = append(targets, headerValue(t, c.ID, h[1]))
		case "x-original-method", "x-forwarded-method":
			methods = append(methods, headerValue(t, c.ID, h[1]))
		case "x-forwarded-host", "x-forwarded-proto":
		default:
			return "", "", false
		}
	}
	if len(targets) != 1 || len(methods) != 1 {
		return "", "", false
	}
	return targets[0], methods[0], true
}

// headerValue decodes a value as net/http would deliver it: without blanks around it.
func headerValue(t *testing.T, id string, raw json.RawMessage) string {
	t.Helper()
	var text string
	if err := json.Unmarshal(raw, &text); err == nil {
		return strings.Trim(text, " \t")
	}
	var packed struct {
		ZlibB64 string `json:"zlib_b64"`
	}
	if err := json.Unmarshal(raw, &packed); err != nil {
		t.Fatalf("%s: %v", id, err)
	}
	data, err := base64.StdEncoding.DecodeString(packed.ZlibB64)
	if err != nil {
		t.Fatalf("%s: %v", id, err)
	}
	z, err := zlib.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("%s: %v", id, err)
	}
	plain, err := io.ReadAll(io.LimitReader(z, 1<<20))
	if err != nil {
		t.Fatalf("%s: %v", id, err)
	}
	return string(plain)
}

// All cases about path and method, judged by form and table alone. The others (credentials, header families,
// identity headers, preflight) are the gate's, whose tests run the whole corpus.
func TestCorpus_PathsAndMethods(t *testing.T) {
	data, err := os.ReadFile("testdata/uri_cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var corpus struct{ Cases []corpusCase }
	if err := json.Unmarshal(data, &corpus); err != nil {
		t.Fatal(err)
	}
	judged := 0
	for _, c := range corpus.Cases {
		target, method, ok := c.request(t)
		if !ok || c.Group == "token-location" || c.Group == "ws-cors-host" {
			continue
		}
		judged++
		t.Run(c.ID, func(t *testing.T) {
			grants, known := corpusGrants[c.Token]
			if !known {
				t.Fatalf("token %q is not among the corpus grants", c.Token)
			}
			allowed := false
			path, _, err := route.Canonical(target)
			if err == nil {
				m, _ := route.Node.Lookup(method, path)
				allowed = m.Public() || m.Allowed(permission.NewSet(grants), true)
			}
			if want := c.Expect == "allow"; allowed != want {
				t.Errorf("%s %.100q with %s: allowed = %v (%v), want %s: %s", method, target, c.Token, allowed, err, c.Expect, c.Why)
			}
		})
	}
	if judged < 110 {
		t.Errorf("only %d cases were judged", judged)
	}
}
