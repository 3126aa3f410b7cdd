package httpapi

import (
	"fmt"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"
)

// SecurityHeaders configures the headers that tell browsers what not to do.
type SecurityHeaders struct {
	Enabled        bool
	HSTSMaxAge     int // seconds; sent only when the public address is https
	HSTSSubdomains bool
	FrameOptions   string
	NoSniff        bool
	ReferrerPolicy string
	ConnectSrc     []string // further origins that pages may call
}

// noReferrer keeps the address of a page, whose query belongs to a login, from every site, our own included.
func (s *server) noReferrer(c echo.Context) {
	if s.Headers.Enabled {
		c.Response().Header().Set("Referrer-Policy", "no-referrer")
	}
}

// render returns the headers in net/http's form. The policy allows no inline script and cannot be configured to.
func (o SecurityHeaders) render(publicURL string) map[string][]string {
	if !o.Enabled {
		return nil
	}
	connect := strings.Join(slices.Concat([]string{"'self'"}, o.ConnectSrc), " ")
	h := map[string][]string{
		"Content-Security-Policy": {"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src " +
			connect + "; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"},
		"Cross-Origin-Opener-Policy": {"same-origin"},
	}
	if o.FrameOptions != "" {
		h["X-Frame-Options"] = []string{o.FrameOptions}
	}
	if o.NoSniff {
		h["X-Content-Type-Options"] = []string{"nosniff"}
	}
	if o.ReferrerPolicy != "" {
		h["Referrer-Policy"] = []string{o.ReferrerPolicy}
	}
	if strings.HasPrefix(publicURL, "https://") && o.HSTSMaxAge > 0 {
		value := fmt.Sprintf("max-age=%d", o.HSTSMaxAge)
		if o.HSTSSubdomains {
			value += "; includeSubDomains"
		}
		h["Strict-Transport-Security"] = []string{value}
	}
	return h
}
