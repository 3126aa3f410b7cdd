package httpapi

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/calimero-network/mero-go/pkg/fault"
)

// below serves what is below the path prefix of the configuration as if it were not there, and nothing else: every
// route has one address. The guard knows the prefix, because the gate's signature is over the target that arrived.
func (a *API) below(prefix string, next http.Handler) http.Handler {
	outside := a.outside()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		target, ok := strings.CutPrefix(r.RequestURI, prefix)
		if !ok || !strings.HasPrefix(target, "/") || !strings.HasPrefix(r.URL.Path, prefix) {
			outside.ServeHTTP(w, r)
			return
		}
		inner := *r
		inner.RequestURI = target
		inner.URL = new(url.URL)
		*inner.URL = *r.URL
		inner.URL.Path = strings.TrimPrefix(r.URL.Path, prefix)
		inner.URL.RawPath = strings.TrimPrefix(r.URL.RawPath, prefix)
		next.ServeHTTP(w, &inner)
	})
}

// outside answers what is not below the prefix.
func (a *API) outside() http.Handler {
	e := echo.New()
	e.HTTPErrorHandler = func(err error, c echo.Context) { a.fail(c, err) }
	e.Use(a.observe, a.recover, func(echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			h := c.Response().Header()
			h.Set("X-Content-Type-Options", "nosniff")
			a.CORS.Apply(h, c.Request())
			return fault.New(fault.NotFound, "no such route")
		}
	})
	return e
}

// prefixed puts the prefix before addresses on this host to which a handler that does not know it redirects.
type prefixed struct {
	http.ResponseWriter
	prefix string
}

// WriteHeader implements http.ResponseWriter.
func (w prefixed) WriteHeader(status int) {
	h := w.Header()
	if to := h.Get(echo.HeaderLocation); strings.HasPrefix(to, "/") && !strings.HasPrefix(to, "//") {
		h.Set(echo.HeaderLocation, w.prefix+to)
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w prefixed) Unwrap() http.ResponseWriter { return w.ResponseWriter }
