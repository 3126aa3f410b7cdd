package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/deploy/e2e/internal/stack"
)

const appOrigin = "https://app.example.com"

// readable checks the headers without which a browser hides an answer, and above all its reason, from a page of
// another origin.
func readable(t *testing.T, a answer, allow, credentials string) {
	t.Helper()
	want := map[string]string{"Access-Control-Allow-Origin": allow, "Access-Control-Allow-Credentials": credentials}
	for name, value := range want {
		var values []string
		if value != "" {
			values = []string{value}
		}
		if got := a.header.Values(name); !slices.Equal(got, values) {
			t.Errorf("%s: %s is %q, want %q", a.what, name, got, values)
		}
	}
	if strings.HasPrefix(a.what, "OPTIONS ") {
		return // of a preflight's answer a page sees nothing anyway
	}
	if exposed := a.header.Values("Access-Control-Expose-Headers"); allow != "" && (len(exposed) != 1 || !lists(exposed[0], "X-Auth-Error")) {
		t.Errorf("%s: Access-Control-Expose-Headers is %q, want one line with X-Auth-Error", a.what, exposed)
	}
}

func lists(line, name string) bool {
	return slices.ContainsFunc(strings.Split(line, ","), func(s string) bool { return strings.EqualFold(strings.TrimSpace(s), name) })
}

func TestScenarioAppOfAnotherOriginSeesWhyItIsRefused(t *testing.T) {
	t.Parallel()
	s := scenario(t)
	key := s.token(t, "blob:list")
	for _, c := range []struct {
		method, target, token string
		want                  refusal
	}{
		{"GET", "/admin-api/blobs", s.expired(t), expiredToken},
		{"POST", "/jsonrpc", s.expired(t), expiredToken},
		{"GET", "/admin-api/blobs", "", missingToken},
		{"GET", "/admin-api/blobs", "garbage", invalidToken},
		{"DELETE", "/admin-api/blobs/x", key, permissionDenied},
		{"GET", "/admin-api//blobs", key, invalidTarget},
	} {
		a := s.call(t, c.method, c.target, c.token, nil, "Origin", appOrigin)
		refused(t, a, c.want)
		readable(t, a, "*", "")
	}
	readable(t, s.call(t, "GET", "/admin-api/blobs", key, nil, "Origin", appOrigin).want(t, http.StatusOK), "*", "")
	readable(t, s.call(t, "GET", "/auth/providers", "", nil, "Origin", appOrigin).want(t, http.StatusOK), "*", "")
	readable(t, s.call(t, "GET", "/admin/keys", "", nil, "Origin", appOrigin).want(t, http.StatusUnauthorized), "*", "")
}

// What is too large is refused by mero-auth, not by nginx: an app of another origin can read that, too.
func TestScenarioAppOfAnotherOriginSeesThatItsBodyIsTooLarge(t *testing.T) {
	t.Parallel()
	s := scenario(t)
	tooLarge := func(a answer) {
		t.Helper()
		if a.want(t, http.StatusRequestEntityTooLarge); strings.HasPrefix(errorText(a.body), "not the") {
			t.Errorf("%s: %s", a.what, errorText(a.body))
		}
		readable(t, a, "*", "")
	}
	tooLarge(s.call(t, "POST", "/auth/token", "", map[string]any{"public_key": strings.Repeat("x", 1<<20)}, "Origin", appOrigin))
	// Logins are limited in number, these are not.
	for _, target := range []string{"/admin/keys", "/admin/client-key"} {
		for _, size := range []int{1 << 20, 8 << 20} {
			text := strings.Repeat("x", size)
			tooLarge(s.call(t, "POST", target, s.admin, map[string]any{"name": text}, "Origin", appOrigin))

			head := request("POST "+target+" HTTP/1.1", "Host: "+s.hostOf(t), "Origin: "+appOrigin, "Authorization: Bearer "+s.admin,
				"Content-Type: application/json", "Transfer-Encoding: chunked")
			answers := exchange(t, s.hostOf(t), fmt.Appendf(head, "%x\r\n{\"a\":\"%s\"}\r\n0\r\n\r\n", size+8, text))
			if len(answers) != 1 {
				t.Fatalf("%d bytes in chunks: answers %v", size, statuses(answers))
			}
			tooLarge(answer{what: fmt.Sprintf("POST %s, %d bytes in chunks", target, size), status: answers[0].status, header: answers[0].header, body: answers[0].body})
		}
	}
}

