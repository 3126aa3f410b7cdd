//go:build mock

package httpapi

import (
	"crypto/sha256"
	"crypto/subtle"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/services/auth/internal/login"
)

type mockBody struct {
	ClientName    *string  `json:"client_name"`
	Permissions   []string `json:"permissions"`
	NodeURL       string   `json:"node_url"`
	AccessExpiry  uint32   `json:"access_token_expiry"`  // seconds
	RefreshExpiry uint32   `json:"refresh_token_expiry"` // seconds
}

// mock issues tokens without any proof, as development.enable_mock_auth says. The body is checked first, as the
// reference does.
func (s *server) mock(c echo.Context) error {
	var body mockBody
	if err := s.decode(c, &body); err != nil {
		return err
	}
	name, err := required("client_name", body.ClientName)
	if err != nil {
		return err
	}
	if !s.Mock.EnableMockAuth {
		return fault.New(fault.NotFound, "Endpoint not found")
	}
	if err := s.mockAllowed(c.Request().Header.Values("Authorization")); err != nil {
		return err
	}
	pair, keyID, err := s.Login.Mock(c.Request().Context(), login.MockRequest{
		Name: mockName(name), Permissions: body.Permissions, NodeURL: body.NodeURL, Peer: s.clientPrefix(c.Request()),
		AccessExpiry: time.Duration(body.AccessExpiry) * time.Second, RefreshExpiry: time.Duration(body.RefreshExpiry) * time.Second,
	})
	if err != nil {
		return err
	}
	h := c.Response().Header()
	h.Set("X-Mock-Token", "true")
	h.Set("X-Key-Id", keyID)
	h.Set("X-Warning", "Mock token - for testing only")
	return okPair(c, pair)
}

func (s *server) mockAllowed(authorization []string) error {
	if !s.Mock.MockAuthRequireHeader {
		return nil
	}
	if len(authorization) != 1 {
		return fault.New(fault.Unauthenticated, "Authorization header required for mock endpoint")
	}
	if want := s.Mock.MockAuthHeaderValue.Reveal(); want != "" {
		a, b := sha256.Sum256([]byte(authorization[0])), sha256.Sum256([]byte(want))
		if subtle.ConstantTimeCompare(a[:], b[:]) != 1 {
			return fault.New(fault.Unauthenticated, "Invalid or missing authorization for mock endpoint")
		}
	}
	return nil
}

// mockName keeps what a key id may hold.
func mockName(name string) string {
	kept := strings.Map(func(r rune) rune {
		if validMethodName(string(r)) {
			return r
		}
		return -1
	}, name)
	return kept[:min(len(kept), 64)]
}
