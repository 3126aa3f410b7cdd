package httpapi

import (
	"errors"
	"net/http"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/services/node/internal/stream"
)

// StreamHeaders are the headers of SSE answers, which scripts of other origins may read.
var StreamHeaders = []string{stream.HeaderSession, stream.HeaderReconnect}

// webSocket serves GET /ws.
func (a *API) webSocket(c *call) error {
	if err := stream.CheckHandshake(c.Request()); err != nil {
		return err
	}
	if !a.CORS.AllowsUpgrade(c.Request()) {
		return fault.New(fault.Forbidden, "pages of this origin may not open a WebSocket")
	}
	c.ownDeadlines()
	err := a.Streams.ServeWebSocket(c.Response(), c.Request())
	if errors.Is(err, stream.ErrAnswered) {
		recordOf(c).err = err
		return nil
	}
	return err
}

// serverEvents serves GET /sse.
func (a *API) serverEvents(c *call) error {
	if c.Request().Method == http.MethodHead {
		c.Response().Header().Set("Content-Type", "text/event-stream")
		return c.NoContent(http.StatusOK)
	}
	c.ownDeadlines()
	return a.Streams.ServeSSE(c.Response(), c.Request())
}

// ownDeadlines leaves the deadlines of the answer to the handler.
func (c *call) ownDeadlines() {
	if w, ok := c.Response().Writer.(*progressWriter); ok {
		c.Response().Writer = w.ResponseWriter
	}
}

// subscription serves POST /sse/subscription.
func (a *API) subscription(c *call) error {
	body, err := readBody(c, maxBody)
	if err != nil {
		return err
	}
	result, err := a.Streams.Subscription(c.ctx(), body)
	if bad, ok := errors.AsType[*stream.ParseError](err); ok {
		recordOf(c).err = err
		return c.JSON(http.StatusBadRequest, struct {
			Error *stream.ParseError `json:"error"`
		}{bad})
	}
	if err != nil {
		return err
	}
	return resultOf(c, result)
}

// session serves GET /sse/session/{session_id}.
func (a *API) session(c *call) error {
	info, err := a.Streams.Session(c.ctx(), c.param("session_id"))
	if err != nil {
		return err
	}
	return resultOf(c, info)
}

func resultOf(c *call, v any) error {
	return c.ok(struct {
		Result any `json:"result"`
	}{v})
}
