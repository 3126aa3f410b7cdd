package e2e

import (
	"bytes"
	"net/http"
	"testing"

	"github.com/calimero-network/mero-go/deploy/e2e/internal/stack"
)

func TestKillOfMeroAuthUnderNginxLosesNothing(t *testing.T) {
	t.Parallel()
	s := loggedIn(t, start(t, stack.Settings{Auth: map[string]string{"AUTH_JWT__ACCESS_TOKEN_EXPIRY": "30"}}))
	revoked := s.token(t, "blob:list")
	s.call(t, "POST", "/admin/revoke", revoked, nil).want(t, http.StatusOK)
	key := s.token(t, "blob:list") // the last answer before the kill

	s.local.Auth.Kill()
	unavailable(t, s.call(t, "GET", "/admin-api/blobs", key, nil), http.StatusServiceUnavailable, "The auth service cannot decide about the request")
	if err := s.local.Auth.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.call(t, "GET", "/admin-api/blobs", key, nil).want(t, http.StatusOK)
	s.call(t, "GET", "/admin/keys", s.admin, nil).want(t, http.StatusOK)
	refused(t, s.call(t, "GET", "/admin-api/blobs", revoked, nil), revokedToken)
	waitExpired(t, s.first.Access)
	refused(t, s.call(t, "GET", "/admin-api/blobs", s.first.Access, nil), expiredToken)
	next := tokens(t, s.call(t, "POST", "/auth/refresh", "", map[string]string{
		"access_token": s.first.Access, "refresh_token": s.first.Refresh,
	}))

	// A pair that was refreshed works after another kill, and its predecessor is still spent.
	s.local.Auth.Kill()
	if err := s.local.Auth.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.call(t, "GET", "/admin-api/blobs", next.Access, nil).want(t, http.StatusOK)
	if _, err := s.local.BootstrapSecret(t.Context()); err == nil {
		t.Error("a restart opens the first login again")
	}
}

func TestKillOfMerodUnderNginxLosesNothing(t *testing.T) {
	t.Parallel()
	s := loggedIn(t, start(t, stack.Settings{}))
	key := s.token(t, "blob")
	content := random(2<<20 + 5)
	s.call(t, "PUT", "/admin-api/blobs", key, content).want(t, http.StatusOK)

	s.local.Node.Kill()
	unavailable(t, s.call(t, "GET", "/admin-api/blobs", key, nil), http.StatusBadGateway, "The node cannot be reached")
	if err := s.local.Node.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := s.call(t, "GET", "/admin-api/blobs/"+blobID(content), key, nil).want(t, http.StatusOK)
	if !bytes.Equal(got.body, content) {
		t.Error("the blob is not what was stored")
	}
}