func TestScenarioPreflightGetsTheNodesAnswerAndNoHandler(t *testing.T) {
	t.Parallel()
	s := scenario(t)
	key := s.token(t, "blob")
	var put struct {
		ID string `json:"blob_id"`
	}
	if err := s.call(t, "PUT", "/admin-api/blobs", key, random(100)).data(&put); err != nil {
		t.Fatal(err)
	}
	target := "/admin-api/blobs/" + put.ID
	preflight := []string{
		"Origin", appOrigin, "Access-Control-Request-Method", "DELETE", "Access-Control-Request-Headers", "authorization",
	}
	a := s.call(t, "OPTIONS", target, "", nil, preflight...).want(t, http.StatusNoContent)
	s.atTheNode(t, a)
	readable(t, a, "*", "")
	if methods := a.header.Get("Access-Control-Allow-Methods"); !lists(methods, "DELETE") {
		t.Errorf("Access-Control-Allow-Methods %q has no DELETE", methods)
	}
	if headers := a.header.Get("Access-Control-Allow-Headers"); !lists(headers, "Authorization") {
		t.Errorf("Access-Control-Allow-Headers %q has no Authorization", headers)
	}
	s.call(t, "HEAD", target, key, nil).want(t, http.StatusOK)

	// What only looks like a preflight is a request.
	for _, half := range [][]string{nil, {"Origin", appOrigin}, {"Access-Control-Request-Method", "DELETE"}} {
		bare := s.call(t, "OPTIONS", target, "", nil, half...)
		refused(t, bare, missingToken)
		s.notAtTheNode(t, bare)
	}
	disguised := s.call(t, "DELETE", target, "", nil, preflight...)
	refused(t, disguised, missingToken)
	s.call(t, "HEAD", target, key, nil).want(t, http.StatusOK)
}

func TestOnlyListedOriginsReadAnswers(t *testing.T) {
	t.Parallel()
	st := start(t, stack.Settings{
		Auth: map[string]string{
			"AUTH_CORS__ALLOW_ALL_ORIGINS": "false", "AUTH_CORS__ALLOWED_ORIGINS": appOrigin,
			"AUTH_JWT__ACCESS_TOKEN_EXPIRY": "30",
		},
		Node: map[string]string{"MEROD_CORS__ALLOW_ALL_ORIGINS": "false", "MEROD_CORS__ALLOWED_ORIGINS": appOrigin},
	})
	s := loggedIn(t, st)
	waitExpired(t, s.first.Access)
	for origin, allow := range map[string]string{appOrigin: appOrigin, "https://evil.example": "", "null": ""} {
		credentials := ""
		if allow != "" {
			credentials = "true"
		}
		preflight := []string{"Origin", origin, "Access-Control-Request-Method", "GET"}
		for _, a := range []answer{
			s.call(t, "GET", "/admin-api/blobs", s.first.Access, nil, "Origin", origin).want(t, http.StatusUnauthorized),
			s.call(t, "GET", "/admin-api/blobs", s.admin, nil, "Origin", origin).want(t, http.StatusOK),
			s.call(t, "GET", "/admin-api//blobs", s.admin, nil, "Origin", origin).want(t, http.StatusForbidden),
			s.call(t, "GET", "/auth/providers", "", nil, "Origin", origin).want(t, http.StatusOK),
			s.call(t, "OPTIONS", "/admin-api/blobs", "", nil, preflight...),
			s.call(t, "OPTIONS", "/auth/token", "", nil, preflight...),
		} {
			t.Run(origin+"/"+strings.Replace(a.what, " ", "", 1), func(t *testing.T) {
				readable(t, a, allow, credentials)
				if !lists(strings.Join(a.header.Values("Vary"), ","), "Origin") {
					t.Errorf("%s: Vary %q lets a cache hand one origin's answer to another", a.what, a.header.Values("Vary"))
				}
			})
		}
	}
}

// loggedIn is a stack of the test's own after its first login.
func loggedIn(t *testing.T, st *stack.Stack) *administered {
	t.Helper()
	secret, err := st.BootstrapSecret(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s, err := siteOf(st).firstLogin(t.Context(), secret)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
