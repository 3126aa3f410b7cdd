package e2e

import (
	"bytes"
	"compress/zlib"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/deploy/e2e/internal/stack"
)

// uriCase is a case of testdata/uri_cases.json. It was written as a question to the gate; here it is played as the
// request of a client that would make the proxy ask it.
type uriCase struct {
	ID      string    `json:"id"`
	Headers [][2]text `json:"headers"`
	Token   string    `json:"token"`
	Extra   string    `json:"token_extra"`
	Expect  string    `json:"expect"`
	Why     string    `json:"why"`
}

// text is a string or {"zlib_b64": ...}.
type text string

func (x *text) UnmarshalJSON(data []byte) error {
	var packed struct {
		Zlib []byte `json:"zlib_b64"`
	}
	if data[0] != '{' {
		return json.Unmarshal(data, (*string)(x))
	}
	if err := json.Unmarshal(data, &packed); err != nil {
		return err
	}
	reader, err := zlib.NewReader(bytes.NewReader(packed.Zlib))
	if err != nil {
		return err
	}
	plain, err := io.ReadAll(reader)
	*x = text(plain)
	return err
}

// Cases that no client can make the proxy ask: the request line has exactly one target and one method, each of at least
// a byte and the method without blanks.
var notExpressible = []string{"absolute-uri-13", "empty-uri", "method-06-n", "method-header-missing-t", "method-dup"}

// Cases about a header that contradicts the target. From a client the header does not arrive, so the request is judged
// as it stands, and it is a good one.
var goodWithoutTheHeader = []string{"override-x-http-method-override", "override-x-http-method", "method-conflict"}

// clientRequest turns the question into a request of a client.
func (c uriCase) clientRequest(host, token string, fill *strings.Replacer) []byte {
	target, method := "", ""
	headers := []string{"User-Agent: uri/" + c.ID, "Connection: close"}
	for _, h := range c.Headers {
		name, value := string(h[0]), fill.Replace(string(h[1]))
		switch {
		case target == "" && (name == "X-Original-URI" || name == "X-Forwarded-Uri"):
			target = value
		case method == "" && (name == "X-Original-Method" || name == "X-Forwarded-Method"):
			method = value
		case name == "X-Original-Host" || name == "X-Forwarded-Host":
			host = value
		default:
			headers = append(headers, name+": "+value)
		}
	}
	if token != "" {
		headers = append(headers, "Authorization: Bearer "+token)
	}
	return request(method+" "+target+" HTTP/1.1", append(headers, "Host: "+host)...)
}

func TestScenarioAttackTargetsOfTheCorpusThroughNginx(t *testing.T) {
	t.Parallel()
	s := scenario(t)
	data, err := os.ReadFile("testdata/uri_cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var corpus struct {
		Cases []uriCase `json:"cases"`
	}
	if err := json.Unmarshal(data, &corpus); err != nil {
		t.Fatal(err)
	}
	if len(corpus.Cases) != 169 {
		t.Fatalf("%d cases, want 169", len(corpus.Cases))
	}
	tokens := map[string]string{
		"T_app": s.token(t, "application:list"), "T_ctx1": s.token(t, "context:read:specific:ctx-1"),
		"T_ctxlist": s.token(t, "context:list"), "T_admin": s.admin, "T_refresh": s.first.Refresh, "T_expired": s.expired(t), "none": "",
	}
	bound := func(c uriCase) string {
		address, isNode := strings.CutPrefix(c.Extra, "node_url=")
		if !isNode {
			return tokens[c.Token]
		}
		var p pair
		if err := s.call(t, "POST", "/admin/client-key", s.admin, map[string]any{
			"permissions": []string{"context:list"}, "target_node_url": address, "expires_in": 3600,
		}).data(&p); err != nil {
			t.Fatal(err)
		}
		return p.Access
	}
	fill := strings.NewReplacer("{T_app}", tokens["T_app"], "{T_admin}", tokens["T_admin"], "{T_refresh}", tokens["T_refresh"])
	for _, c := range corpus.Cases {
		if slices.Contains(notExpressible, c.ID) {
			continue
		}
		t.Run(c.ID, func(t *testing.T) {
			answers := exchange(t, s.hostOf(t), c.clientRequest("node.example.com", bound(c), fill))
			s.judge(t, c, answers)
		})
	}
}

// judge checks the answers to a case and that what was refused has not reached the node.
func (s *site) judge(t *testing.T, c uriCase, answers []rawAnswer) {
	t.Helper()
	reached := s.sentBy("uri/" + c.ID)
	if c.Expect == "allow" || slices.Contains(goodWithoutTheHeader, c.ID) {
		// What the node makes of it is its business: it has no context "ctx-1".
		refusals := []int{0, 401, 403, 405, 500, 502, 503, 504}
		if len(answers) != 1 || slices.Contains(refusals, answers[0].status) || bytes.Contains(answers[0].body, []byte("Malformed request")) {
			t.Errorf("answers %v, want one of the node; %s", statuses(answers), c.Why)
		}
		if s.local != nil && len(reached) != 1 {
			t.Errorf("%d requests reached the node, want 1; %s", len(reached), c.Why)
		}
		return
	}
	if len(answers) == 0 {
		t.Error("no answer")
	}
	for _, a := range answers {
		if a.status < 400 || a.status >= 500 {
			t.Errorf("answers %v, want a refusal; %s", statuses(answers), c.Why)
		}
		var want int
		if n, _ := fmt.Sscanf(c.Expect, "deny-%d", &want); n == 1 && a.status != want && a.status != http.StatusBadRequest && a.status != http.StatusNotFound {
			t.Errorf("status %d, want %d or a refusal by nginx itself; %s", a.status, want, c.Why)
		}
	}
	for _, r := range reached {
		t.Errorf("refused, but the node got:\n%s", r.Head())
	}
}

// sentBy returns the requests that reached the node from a client of that name.
func (s *site) sentBy(agent string) []stack.Request {
	if s.local == nil {
		return nil
	}
	return slices.DeleteFunc(s.local.NodeLink.Requests(), func(r stack.Request) bool {
		return !slices.Contains(r.Values("User-Agent"), agent)
	})
}
