package httpapi

import (
	"net/http"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/services/node/internal/health"
)

type status struct {
	Status health.Status `json:"status"`
}

const alive health.Status = "alive"

func (a *API) alive(c *call) error {
	if !a.Health.Alive(c.ctx()) {
		return c.JSON(http.StatusServiceUnavailable, envelope[status]{status{health.StoreUnavailable}})
	}
	return data(c, status{alive})
}

func (a *API) ready(c *call) error {
	s := a.Health.Status(c.ctx())
	if s != health.Ready {
		return c.JSON(http.StatusServiceUnavailable, envelope[status]{status{s}})
	}
	return data(c, status{s})
}

// isAuthed says nothing about the caller: the route is public, and clients read it as a sign of life.
func (a *API) isAuthed(c *call) error { return data(c, status{alive}) }

// certificate is for nodes that speak TLS themselves. This one leaves it to the proxy.
func certificate(*call) error { return fault.New(fault.NotFound, "Certificate not found") }

func (a *API) scrape(c *call) error {
	a.Metrics.Handler(a.Log).ServeHTTP(c.Response(), c.Request())
	return nil
}

// redirect leads to a path of this host.
func redirect(code int, path string) handler {
	return func(c *call) error { return c.Redirect(code, path) }
}
