package httpapi

import (
	"net/http"

	"github.com/labstack/echo/v4"
)

// jwks answers the public keys of assertions as a bare JSON Web Key Set (RFC 7517 section 8.5), without the envelope
// of the other answers. A key is published 30 s before it signs, so a copy may be kept for half of that.
func (s *server) jwks(c echo.Context) error {
	c.Response().Header().Set("Cache-Control", "public, max-age=15")
	return c.Blob(http.StatusOK, "application/jwk-set+json", s.JWKS())
}
